import { build } from 'esbuild';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ENTRIES = fileURLToPath(new URL('../../functions/aws/', import.meta.url));
/** The most bytes of each, minified: a cold start reads and parses them all. */
const BOUNDS: [string, number][] = [
  ['http', 800_000],
  ['authorizer', 530_000],
  ['link', 700_000],
  ['jobs', 850_000],
  ['bootstrap', 500_000],
];
/** Loads a bundle as Lambda does, and tells whether it has its handler. */
const LOAD = 'import(process.argv[1]).then((entry) => process.exit(typeof entry.handler === "function" ? 0 : 1))';
const SURROUNDINGS = {
  TABLE: 't',
  BUCKET: 'b',
  PUBLIC_URL: 'https://fairlead.example',
  LINK_URL: 'wss://link.example',
  LINK_ENDPOINT: 'https://link.example',
  AWS_REGION: 'eu-west-1',
  AWS_ACCESS_KEY_ID: 'a',
  AWS_SECRET_ACCESS_KEY: 's',
  // Nobody listens there: a start must not need an answer.
  AWS_ENDPOINT_URL: 'http://127.0.0.1:9',
};

describe('the bundle of each Lambda function', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-bundles-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each(BOUNDS)('%s has at most %i bytes, and starts', async (name, bound) => {
    const outfile = join(folder, `${name}.mjs`);
    const { metafile } = await build({
      entryPoints: [join(ENTRIES, `${name}.ts`)],
      outfile,
      // As infra/aws/functions.ts.
      bundle: true,
      platform: 'node',
      target: 'node24',
      format: 'esm',
      minify: true,
      mainFields: ['module', 'main'],
      banner: {
        js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
      },
      metafile: true,
    });
    const [{ bytes } = { bytes: Infinity }] = Object.values(metafile.outputs);
    expect(bytes).toBeLessThanOrEqual(bound);
    await promisify(execFile)(process.execPath, ['-e', LOAD, outfile], { env: SURROUNDINGS, timeout: 10_000 });
  });
});
