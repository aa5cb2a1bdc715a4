/** How the control plane of a {@link Fleet} runs: FAIRLEAD_E2E=plain|chaos|fresh, FAIRLEAD_SEED for chaos. */
import { FairleadError } from '#shared/errors.ts';

/**
 * plain: `fairlead up` as users run it. chaos: its gateway loses, repeats, reorders, delays, throttles and cuts, on a seed.
 * fresh: every invocation gets a freshly loaded module graph and is frozen when its handler returns.
 */
export const MODES = ['plain', 'chaos', 'fresh'] as const;
export type Mode = (typeof MODES)[number];

/** The mode this process was started in. */
export const MODE: Mode = modeNamed(process.env['FAIRLEAD_E2E'] || 'plain');

/** What chaos is drawn from; the same one may be asked for again. */
export const SEED = Number(process.env['FAIRLEAD_SEED'] || Math.floor(Math.random() * 2 ** 31));

/** Every time-out of an end-to-end test is stretched by this. */
export const PATIENCE = { plain: 1, chaos: 3, fresh: 3 }[MODE];

function modeNamed(name: string): Mode {
  const mode = MODES.find((one) => one === name);
  if (mode !== undefined) return mode;
  throw new FairleadError('bad_request', `FAIRLEAD_E2E is "${name}"; it may be ${MODES.join(', ')}.`);
}
