/** A control plane for tests, in the modes of mode.ts: `node control.ts --data DIR --listen HOST:PORT`, until SIGTERM. */
import { once } from 'node:events';
import { parseArgs } from 'node:util';

import type { Links } from '../../functions/ports/links.ts';
import type { ChaosOptions } from '../../infra/embedded/chaos.ts';
import { systemClock } from '../../infra/embedded/clock.ts';
import { controlPlane } from '../../infra/embedded/control-plane.ts';
import { createLog } from '../../infra/embedded/log.ts';
import type { GatewayRules } from '../../infra/embedded/rules.ts';
import { startEmbedded, type ControlPlane, type EmbeddedOptions } from '../../infra/embedded/up.ts';
import { MODE, SEED } from './mode.ts';

/** The cloud's minutes pass so much faster: connections are cut after 6 idle seconds and after 30, hosts rotate before that. */
const HURRY = { idle: 100, age: 240 };
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

/** The control plane whose `welcome` tells ends to beat and rotate in the gateway's hurry. */
function inHurry({ createFunctions, ...rest }: ControlPlane): ControlPlane {
  return { ...rest, createFunctions: (ports) => createFunctions({ ...ports, links: hurrying(ports.links) }) };
}

function hurrying(links: Links): Links {
  return {
    ...links,
    post: (connection, frame) =>
      links.post(
        connection,
        frame.t === 'welcome'
          ? {
              ...frame,
              heartbeatMs: Math.round(frame.heartbeatMs / HURRY.idle),
              rotateMs: Math.round(frame.rotateMs / HURRY.age),
            }
          : frame,
      ),
  };
}

function optionsOf(): Pick<EmbeddedOptions, 'controlPlane' | 'rules' | 'chaos'> {
  if (MODE === 'chaos') return { controlPlane: inHurry(controlPlane), rules: RULES, chaos: CHAOS };
  return { controlPlane };
}

const { data = '', listen = '' } = parseArgs({
  options: { data: { type: 'string' }, listen: { type: 'string' } },
}).values;
const clock = systemClock();
const log = createLog({ level: 'error', clock, write: (line) => process.stderr.write(line) });
const running = await startEmbedded({ listen, dataDir: data, log, clock, version: '0.1.0', ...optionsOf() });
process.stdout.write(`ready at ${running.url}, mode ${MODE}${MODE === 'chaos' ? `, FAIRLEAD_SEED=${SEED}` : ''}\n`);
await once(process, 'SIGTERM');
await running.stop();
