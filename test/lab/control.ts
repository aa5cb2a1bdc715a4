/**
 * A control plane for tests, in the modes of mode.ts: `node control.ts --data DIR --listen HOST:PORT`, until SIGTERM. With `--rotate MS` hosts
 * replace their connection so often, with `--age MS` every connection is cut at that age, with `--ahead MS` its clock is ahead and it sweeps at once.
 */
import { once } from 'node:events';
import { parseArgs } from 'node:util';

import type { Functions } from '../../functions/functions.ts';
import type { Links } from '../../functions/ports/links.ts';
import type { Ports } from '../../functions/ports/ports.ts';
import type { ChaosOptions } from '../../infra/embedded/chaos.ts';
import { systemClock } from '../../infra/embedded/clock.ts';
import { controlPlane } from '../../infra/embedded/control-plane.ts';
import { bundlePrograms } from '../../infra/embedded/isolated/bundle.ts';
import { isolated, type Isolated } from '../../infra/embedded/isolated/isolated.ts';
import { createLog } from '../../infra/embedded/log.ts';
import type { GatewayRules } from '../../infra/embedded/rules.ts';
import { startEmbedded, type ControlPlane, type EmbeddedOptions } from '../../infra/embedded/up.ts';
import { MODE, SEED } from './mode.ts';

/** The cloud's minutes pass so much faster: connections are cut after 8 idle seconds and after 30, hosts rotate before that. */
const HURRY = { beat: 100, idle: 75, age: 240 };
const RULES: Partial<GatewayRules> = { idleMs: (10 * 60_000) / HURRY.idle, maxAgeMs: (2 * 3600_000) / HURRY.age };

const CHAOS: ChaosOptions = {
  seed: SEED,
  reorder: 0.5,
  delayMs: 150,
  duplicate: 0.03,
  drop: 0.02,
  coldStart: 0.03,
  coldStartMs: 800,
  throttle: 0.01,
};

const { data, listen, rotate, age, ahead } = parseArgs({
  options: {
    data: { type: 'string', default: '' },
    listen: { type: 'string', default: '' },
    rotate: { type: 'string' },
    age: { type: 'string' },
    ahead: { type: 'string', default: '0' },
  },
}).values;

let functions: Functions | undefined;

/** The control plane whose `welcome` tells ends to beat and rotate in the gateway's hurry, or as asked for. */
function inHurry(
  { createFunctions, ...rest }: ControlPlane,
  { beat, age }: Pick<typeof HURRY, 'beat' | 'age'>,
): ControlPlane {
  const post =
    (links: Links): Links['post'] =>
    (connection, frame) => {
      if (frame.t !== 'welcome') return links.post(connection, frame);
      const heartbeatMs = Math.round(frame.heartbeatMs / beat);
      const rotateMs = rotate === undefined ? Math.round(frame.rotateMs / age) : Number(rotate);
      return links.post(connection, { ...frame, heartbeatMs, rotateMs });
    };
  return {
    ...rest,
    createFunctions: (ports) => {
      functions = createFunctions({ ...ports, links: { ...ports.links, post: post(ports.links) } });
      return functions;
    },
  };
}

const system = systemClock();
const clock = { ...system, now: () => system.now() + Number(ahead) };
let threads: Isolated | undefined;

/** The functions as the mode wants them. */
async function loaded(): Promise<Pick<EmbeddedOptions, 'controlPlane' | 'rules' | 'chaos'>> {
  const asked = age === undefined ? {} : { maxAgeMs: Number(age) };
  if (MODE === 'plain') return { controlPlane: inHurry(controlPlane, { beat: 1, age: 1 }), rules: asked };
  if (MODE === 'chaos')
    return { controlPlane: inHurry(controlPlane, HURRY), rules: { ...RULES, ...asked }, chaos: CHAOS };
  const programs = await bundlePrograms();
  const createFunctions = (ports: Ports) => (threads = isolated({ programs, ports, clock }));
  return { controlPlane: { ...controlPlane, createFunctions } };
}

const log = createLog({ level: 'error', clock, write: (line) => process.stderr.write(line) });
const running = await startEmbedded({ listen, dataDir: data, log, clock, version: '0.1.0', ...(await loaded()) });
if (Number(ahead) > 0) await functions?.job({ kind: 'sweep' });
process.stdout.write(`ready at ${running.url}, mode ${MODE}${MODE === 'chaos' ? `, FAIRLEAD_SEED=${SEED}` : ''}\n`);
await once(process, 'SIGTERM');
await running.stop();
await threads?.stop();
// Whoever ends us looks at this: in the cloud what is left behind is frozen, and may never happen.
process.exitCode = threads !== undefined && threads.leftBehind.length > 0 ? 1 : 0;
