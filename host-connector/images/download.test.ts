import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isFairleadError } from '#shared/errors.ts';
import { downloadImage, MAX_FAILURES, type Locate, type Part } from './download.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const content = randomBytes(300_000);
const cuts = [0, 100_000, 250_000, 300_000] as const;
const pieces = [0, 1, 2].map((i) => content.subarray(cuts[i], cuts[i + 1]));

type Handler = (request: IncomingMessage, response: ServerResponse, piece: Buffer, attempt: number) => void;

/** Serves the pieces at /<generation>/<number>, ranges included. */
const honest: Handler = (request, response, piece) => {
  const from = /^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1];
  response.writeHead(from === undefined ? 200 : 206).end(piece.subarray(Number(from ?? 0)));
};

let folder: string;
let handler: Handler;
let requests: string[];
const attempts = new Map<string, number>();
const server = createServer((request, response) => {
  const url = request.url ?? '';
  const attempt = attempts.get(url) ?? 0;
  attempts.set(url, attempt + 1);
  requests.push(`${url} ${request.headers.range ?? 'all'}`);
  handler(request, response, pieces[Number(url.split('/')[2])]!, attempt);
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'download-'));
  handler = honest;
  requests = [];
  attempts.clear();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true });
});

let generation: number;
const part = (i: number): Part => ({
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/${generation}/${i}`,
  length: pieces[i]!.length,
  sha256: sha256(pieces[i]!),
});
const unified: Locate = async () => {
  generation += 1;
  return [[part(0), part(1), part(2)]];
};

async function download(locate: Locate = unified, fingerprint = sha256(content)) {
  generation = 0;
  const progress: number[] = [];
  const deps = { fetch: globalThis.fetch, sleep: async () => {}, random: () => 0.5, stallMs: 200 };
  const paths = await downloadImage(deps, fingerprint, locate, folder, (received) => progress.push(received));
  return { files: await Promise.all(paths.map((path) => readFile(path))), progress };
}

describe('downloadImage', () => {
  it('puts the parts together and reports progress that ends at the total', async () => {
    const { files, progress } = await download();
    expect(files.map(sha256)).toEqual([sha256(content)]);
    expect(progress.at(-1)).toBe(content.length);
  });

  it('hashes the two files of a split image as one', async () => {
    const { files } = await download(async () => [[part(0)], [part(1), part(2)]]);
    expect(files.map(({ length }) => length)).toEqual([100_000, 200_000]);
  });

  it('goes on where a connection broke', async () => {
    handler = (request, response, piece, attempt) => {
      if (attempt > 0) return honest(request, response, piece, attempt);
      response.writeHead(200, { 'content-length': piece.length });
      response.write(piece.subarray(0, 30_000), () => response.destroy());
    };
    const { files } = await download();
    expect(files.map(sha256)).toEqual([sha256(content)]);
    expect(requests.filter((request) => / bytes=[1-9]\d*-/.test(request)).length).toBeGreaterThan(0);
  });

  it('starts a part over when the store ignores the range', async () => {
    handler = (_request, response, piece, attempt) => {
      response.writeHead(200, { 'content-length': piece.length });
      if (attempt > 0) response.end(piece);
      else response.write(piece.subarray(0, 30_000), () => response.destroy());
    };
    expect((await download()).files.map(sha256)).toEqual([sha256(content)]);
  });

  it('asks for new URLs when they expired, and keeps what it has', async () => {
    handler = (request, response, piece, attempt) => {
      if (request.url === '/1/1') response.writeHead(403).end('expired');
      else honest(request, response, piece, attempt);
    };
    expect((await download()).files.map(sha256)).toEqual([sha256(content)]);
    expect(requests).toEqual(['/1/0 all', '/1/1 all', '/2/1 all', '/2/2 all']);
  });

  it('reads a damaged part again, and only that', async () => {
    handler = (request, response, piece, attempt) => {
      if (request.url === '/1/1' && attempt === 0) response.writeHead(200).end(randomBytes(piece.length));
      else honest(request, response, piece, attempt);
    };
    expect((await download()).files.map(sha256)).toEqual([sha256(content)]);
    expect(requests).toHaveLength(4);
  });

  it('refuses an image whose hash is another than asked for', async () => {
    const failure = download(unified, 'f'.repeat(64));
    await expect(failure).rejects.toThrow(/not what was asked for/);
    await expect(failure).rejects.toSatisfy((error) => isFairleadError(error, 'bad_image'));
  });

  it('gives up after a bounded number of tries, also with a part that never ends', async () => {
    handler = (_request, response, piece) => {
      response.writeHead(200).end(Buffer.concat([piece, Buffer.from('more')]));
    };
    await expect(download()).rejects.toThrow(/longer than announced/);
    expect(requests).toHaveLength(MAX_FAILURES);
    handler = (_request, response) => void response.writeHead(500).end();
    await rm(join(folder, 'file-0'));
    await expect(download()).rejects.toSatisfy((error) => isFairleadError(error, 'unavailable'));
  });

  it('cuts a connection that gives nothing, and goes on with another', async () => {
    handler = (request, response, piece, attempt) => {
      if (attempt > 0) return honest(request, response, piece, attempt);
      response.writeHead(200, { 'content-length': piece.length });
      response.write(piece.subarray(0, 1000));
    };
    expect((await download()).files.map(sha256)).toEqual([sha256(content)]);
  });

  it('follows no redirect', async () => {
    handler = (_request, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
    await expect(download()).rejects.toThrow(/could not be downloaded/);
  });
});
