import { afterEach, beforeAll, describe, expect, it } from 'vitest';

import { bootstrapLocalUser } from '../../../functions/domain/trust/local.ts';
import type { Functions } from '../../../functions/functions.ts';
import type { Ports } from '../../../functions/ports/ports.ts';
import { ConditionFailed } from '../../../functions/ports/records.ts';
import { openWorld, type World } from '../../../test/world.ts';
import { systemClock } from '../clock.ts';
import { bundlePrograms } from './bundle.ts';
import type { Programs } from './messages.ts';
import { isolated, type Isolated } from './isolated.ts';

let running: Isolated | undefined;
let world: World | undefined;
afterEach(async () => {
  await running?.stop();
  await world?.[Symbol.asyncDispose]();
});

async function start(programs: Programs, objects: Partial<Ports['objects']> = {}): Promise<Isolated> {
  world = await openWorld();
  const ports = { ...world.ports, objects: { ...world.ports.objects, ...objects } };
  running = isolated({ programs, ports, clock: systemClock() });
  return running;
}

/** A program whose entries all are this body; `outside`, `event` and what the module declared are at hand. */
function program(body: string): Programs {
  return everywhere(`let calls = 0; exports.open = (outside) => async (entry, event) => {
    const answer = async () => { ${body} };
    return { ok: true, value: await answer() };
  };`);
}

function everywhere(text: string): Programs {
  return { http: text, authorize: text, connect: text, message: text, disconnect: text, job: text };
}

const event = {} as Parameters<Functions['http']>[0];

describe('isolated functions', () => {
  it('find a new module graph in every invocation', async () => {
    const { http } = await start(program('return ++calls'));
    expect(await Promise.all([http(event), http(event), http(event)])).toEqual([1, 1, 1]);
    expect(await http(event)).toBe(1);
  });

  it('run at the same time', async () => {
    let here = 0;
    const both = Promise.withResolvers<void>();
    const get = async () => {
      here += 1;
      if (here === 2) both.resolve();
      await both.promise;
      return undefined;
    };
    const head = get as Ports['objects']['head'];
    const { http } = await start(program("return outside.call('objects.head', [])"), { head });
    expect(await Promise.all([http(event), http(event)])).toHaveLength(2);
  });

  it.each([
    ['a timer', 'setTimeout(() => outside.note("log.error", ["too late"]), 50)', 'http: Timeout'],
    ['a call that nobody awaits', 'outside.call("jobs.enqueue", [{ kind: "sweep" }])', 'http: jobs.enqueue'],
  ])('are frozen when the handler returned: %s is found out, and goes no further', async (_what, body, left) => {
    const functions = await start(program(`${body}; return 'returned'`));
    expect(await functions.http(event)).toBe('returned');
    expect(functions.leftBehind).toEqual([left]);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(world?.logged.join('\n')).toContain('before its work was done');
    expect(world?.logged.join('\n')).not.toContain('too late');
    expect(await functions.http(event)).toBe('returned');
  });

  it('may leave reads to themselves when they refuse', async () => {
    const head = () => new Promise<never>(() => undefined);
    const body = "outside.call('objects.head', []); return { statusCode: event.status }";
    const functions = await start(program(body), { head });
    await functions.http({ status: 404 } as never);
    expect(functions.leftBehind).toEqual([]);
    await functions.http({ status: 200 } as never);
    expect(functions.leftBehind).toEqual(['http: objects.head']);
  });

  it('fail alone when their thread dies', async () => {
    const { http } = await start(program('if (event.die) process.exit(1); return 1'));
    await expect(http({ die: true } as never)).rejects.toMatchObject({ code: 'internal' });
    expect(await http(event)).toBe(1);
  });
});

describe('the control plane, isolated', () => {
  let bundle: Programs;
  beforeAll(async () => (bundle = await bundlePrograms()));

  it('answers, with errors that are errors on both sides of a message', async () => {
    let taken = true;
    const functions = await start(bundle);
    const { records, clock, ports } = world!;
    // In the threads it is today.
    clock.advance(Date.now() - clock.now());
    const { token } = await bootstrapLocalUser(ports);
    const transact = records.transact.bind(records);
    records.transact = async (writes) => {
      if (taken) throw new ConditionFailed([0]);
      await transact(writes);
    };
    const call = (method: string, path: string, body?: unknown) =>
      functions.http({
        version: '2.0',
        rawPath: path,
        rawQueryString: '',
        headers: { authorization: `Bearer ${token}` },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        isBase64Encoded: false,
        requestContext: { http: { method, sourceIp: '192.0.2.1' }, requestId: 'r' },
      });
    const make = () => call('POST', '/1.0/profiles', { name: 'web', config: { 'limits.cpu': '2' } });
    expect((await make()).statusCode).toBe(409);
    taken = false;
    expect((await make()).statusCode).toBe(201);
    expect(JSON.parse((await call('GET', '/1.0/profiles/web')).body)).toMatchObject({ metadata: { name: 'web' } });
    expect((await call('GET', '/1.0/profiles/nope')).statusCode).toBe(404);
    await expect(functions.message({} as never)).rejects.toThrow();
    expect(functions.leftBehind).toEqual([]);
  });

  it('reads objects chunk by chunk', async () => {
    const text = `exports.open = (outside) => async () => {
      const call = async (...call) => (await outside.call(call[0], call.slice(1))).value;
      const stream = await call('objects.get', 'a/b');
      let text = '';
      for (let chunk; (chunk = await call('objects.next', stream)); ) text += Buffer.from(chunk).toString();
      await call('objects.end', stream);
      return { ok: true, value: text };
    };`;
    const { http } = await start(everywhere(text));
    await world!.ports.objects.put('a/b', Buffer.from('content'));
    expect(await http(event)).toBe('content');
  });
});
