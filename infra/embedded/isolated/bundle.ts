import { fileURLToPath } from 'node:url';

import { FairleadError } from '#shared/errors.ts';
import type { Programs } from './messages.ts';

/** The functions as CommonJS texts, to be evaluated as often as wanted. For tests: esbuild is no dependency of a deployment. */
export async function bundlePrograms(): Promise<Programs> {
  const [http, link, job] = await Promise.all(['http', 'link', 'jobs'].map(bundle));
  if (http === undefined || link === undefined || job === undefined) {
    throw new FairleadError('internal', 'esbuild made nothing of the functions');
  }
  return { http, authorize: link, connect: link, message: link, disconnect: link, job };
}

async function bundle(name: string): Promise<string | undefined> {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`./program-${name}.ts`, import.meta.url))],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    mainFields: ['module', 'main'],
    logLevel: 'error',
  });
  return outputFiles[0]?.text;
}
