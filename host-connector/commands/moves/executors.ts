import { FairleadError } from '#shared/errors.ts';
import type { Executors } from '../executor.ts';

/** The commands of a move; see shared/link/moves.ts. */
export type MoveKind =
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

/** Executors of a host that takes no part in moves. */
export const NO_MOVES: Pick<Executors, MoveKind> = {
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
