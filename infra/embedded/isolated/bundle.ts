import { fileURLToPath } from 'node:url';

import { FairleadError } from '#shared/errors.ts';

/** The functions as one CommonJS text, to be evaluated as often as wanted. For tests: esbuild is no dependency of a deployment. */
export async function bundleProgram(): Promise<string> {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('./program.ts', import.meta.url))],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    mainFields: ['module', 'main'],
    logLevel: 'error',
  });
  const text = outputFiles[0]?.text;
  if (text === undefined) throw new FairleadError('internal', 'esbuild made nothing of the functions');
  return text;
}
