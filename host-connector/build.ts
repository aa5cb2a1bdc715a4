import { cp, mkdir, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const HERE = dirname(fileURLToPath(import.meta.url));
const DEFAULT_OUT = join(HERE, '../dist/connector');

/**
 * The code is bundled as CommonJS inside a module: its imports of Node's own modules then happen when it runs, behind the version check, and
 * not before, where an old Node would only say that it has no node:sqlite.
 */
const BANNER = `#!/usr/bin/env node
import { createRequire } from 'node:module';
if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write('fairlead-connector needs Node 24 or newer; this is ' + process.version + '\\n');
  process.exit(1);
}
const require = createRequire(import.meta.url), module = { exports: {} }, exports = module.exports;`;

/**
 * Bundles the connector for hosts without node_modules: `fairlead-connector.mjs`, the binary for terminals beside it, and the systemd unit.
 * @returns the folder
 */
export async function buildConnector(out = DEFAULT_OUT): Promise<string> {
  // Nothing is removed: a virtual host of the lab may have the folder mounted.
  await mkdir(out, { recursive: true });
  await build({
    stdin: {
      contents: "import { main } from './main.ts'; void main(process.argv.slice(2));",
      resolveDir: HERE,
      loader: 'ts',
    },
    outfile: join(out, 'fairlead-connector.mjs'),
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    mainFields: ['module', 'main'],
    minify: true,
    legalComments: 'none',
    external: ['@lydell/node-pty', 'bufferutil', 'utf-8-validate'],
    banner: { js: BANNER },
  });
  await copyTerminal(out);
  await cp(join(HERE, 'fairlead-connector.service'), join(out, 'fairlead-connector.service'));
  return out;
}

/** node-pty loads a binary by path, so it stays a package: the connector finds it in node_modules beside the bundle. */
async function copyTerminal(out: string): Promise<void> {
  const scope = dirname(dirname(createRequire(import.meta.url).resolve('@lydell/node-pty/package.json')));
  for (const name of await readdir(scope)) {
    if (!/^node-pty(-linux-(x64|arm64))?$/.test(name)) continue;
    await cp(join(scope, name), join(out, 'node_modules/@lydell', name), { recursive: true });
  }
}

if (import.meta.main) process.stdout.write(`${await buildConnector(process.argv[2])}\n`);
