import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/**
 * Bundles the connector for hosts without node_modules: `<out>/fairlead-connector.mjs`, node-pty's binary beside it, and the systemd unit.
 * Run: node host-connector/build.ts [OUT]
 */

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = process.argv[2] ?? join(HERE, '../dist/connector');

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

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT, { recursive: true });
const result = await build({
  stdin: {
    contents: "import { main } from './main.ts'; void main(process.argv.slice(2));",
    resolveDir: HERE,
    loader: 'ts',
  },
  outfile: join(OUT, 'fairlead-connector.mjs'),
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'cjs',
  mainFields: ['module', 'main'],
  minify: true,
  keepNames: true,
  legalComments: 'none',
  external: ['@lydell/node-pty', 'bufferutil', 'utf-8-validate'],
  banner: { js: BANNER },
  metafile: true,
});
await copyTerminal();
await cp(join(HERE, 'fairlead-connector.service'), join(OUT, 'fairlead-connector.service'));
const [bytes] = Object.values(result.metafile.outputs).map((output) => output.bytes);
process.stdout.write(`${OUT}/fairlead-connector.mjs: ${Math.round((bytes ?? 0) / 1024)} KiB\n`);

/** node-pty loads a binary by path, so it stays a package: the connector finds it in node_modules beside the bundle. */
async function copyTerminal(): Promise<void> {
  const require = createRequire(import.meta.url);
  const scope = dirname(dirname(require.resolve('@lydell/node-pty/package.json')));
  for (const name of await readdir(scope)) {
    if (!/^node-pty(-linux-(x64|arm64))?$/.test(name)) continue;
    await cp(join(scope, name), join(OUT, 'node_modules/@lydell', name), { recursive: true });
  }
  await writeFile(join(OUT, 'package.json'), '{ "type": "module", "private": true }\n');
}
