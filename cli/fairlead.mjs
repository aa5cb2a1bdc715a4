#!/usr/bin/env node
// Plain JavaScript: an older Node must get as far as this sentence.
import process from 'node:process';

const NEEDED = 24;
const [major] = process.versions.node.split('.').map(Number);
if (major < NEEDED) {
  process.stderr.write(
    `Error: fairlead needs Node.js ${NEEDED} or newer; this is ${process.versions.node}. Get it from https://nodejs.org\n`,
  );
  process.exit(1);
}
const { enableCompileCache } = await import('node:module');
enableCompileCache?.();
const { main } = await import('./main.ts');
await main(process.argv.slice(2));
