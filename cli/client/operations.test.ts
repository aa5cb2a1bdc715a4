import { describe, expect, it } from 'vitest';

import type { Operation } from '#shared/lxd/operation.ts';
import { statusFields, STATUS } from '#shared/lxd/status.ts';
import { notFound, ok, operation, TestServer } from '../testing/server.ts';
import { ControlPlane } from './http.ts';
import { instanceOf, succeeded, untilFinal } from './operations.ts';
import { agentFor } from './pinned.ts';

const running = operation(statusFields(STATUS.running));
const WAIT = `GET /1.0/operations/${running.id}/wait`;

async function waiting(server: TestServer, watch?: (operation: Operation) => void): Promise<Operation> {
  const api = new ControlPlane(server.settings, agentFor(server.settings.fingerprint));
  try {
    return await untilFinal(running, { api, sleep: async () => {}, watch });
  } finally {
    api.close();
  }
}

describe('waiting for an operation', () => {
  it('asks again until it is final', async () => {
    const answers = [running, { ...running, metadata: { download_progress: '50%' } }, operation()];
    await using server = await TestServer.start({ [WAIT]: () => ok(answers.shift()) });
    expect(await waiting(server)).toEqual(operation());
    expect(server.calls).toEqual(Array(3).fill(`${WAIT}?timeout=25`));
  });

  it('shows each state to who watches, and asks more often', async () => {
    const answers = [{ ...running, description: 'second' }, operation()];
    await using server = await TestServer.start({ [WAIT]: () => ok(answers.shift()) });
    const shown: string[] = [];
    await waiting(server, ({ description }) => shown.push(description));
    expect(shown).toEqual(['Creating instance', 'second']);
    expect(server.calls[0]).toBe(`${WAIT}?timeout=1`);
  });

  it('survives a control plane that is away for a moment', async () => {
    let asked = 0;
    await using server = await TestServer.start({
      [WAIT]: () =>
        (asked += 1) < 4
          ? { status: 503, body: { type: 'error', error: 'starting', error_code: 503 } }
          : ok(operation()),
    });
    expect(await waiting(server)).toEqual(operation());
  });

  it('gives up after some attempts in a row, and at once when the operation is not known', async () => {
    await using down = await TestServer.start({
      [WAIT]: () => ({ status: 503, body: { type: 'error', error: 'away', error_code: 503 } }),
    });
    await expect(waiting(down)).rejects.toThrow('away');
    expect(down.seen.length).toBe(6);
    await using unknown = await TestServer.start({ [WAIT]: () => notFound('Operation not found') });
    await expect(waiting(unknown)).rejects.toThrow('Operation not found');
    expect(unknown.seen.length).toBe(1);
  });
});

describe('the outcome of an operation', () => {
  it("is the operation's sentence when it failed", () => {
    const failed = operation({ ...statusFields(STATUS.failure), err: 'disk full on host foo' });
    expect(() => succeeded(failed)).toThrow('disk full on host foo');
    expect(() => succeeded(operation(statusFields(STATUS.cancelled)))).toThrow('Cancelled: Creating instance');
    expect(succeeded(operation())).toEqual(operation());
  });

  it('names its instance', () => {
    expect(instanceOf(operation({ resources: { instances: ['/1.0/instances/c1'] } }))).toBe('c1');
    expect(instanceOf(operation())).toBeUndefined();
  });
});
