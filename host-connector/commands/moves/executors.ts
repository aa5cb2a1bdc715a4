import { FairleadError } from '#shared/errors.ts';
import type { ObjectTerms } from '../../transfer/store.ts';
import type { Executors } from '../executor.ts';
import { checkSource, checkTarget } from './checks.ts';
import type { MoveParts } from './parts.ts';
import { Source } from './source.ts';
import { Target } from './target.ts';

/** The commands of a move; see shared/link/moves.ts. */
type MoveKind =
  | 'check-source'
  | 'send'
  | 'park'
  | 'unpark'
  | 'retire'
  | 'forget'
  | 'check-target'
  | 'receive'
  | 'prepare'
  | 'adopt'
  | 'discard';

export type MoveExecutors = Pick<Executors, MoveKind>;

export interface Moves {
  readonly executors: MoveExecutors;
  /** The source of a move has uploaded a chunk. */
  announced(chunk: { readonly move: string; readonly attempt: number } & ObjectTerms): void;
}

/** This host's part in moves. */
export function movesOf(parts: MoveParts): Moves {
  const source = new Source(parts);
  const target = new Target(parts);
  return {
    announced: (chunk) => target.announced(chunk),
    executors: {
      'check-source': (command, _context, host) => checkSource(command, parts, host),
      send: (command, context, host) => source.send(command, context, host),
      park: (command, context, host) => source.park(command, context, host),
      unpark: (command, _context, host) => source.unpark(command, host),
      retire: (command, _context, host) => source.retire(command, host),
      forget: (command, _context, host) => source.forget(command, host),
      'check-target': (command, _context, host) => checkTarget(command, parts, host),
      receive: (command, context, host) => target.receive(command, context, host),
      prepare: (command, context, host) => target.prepare(command, context, host),
      adopt: (command, _context, host) => target.adopt(command, host),
      discard: (command, _context, host) => target.discard(command, host),
    },
  };
}

/** Executors of a host that takes no part in moves. */
export const NO_MOVES: MoveExecutors = {
  'check-source': refuse,
  send: refuse,
  park: refuse,
  unpark: refuse,
  retire: refuse,
  forget: refuse,
  'check-target': refuse,
  receive: refuse,
  prepare: refuse,
  adopt: refuse,
  discard: refuse,
};

function refuse(): Promise<never> {
  return Promise.reject(
    new FairleadError('bad_request', 'The connector of this host cannot move instances; update it, then try again.'),
  );
}
