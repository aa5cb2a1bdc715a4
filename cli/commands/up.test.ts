import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { readIfThere } from '../files.ts';
import { fairlead, FakeIo } from '../testing/io.ts';

/** The real control plane, in a directory of its own. */
async function started(home: string) {
  const io = new FakeIo({}, home);
  const ended = fairlead(io, 'up', '--listen', '127.0.0.1:0', '--log', 'silent');
  await expect.poll(() => io.out, { timeout: 10_000 }).toContain('Ctrl-C stops it.');
  return { io, ended };
}

describe('up', () => {
  it('runs a control plane that the other verbs find, until Ctrl-C', async () => {
    const home = mkdtempSync(join(tmpdir(), 'fairlead-up-'));
    const local = join(home, '.local/state/fairlead/local.json');
    try {
      const { io, ended } = await started(home);
      const [, url, fingerprint] =
        /^Fairlead is ready at (\S+) \(certificate fingerprint ([0-9a-f]{64})\)$/m.exec(io.out) ?? [];
      expect(JSON.parse(readFileSync(local, 'utf8'))).toMatchObject({ url, fingerprint });

      const now = Object.assign(new FakeIo({}, home), { time: Date.now() });
      const doctor = await fairlead(now, 'doctor');
      expect(doctor).toMatchObject({ code: 0, stderr: '' });
      expect(doctor.stdout).toContain(`ok      ${url} answers in`);

      expect(io.signal('SIGINT')).toBe(true);
      expect((await ended).code).toBe(0);
      expect(readIfThere(local)).toBeUndefined();
      const after = await fairlead(new FakeIo({}, home), 'list');
      expect(after).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`Can not reach the control plane at ${url}`) as string,
      });
    } finally {
      rmSync(home, { recursive: true });
    }
  });
});
