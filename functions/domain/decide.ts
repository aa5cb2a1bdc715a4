import { FairleadError } from '#shared/errors.ts';
import type { HostCommand } from '#shared/link/commands.ts';
import type { DownFrame } from '#shared/link/frames.ts';
import type { Event } from '#shared/lxd/event.ts';

import type { Job } from '../ports/jobs.ts';
import type { Ports } from '../ports/ports.ts';
import { ConditionFailed, type Write } from '../ports/records.ts';

/** What a service does once the writes of a decision are committed. Losing one is harmless: reconnects and the sweep repeat what matters. */
export type Effect =
  | { readonly do: 'deliver'; readonly host: string }
  | { readonly do: 'publish'; readonly project: string; readonly event: Event }
  | { readonly do: 'enqueue'; readonly job: Job }
  | { readonly do: 'post'; readonly connection: string; readonly frame: DownFrame }
  | { readonly do: 'close'; readonly connection: string };

/** The outcome of a plan: writes that hold together, then effects, and what the caller is told. */
export interface Decision<T> {
  readonly writes: readonly Write[];
  readonly effects: readonly Effect[];
  readonly value: T;
}

/** A command on its way into the outbox. */
export interface Outgoing {
  readonly id: string;
  readonly host: string;
  readonly operation: string;
  readonly command: HostCommand;
}

/** How often a decision is made anew because somebody else wrote in between. */
const MAX_ATTEMPTS = 8;

/** A decision that changes nothing. */
export function nothing<T>(value: T): Decision<T> {
  return { writes: [], effects: [], value };
}

/**
 * Loads, plans, commits; again from the start when a condition did not hold, because then the plan was made on stale state.
 * Returns the decision that was committed; its effects are the caller's to perform.
 * @throws whatever the plan throws (nothing is written then); FairleadError `conflict` when others kept writing.
 */
export async function decide<S, T>(
  ports: Pick<Ports, 'records'>,
  load: () => Promise<S>,
  plan: (state: S) => Decision<T>,
): Promise<Decision<T>> {
  for (let attempt = 1; ; attempt++) {
    const decision = plan(await load());
    if (decision.writes.length === 0) return decision;
    try {
      await ports.records.transact(decision.writes);
      return decision;
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      if (attempt === MAX_ATTEMPTS) {
        throw new FairleadError('conflict', 'Others changed the same object at the same time. Try again.', {
          cause: error,
        });
      }
    }
  }
}
