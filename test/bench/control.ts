/** A control plane to be measured, in a process of its own: `node control.ts --data DIR --listen HOST:PORT [--chaos JSON]`, until SIGTERM. */
import { once } from 'node:events';
import { parseArgs } from 'node:util';

import { controlPlane } from '../../infra/embedded/control-plane.ts';
import { startEmbedded } from '../../infra/embedded/up.ts';
import type { ChaosOptions } from '../../infra/embedded/chaos.ts';

const {
  data = '',
  listen = '',
  chaos,
} = parseArgs({
  options: { data: { type: 'string' }, listen: { type: 'string' }, chaos: { type: 'string' } },
}).values;
// Bench connectors all come from one address, which a real fleet's do not.
const rules = { maxConnectionsPerAddress: Infinity };
const log = {
  info: () => undefined,
  error: (message: string, fields?: object) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
};
const disturbed = chaos === undefined ? {} : { chaos: JSON.parse(chaos) as ChaosOptions };
const running = await startEmbedded({
  listen,
  dataDir: data,
  log,
  version: '0.1.0',
  controlPlane,
  rules,
  ...disturbed,
});
process.on('message', () => {
  globalThis.gc?.();
  process.send?.(process.memoryUsage());
});
process.send?.('ready');
await once(process, 'SIGTERM');
await running.stop();
process.disconnect();
