/**
 * `npm start`: sets up what is missing, then starts a control plane, and as root with a demo around it: two virtual hosts behind closed
 * NATs, an image, a container. Plain JavaScript that runs on Node 20; everything after it runs on Node 24.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { node24 } from './node24.mjs';
import { ensureDebianPackages, ensureNodePackages } from './packages.mjs';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const USAGE = 'npm start -- [--port N] [--data DIR] [--no-demo]';

function options() {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: '8443' },
        data: { type: 'string' },
        'no-demo': { type: 'boolean', default: false },
      },
    });
    if (!/^\d{1,5}$/.test(values.port) || Number(values.port) > 65_535) throw new Error(`"${values.port}" is no port`);
    return values;
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : String(error)}\nUsage: ${USAGE}`);
    process.exit(2);
  }
}

/** Why there is no demo, or undefined. @param {boolean} unwanted */
function noDemo(unwanted) {
  if (unwanted) return 'as you asked';
  if (process.getuid?.() !== 0)
    return 'it makes namespaces and containers, which only root may: "sudo npm start" has it';
  const outcome = ensureDebianPackages();
  return outcome.ok ? undefined : outcome.reason;
}

const { port, data, 'no-demo': unwanted } = options();
const packages = ensureNodePackages();
if (!packages.ok) {
  console.error(`Error: ${packages.reason}`);
  process.exit(1);
}
const reason = noDemo(unwanted);
if (reason !== undefined) console.log(`Starting the control plane alone, without the demo: ${reason}.`);
const dataArgs = data === undefined ? [] : ['--data', data];
const argv =
  reason === undefined
    ? [join(PROJECT, 'test/lab/demo.ts'), '--port', port, ...dataArgs]
    : [join(PROJECT, 'cli/fairlead.mjs'), ...dataArgs, 'up', '--listen', `127.0.0.1:${port}`];
const child = spawn(node24(PROJECT), argv, { stdio: 'inherit' });
// The terminal sends Ctrl-C to both; the child cleans up, and this process waits for it.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => signal === 'SIGTERM' && child.kill('SIGTERM'));
child.once('exit', (code, signal) => (process.exitCode = code ?? (signal === null ? 1 : 130)));
