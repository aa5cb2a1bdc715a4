import { setImmediate as turn } from 'node:timers/promises';

import { expect } from 'vitest';

import { connectedHost, launch, type FakeHost } from './fake-host.ts';
import { openWorld, type ApiAnswer, type World } from './world.ts';
import type { InstanceRecord } from '../functions/domain/instances/instance.ts';
import type { MoveRecord, StepKind } from '../functions/domain/moves/move.ts';

export const DAY = 24 * 3_600_000;

export interface Fleet extends AsyncDisposable {
  readonly world: World;
  readonly foo: FakeHost;
  readonly bar: FakeHost;
}

/** Two hosts, and c1 running on the first. */
export async function openFleet(start = true): Promise<Fleet> {
  const world = await openWorld();
  const [foo, bar] = [await connectedHost(world, 'foo'), await connectedHost(world, 'bar')];
  await launch(world, foo, 'c1', { start });
  return { world, foo, bar, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** Lets connected hosts answer what is asked of them, until nothing is; `only` these kinds. */
export async function settle(hosts: readonly FakeHost[], only?: ReadonlySet<string>): Promise<void> {
  for (let busy = true; busy;) {
    busy = false;
    for (const host of hosts) {
      if (!host.world.links.isOpen(host.connection)) continue;
      const due = host.pending().find(({ cmd }) => only?.has(cmd.kind) ?? true);
      if (due === undefined) continue;
      busy = true;
      await host.send(host.result(due));
    }
  }
}

const CHECKS = new Set(['check-source', 'check-target']);

/** Asks for a move while the hosts answer the preflight, and nothing else. */
export async function ask({ world, foo, bar }: Fleet, body: object = {}): Promise<ApiAnswer> {
  const over = new AbortController();
  const asked = world
    .api('POST', '/1.0/fleet/moves', { instance: 'c1', to: 'bar', ...body })
    .finally(() => over.abort());
  while (!over.signal.aborted) {
    await settle([foo, bar], CHECKS);
    await turn();
  }
  return asked;
}

/** Begins a move and lets the hosts work until this step is asked for; it is left unanswered. */
export async function until(fleet: Fleet, kind: StepKind, body: object = {}): Promise<string> {
  const answer = await ask(fleet, body);
  if (answer.status !== 202) throw new Error(answer.error);
  for (;;) {
    const due = [fleet.foo, fleet.bar].flatMap((host) => host.pending().map((command) => ({ host, command })));
    const other = due.find(({ command }) => command.cmd.kind !== kind);
    if (other === undefined) return (answer.metadata as { id: string }).id;
    await other.host.send(other.host.result(other.command));
  }
}

export async function stored<T>(world: World, prefix: string): Promise<T[]> {
  return (await world.dump()).filter(({ pk }) => pk.startsWith(prefix)).map(({ data }) => data as T);
}

export async function only<T>(world: World, prefix: string): Promise<T> {
  const [one, ...others] = await stored<T>(world, prefix);
  expect(others).toEqual([]);
  return one!;
}

export const moveOf = ({ world }: Fleet) => only<MoveRecord>(world, 'MOVES#');
export const instanceOf = ({ world }: Fleet) => only<InstanceRecord>(world, 'INSTANCES#');
export const operation = async ({ world }: Fleet, id: string) =>
  (await world.api('GET', `/1.0/operations/${id}`)).metadata as {
    status: string;
    err: string;
    metadata: Record<string, unknown>;
  };
/** Everything but what comes and goes with any question. */
export const lasting = async ({ world }: Fleet) =>
  (await world.dump()).filter(({ pk }) => !/^(COMMAND|NONCE)#/.test(pk));
export const owners = ({ foo, bar }: Fleet, id: string) =>
  [foo, bar].filter(({ moves }) => moves.owns(id)).map(({ name }) => name);
