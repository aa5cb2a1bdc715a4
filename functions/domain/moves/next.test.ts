import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { CommandResult } from '#shared/link/commands.ts';
import {
  beforeCommit,
  finished,
  released,
  type MoveRecord,
  type MoveRole,
  type MoveState,
  type StepKind,
} from './move.ts';
import { MAX_ROLLBACKS, next, ROLE, STALLED_MS, withStep, type MoveEvent } from './next.ts';

const INSTANCE = '00000000-0000-4000-8000-000000000001';
const DAY = 24 * 3_600_000;
const error = { code: 'host_failed', message: 'no' } as const;

const manifest = (name: string) => ({ name, sha256: 'a'.repeat(64), length: 9 });
const report = { id: INSTANCE, name: 'c1', project: 'default', epoch: 2, status: 'Running' } as const;

/** What a host answers when a step succeeds. */
const RESULT: Readonly<Record<StepKind, CommandResult>> = {
  send: { kind: 'sent', manifest: manifest('fs1'), bytes: 10 },
  receive: { kind: 'received', bytes: 10 },
  park: { kind: 'parked', manifests: [manifest('fs2'), manifest('memory')], since: 5, bytes: 7, running: true },
  prepare: { kind: 'prepared' },
  adopt: { kind: 'instance', report },
  retire: { kind: 'retired', id: INSTANCE },
  forget: { kind: 'deleted', id: INSTANCE },
  unpark: { kind: 'instance', report },
  discard: { kind: 'deleted', id: INSTANCE },
};

let drawn = 0;
const context = (now: number) => ({ now, ids: { source: `s${++drawn}`, target: `t${drawn}` } });

function begun(keepMs = DAY): MoveRecord {
  const bare: MoveRecord = {
    id: 'm',
    project: 'default',
    operation: 'o',
    actor: 'a',
    instance: INSTANCE,
    name: 'c1',
    newName: 'c1',
    from: 'foo',
    to: 'bar',
    epoch: 1,
    live: true,
    start: true,
    keepMs,
    state: 'PRECOPY',
    since: 0,
    attempt: 1,
    steps: {},
    manifests: [],
    applied: 0,
    bytes: 0,
    startedAt: 0,
  };
  return withStep(withStep(bare, 'receive', context(0)), 'send', context(0));
}

function answer(move: MoveRecord, kind: StepKind, now = 1): MoveRecord {
  const step = move.steps[ROLE[kind]];
  expect(step?.kind, `${kind} in ${move.state}`).toBe(kind);
  return next(move, { is: 'answered', command: step?.command ?? '', result: RESULT[kind] }, context(now));
}

function fail(move: MoveRecord, kind: StepKind, now = 1): MoveRecord {
  return next(move, { is: 'failed', command: move.steps[ROLE[kind]]?.command ?? '', error }, context(now));
}

const steps = ({ steps }: MoveRecord) => [steps.source?.kind, steps.target?.kind];

/** Every step of a move that nothing stands against. */
const WAY: readonly (readonly [StepKind | 'commit', MoveState, readonly (StepKind | undefined)[]])[] = [
  ['receive', 'PRECOPY', ['send', undefined]],
  ['send', 'PRECOPY', [undefined, 'receive']],
  ['receive', 'QUIESCING', ['park', undefined]],
  ['park', 'PREPARING', [undefined, 'prepare']],
  ['prepare', 'PREPARED', [undefined, undefined]],
  ['commit', 'COMMITTED', [undefined, 'adopt']],
  ['adopt', 'RETIRING', ['retire', undefined]],
  ['retire', 'DONE', [undefined, undefined]],
];

function walk(upTo: number, keepMs = DAY): MoveRecord {
  return WAY.slice(0, upTo).reduce(
    (move, [step]) => (step === 'commit' ? next(move, { is: 'commit' }, context(1)) : answer(move, step)),
    begun(keepMs),
  );
}

const stages = WAY.map((_, at) => at);

describe('a move that nothing stands against', () => {
  it.each(WAY.map(([step, state, waiting], at) => ({ at, step, state, waiting })))(
    'after $step is $state',
    ({ at, state, waiting }) => {
      const move = walk(at + 1);
      expect(move.state).toBe(state);
      expect(steps(move)).toEqual(waiting);
    },
  );

  it('names every manifest to the target, in order, and knows how long the instance stood still', () => {
    const move = walk(7);
    expect(move.manifests.map(({ name }) => name)).toEqual(['fs1', 'fs2', 'memory']);
    expect(move).toMatchObject({ bytes: 17, frozenAt: 1, adoptedAt: 1 });
  });

  it('tells the target of the first pass however its two ends answer', () => {
    const sentFirst = answer(answer(begun(), 'send'), 'receive');
    expect(steps(sentFirst)).toEqual([undefined, 'receive']);
    expect(sentFirst.steps.target?.manifests).toBe(1);
  });

  it('lets the source forget after a day, or at once', () => {
    const kept = walk(8);
    expect(steps(next(kept, { is: 'tick', heard: 0 }, context(DAY)))).toEqual([undefined, undefined]);
    const due = next(kept, { is: 'tick', heard: 0 }, context(DAY + 1));
    expect(steps(due)).toEqual(['forget', undefined]);
    expect(finished(answer(due, 'forget'))).toBe(true);
    expect(steps(walk(8, 0))).toEqual(['forget', undefined]);
  });
});

describe('before the commit', () => {
  const early = stages.filter((at) => beforeCommit(walk(at)));

  it.each(early)('giving up at stage %i undoes what was begun at both ends', (at) => {
    const move = walk(at);
    const given = next(move, { is: 'abort', error }, context(1));
    expect(given.state).toBe('ABORTING');
    expect(steps(given)).toEqual([move.state === 'PRECOPY' ? undefined : 'unpark', 'discard']);
    expect(next(given, { is: 'commit' }, context(1))).toBe(given);
  });

  it.each(early)('every step that fails at stage %i gives the move up', (at) => {
    const move = walk(at);
    for (const step of Object.values(move.steps))
      expect(fail(move, step.kind)).toMatchObject({ state: 'ABORTING', error });
  });

  it('a result that does not belong to its step is a failure', () => {
    const move = walk(3);
    const wrong: MoveEvent = { is: 'answered', command: move.steps.source?.command ?? '', result: RESULT.retire };
    expect(next(move, wrong, context(1))).toMatchObject({ state: 'ABORTING', error: { code: 'protocol' } });
  });

  it.each(early)('silence at stage %i gives it up, and progress puts that off', (at) => {
    const move = walk(at);
    const limit = STALLED_MS[move.state]!;
    const tick = (now: number, heard: number) => next(move, { is: 'tick', heard }, context(move.since + now)).state;
    expect(tick(limit - 1, 0)).toBe(move.state);
    expect(tick(limit, 0)).toBe('ABORTING');
    expect(tick(limit, move.since + 1)).toBe(move.state);
  });

  it('the instance is free as soon as its host has taken it back; the move ends when the target is clean too', () => {
    const given = next(walk(4), { is: 'abort', error }, context(1));
    expect(released(given)).toBe(false);
    const back = answer(given, 'unpark');
    expect([released(back), back.state]).toEqual([true, 'ABORTING']);
    expect(answer(back, 'discard').state).toBe('ABORTED');
  });

  it('rolling back is tried a few times, then the instance is released with the reason', () => {
    let move = next(walk(4), { is: 'abort', error }, context(1));
    move = answer(move, 'discard');
    for (let tried = 1; tried < MAX_ROLLBACKS; tried++) {
      move = fail(move, 'unpark');
      expect(move).toMatchObject({ state: 'ABORTING', problem: 'no' });
      // Once at once, then after ever longer whiles.
      if (tried > 1) expect(steps(next(move, { is: 'tick', heard: 0 }, context(2)))).toEqual(['unpark', undefined]);
      expect(move.steps.source?.command === undefined).toBe(tried > 1);
      move = next(move, { is: 'tick', heard: 0 }, context(DAY));
      expect(steps(move)).toEqual(['unpark', undefined]);
    }
    expect(fail(move, 'unpark')).toMatchObject({ state: 'ABORTED', problem: 'no' });
  });

  it('a host that was removed has nothing to undo any more', () => {
    const without = next(walk(4), { is: 'gone', role: 'target' }, context(1));
    expect(steps(without)).toEqual(['unpark', undefined]);
    expect(answer(without, 'unpark').state).toBe('ABORTED');
  });
});

describe('after the commit', () => {
  const late = [6, 7, 8];

  it.each(late)('nothing at stage %i goes back', (at) => {
    const move = walk(at);
    expect(next(move, { is: 'abort', error }, context(1))).toBe(move);
    expect(next(move, { is: 'tick', heard: 0 }, context(DAY)).state).toBe(move.state);
  });

  it.each([
    [6, 'adopt'],
    [7, 'retire'],
  ] as const)('at stage %i %s is repeated for ever, ever more slowly', (at, kind) => {
    let move = walk(at);
    let now = 1;
    for (let tried = 0; tried < 20; tried++) {
      move = fail(move, kind, now);
      now += 10 * 60_000;
      move = next(move, { is: 'tick', heard: 0 }, context(now));
      expect(move.steps[ROLE[kind]]).toMatchObject({ kind, failures: tried + 1 });
    }
    expect(answer(move, kind).problem).toBeUndefined();
  });

  it('a target that is removed before it said that the instance runs takes the move with it; the source keeps its copy', () => {
    expect(next(walk(6), { is: 'gone', role: 'target' }, context(1))).toMatchObject({ state: 'LOST', steps: {} });
    expect(next(walk(7), { is: 'gone', role: 'target' }, context(1)).state).toBe('RETIRING');
    expect(next(walk(7), { is: 'gone', role: 'source' }, context(1))).toMatchObject({ state: 'DONE', forgotten: true });
  });
});

describe('in every state', () => {
  const every = [...stages, 8].flatMap((at) => {
    const move = walk(at);
    return beforeCommit(move) ? [move, next(move, { is: 'abort', error }, context(1))] : [move];
  });

  it('an answer to what is not waited for changes nothing', () => {
    for (const move of every) {
      for (const result of Object.values(RESULT)) {
        expect(next(move, { is: 'answered', command: 'other', result }, context(1))).toBe(move);
      }
      expect(next(move, { is: 'failed', command: 'other', error }, context(1))).toBe(move);
    }
  });

  it('an answer counts once', () => {
    for (const move of every) {
      for (const step of Object.values(move.steps)) {
        const event: MoveEvent = { is: 'answered', command: step.command ?? '', result: RESULT[step.kind] };
        const after = next(move, event, context(1));
        expect(after).not.toBe(move);
        expect(next(after, event, context(1))).toBe(after);
      }
    }
  });

  it('the commit happens from PREPARED and from nowhere else', () => {
    for (const move of every) {
      const after = next(move, { is: 'commit' }, context(1));
      expect(after.state === 'COMMITTED').toBe(move.state === 'PREPARED' || move.state === 'COMMITTED');
    }
  });
});

/** Two hosts that do what they are told, once, whenever and how often it comes, and refuse what was undone. */
class Model {
  move = begun();
  now = 1;
  readonly role: Record<MoveRole, 'owner' | 'leaving' | 'tombstone' | 'none' | 'arriving'> = {
    source: 'owner',
    target: 'none',
  };
  readonly data: Record<MoveRole, boolean> = { source: true, target: false };
  ran = false;
  /** Every command there ever was; any may arrive at any time, or again. */
  readonly said: { readonly kind: StepKind; readonly command: string }[] = [];
  /** What hosts answered; any may arrive at any time, or again. */
  readonly answers: MoveEvent[] = [];
  readonly #journal = new Map<string, MoveEvent>();
  readonly #undone = new Set<MoveRole>();

  constructor() {
    this.#note();
  }

  take(event: MoveEvent): void {
    const before = this.move;
    this.move = next(before, event, context(this.now));
    if (before.state !== 'COMMITTED' && this.move.state === 'COMMITTED') expect(this.data.target, 'I3').toBe(true);
    this.#note();
    this.check();
  }

  #note(): void {
    for (const { kind, command } of Object.values(this.move.steps)) {
      if (command !== undefined && !this.said.some((known) => known.command === command))
        this.said.push({ kind, command });
    }
  }

  /** A command arrives: done once, answered as often as it comes. */
  arrive(index: number, fails: boolean): void {
    const said = this.said[index % this.said.length];
    if (said === undefined) return;
    const known = this.#journal.get(said.command) ?? this.#act(said.kind, said.command, fails);
    this.#journal.set(said.command, known);
    this.answers.push(known);
    this.check();
  }

  #act(kind: StepKind, command: string, fails: boolean): MoveEvent {
    const role = ROLE[kind];
    const refused = this.#undone.has(role) && ['send', 'receive', 'park', 'prepare'].includes(kind);
    if (refused || fails) return { is: 'failed', command, error };
    switch (kind) {
      case 'park':
        this.role.source = 'leaving';
        break;
      case 'unpark':
        this.role.source = 'owner';
        this.#undone.add('source');
        break;
      case 'retire':
        expect(this.ran, 'I4: the source gives up nothing before the target runs').toBe(true);
        this.role.source = 'tombstone';
        break;
      case 'forget':
        this.data.source = false;
        break;
      case 'receive':
        this.role.target = 'arriving';
        break;
      case 'prepare':
        this.data.target = true;
        break;
      case 'adopt':
        this.role.target = 'owner';
        this.ran = true;
        break;
      case 'discard':
        this.role.target = 'none';
        this.data.target = false;
        this.#undone.add('target');
        break;
      case 'send':
        break;
    }
    return { is: 'answered', command, result: RESULT[kind] };
  }

  check(): void {
    const owners = Object.values(this.role).filter((role) => role === 'owner').length;
    expect(owners, 'I1: at most one host may run it').toBeLessThanOrEqual(1);
    expect(this.data.source || (this.data.target && this.ran), 'I2: a whole copy exists').toBe(true);
    if (beforeCommit(this.move))
      expect(this.role.target, 'the target runs nothing before the commit').not.toBe('owner');
  }

  /** Whatever is outstanding arrives, and nothing fails any more. */
  heal(): void {
    for (let round = 0; round < 40; round++) {
      for (const { command } of Object.values(this.move.steps)) {
        const index = this.said.findIndex((one) => one.command === command);
        if (index >= 0) this.arrive(index, false);
      }
      for (const event of this.answers.splice(0)) this.take(event);
      this.take({ is: 'commit' });
      this.now += 10 * 60_000;
      this.take({ is: 'tick', heard: this.now });
    }
  }
}

const happening = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ does: fc.constant('command' as const), at: fc.nat(), fails: fc.constant(false) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant('command' as const), at: fc.nat(), fails: fc.constant(true) }),
  },
  { weight: 6, arbitrary: fc.record({ does: fc.constant('answer' as const), at: fc.nat() }) },
  { weight: 3, arbitrary: fc.constant({ does: 'commit' as const }) },
  { weight: 1, arbitrary: fc.constant({ does: 'abort' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant('tick' as const),
      ms: fc.constantFrom(1000, 10 * 60_000, 2 * 3_600_000, DAY),
    }),
  },
);

describe('whatever is lost, late, doubled or failing', () => {
  it('never lets two hosts run it, never leaves it without a copy, and ends DONE or ABORTED with one owner', () => {
    const ends = new Set<MoveState>();
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 60 }), (happenings) => {
        const model = new Model();
        for (const one of happenings) {
          model.now += 1;
          if (one.does === 'command') model.arrive(one.at, one.fails);
          else if (one.does === 'answer') {
            const event = model.answers[one.at % Math.max(1, model.answers.length)];
            if (event) model.take(event);
          } else if (one.does === 'tick') {
            model.now += one.ms;
            model.take({ is: 'tick', heard: 0 });
          } else if (one.does === 'abort') model.take({ is: 'abort', error });
          else model.take({ is: 'commit' });
        }
        model.heal();
        ends.add(model.move.state);
        const { source, target } = model.role;
        if (model.move.state === 'DONE') expect([source, target]).toEqual(['tombstone', 'owner']);
        else expect([model.move.state, source, target]).toEqual(['ABORTED', 'owner', 'none']);
      }),
      { numRuns: 3000 },
    );
    expect([...ends].toSorted()).toEqual(['ABORTED', 'DONE']);
  });
});
