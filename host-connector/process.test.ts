import { describe, expect, it } from 'vitest';
import { isFairleadError } from '#shared/errors.ts';
import { MAX_OUTPUT_BYTES, reasonOf, run, runOrFail, spawnPiped } from './process.ts';

const soon = { timeoutMs: 5000 };

describe('run', () => {
  it('keeps stdout and stderr apart and reports the exit code', async () => {
    const result = await run(['sh', '-c', 'cat; echo problem >&2; exit 3'], { ...soon, stdin: 'words' });
    expect(result).toEqual({ code: 3, signal: null, stdout: 'words', stderr: 'problem\n' });
  });

  it('passes arguments as they are, through no shell', async () => {
    const result = await run(['printf', '%s|', '$(id)', '; true', '*', ''], soon);
    expect(result.stdout).toBe('$(id)|; true|*||');
  });

  it('hands on nothing of its own environment', async () => {
    process.env['A_SECRET'] = 'canary';
    const result = await run(['env'], { ...soon, env: { GIVEN: 'yes' } });
    delete process.env['A_SECRET'];
    expect(result.stdout).not.toContain('canary');
    expect(result.stdout).toContain('GIVEN=yes');
  });

  it('keeps at most the bound of an endless output', async () => {
    const result = await run(['sh', '-c', 'head -c 3000000 /dev/zero'], soon);
    expect(result.stdout.length).toBe(MAX_OUTPUT_BYTES);
    expect(result.code).toBe(0);
  });

  it('kills the whole process group at the deadline', async () => {
    const failure = run(['sh', '-c', 'sleep 60 & echo $!; wait'], { timeoutMs: 200 });
    await expect(failure).rejects.toSatisfy((error) => isFairleadError(error, 'timed_out'));
  });

  it('does not wait for a daemon that keeps the pipes open', async () => {
    const begun = performance.now();
    const result = await run(['sh', '-c', 'setsid sleep 3 & echo up'], soon);
    expect(result.stdout).toBe('up\n');
    expect(performance.now() - begun).toBeLessThan(2000);
  });

  it('says that a program is not installed', async () => {
    await expect(run(['no-such-program'], soon)).rejects.toThrow(/no-such-program could not be started.*not installed/);
  });

  it('survives a program that does not read its input', async () => {
    const result = await run(['true'], { ...soon, stdin: new Uint8Array(1_000_000) });
    expect(result.code).toBe(0);
  });
});

describe('runOrFail', () => {
  it('turns an exit code into an error with the last words of the program', async () => {
    await expect(runOrFail(run, ['ls', '/does-not-exist'], soon)).rejects.toThrow(/ls failed.*No such file/);
  });
});

describe('reasonOf', () => {
  it('shows no control characters', () => {
    expect(reasonOf({ code: 1, signal: null, stderr: '\u001B[31mred\r\n' })).toBe('[31mred (exit code 1)');
    expect(reasonOf({ code: null, signal: 'SIGKILL', stderr: '' })).toBe('ended by SIGKILL');
  });
});

describe('spawnPiped', () => {
  it('streams through a program and ends it at will', async () => {
    const child = await spawnPiped(['cat']);
    const echoed = new Promise<string>((resolve) =>
      child.stdout.once('data', (bytes: Buffer) => resolve(String(bytes))),
    );
    child.stdin.write('there and back');
    expect(await echoed).toBe('there and back');
    child.kill();
    expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
  });
});
