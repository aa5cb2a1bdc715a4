import { describe, expect, it } from 'vitest';

import { FairleadError } from '#shared/errors.ts';
import { createLog, type LogLevel } from './json-log.ts';

function logged(run: (log: ReturnType<typeof createLog>) => void, level: LogLevel = 'info'): string[] {
  const lines: string[] = [];
  run(createLog({ level, clock: { now: () => 0 }, write: (line) => lines.push(line) }));
  return lines;
}

describe('the log', () => {
  it('writes one JSON line a call', () => {
    expect(logged((log) => log.info('started', { port: 1, list: [1, 'a', null] }))).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"started","port":1,"list":[1,"a",null]}\n',
    ]);
  });

  it('writes what its level says', () => {
    const both = (log: ReturnType<typeof createLog>) => {
      log.info('a');
      log.error('b');
    };
    expect([logged(both).length, logged(both, 'error').length, logged(both, 'silent').length]).toEqual([2, 1, 0]);
  });

  it('lets no field take the place of time, level or message', () => {
    const [line = ''] = logged((log) => log.error('true', { time: 'x', level: 'info', message: 'false' }));
    expect(JSON.parse(line)).toMatchObject({ level: 'error', message: 'true', time: '1970-01-01T00:00:00.000Z' });
  });

  const CANARY = 'canary-9f8e7d6c5b4a';
  it.each([
    'secret',
    'clientSecret',
    'token',
    'trust_token',
    'Authorization',
    'authorisation',
    'password',
    'core.trust_password',
    'sig',
    'X-Amz-Signature',
    'ticket',
    'cookie',
    'set-cookie',
    'env',
    'environment',
    'environment.DB_PASS',
    'user.user-data',
    'cloud-init.user-data',
    'privateKey',
    'apiKey',
  ])('hides the field %s, at any depth and of any kind', (name) => {
    const shapes = [CANARY, [CANARY], { inner: CANARY }, { HOME: CANARY }];
    for (const value of shapes) {
      expect(logged((log) => log.info('x', { [name]: value })).join('')).not.toContain(CANARY);
      expect(logged((log) => log.error('x', { a: [{ [name]: value }] })).join('')).not.toContain(CANARY);
    }
  });

  const JWS = `eyJhbGciOiJFZERTQSJ9.${Buffer.from(CANARY).toString('base64url')}.c2lnbmF0dXJl`;
  it.each([
    ['a JWS', JWS, JWS.split('.')[1]!],
    ['a presigned URL', `https://s3/x?X-Amz-Credential=${CANARY}&a=1&X-Amz-Signature=${CANARY}`, CANARY],
    ['our signed URL', `GET /objects/a?method=GET&sig=${CANARY}`, CANARY],
    ['a websocket secret', `/1.0/operations/x/websocket?secret=${CANARY}`, CANARY],
    ['a header', `Authorization: Bearer ${CANARY}`, CANARY],
    ['a key', `-----BEGIN PRIVATE KEY-----\n${CANARY}\n-----END PRIVATE KEY-----`, CANARY],
  ])('hides %s in messages, fields, names and errors', (_, text, canary) => {
    const cause = new Error(`because ${text}`);
    const error = new FairleadError('internal', `failed on ${text}`, { cause });
    const lines = logged((log) => {
      log.info(`before ${text} after`);
      log.info('x', { note: text, list: [text], [text]: 1 });
      log.error('x', { error });
    });
    expect(lines.join('')).not.toContain(canary);
    expect(lines[0]).toContain('before ');
  });

  it('unfolds errors with their code, cause and stack', () => {
    const [line = ''] = logged((log) =>
      log.error('x', { error: new FairleadError('busy', 'no', { cause: new Error('why') }) }),
    );
    expect(JSON.parse(line)).toMatchObject({
      error: { name: 'FairleadError', code: 'busy', message: 'no', cause: { message: 'why' } },
    });
    expect(line).toContain('log.test.ts');
  });

  it('lets nothing through that moves a terminal or forges a line', () => {
    const evil = 'a\r\n{"level":"info"}\u001b[2J\u0007\u009b1A\u007f\u202e\u2066\u2028\u0000';
    const lines = logged((log) => log.info(evil, { name: evil, [evil]: evil }));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[ -~]*\n$/);
    expect((JSON.parse(lines[0]!) as { name: string }).name).toBe(evil);
  });

  it('bounds what one line holds', () => {
    let deep: Record<string, unknown> = {};
    deep['self'] = deep;
    deep = { deep, long: 'x'.repeat(1e6), many: Array.from({ length: 1e5 }, () => 1), bytes: Buffer.alloc(1e6) };
    const [line = ''] = logged((log) => log.info('x', deep));
    expect(line.length).toBeLessThan(5000);
  });
});
