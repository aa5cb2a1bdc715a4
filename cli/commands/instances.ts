import { FairleadError, messageOf } from '#shared/errors.ts';
import type { FleetInstance } from '../client/fleet.ts';
import { url, type Answer, type ControlPlane, type Query } from '../client/http.ts';
import type { Target } from '../grammar.ts';
import type { Session } from '../session.ts';

/** Verbs on several instances work on so many at a time. */
const PARALLEL = 8;

/** What several verbs ask of instances. */

/** The path of an instance, e.g. with `/state` behind it. */
export function instancePath({ name }: Target, rest = ''): string {
  return url`/1.0/instances/${name}` + rest;
}

/** The query that addresses the target's host; without one the fleet decides. */
export function targetQuery({ host }: Pick<Target, 'host'>): Query {
  return { target: host };
}

/** An instance with its ETag; `measured` asks its host for its state too. */
export async function getInstance(
  api: ControlPlane,
  target: Target,
  { measured = false } = {},
): Promise<Answer<FleetInstance>> {
  return await api.call<FleetInstance>('GET', instancePath(target), {
    query: { ...targetQuery(target), ...(measured && { recursion: 1 }) },
  });
}

/**
 * Does the same to each of several; each failure is told on its own line, and the others go on.
 * @throws FairleadError the only failure of a single one, else one that counts
 */
export async function onEach(
  session: Session,
  names: readonly string[],
  act: (name: string) => Promise<void>,
): Promise<void> {
  const [only] = names;
  if (only !== undefined && names.length === 1) return await act(only);
  let failed = 0;
  const queue = [...names];
  const worker = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      try {
        await act(name);
      } catch (error) {
        failed += 1;
        session.note(`Error: ${name}: ${messageOf(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, names.length) }, worker));
  if (failed > 0) throw new FairleadError('host_failed', `${failed} of ${names.length} failed.`);
}
