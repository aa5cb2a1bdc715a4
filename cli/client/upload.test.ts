import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { ok, TestServer, type Reply, type Request, type Routes } from '../testing/server.ts';
import { ControlPlane } from './http.ts';
import { agentFor } from './pinned.ts';
import { PART_BYTES, upload } from './upload.ts';

const directory = mkdtempSync(join(tmpdir(), 'fairlead-upload-'));
afterAll(() => rmSync(directory, { recursive: true }));

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
const small = join(directory, 'small.tar');
writeFileSync(small, 'image');

/** A server whose upload has `parts` parts, `page` to a page; `put` answers the status of the nth PUT. */
async function serverFor({
  parts = 1,
  page = 64,
  put,
}: {
  parts?: number;
  page?: number;
  put: (nth: number, request: Request) => number;
}) {
  let base = '';
  let puts = 0;
  const take = (request: Request): Reply => ({ status: put((puts += 1), request), body: '' });
  const targets = (from: number) =>
    Array.from({ length: Math.min(page, parts - from) }, (_, at) => ({
      index: from + at,
      url: `${base}/objects/${from + at}?signature=s`,
      headers: { 'if-none-match': '*', 'x-amz-checksum-sha256': 'c' },
    }));
  const routes: Record<string, Routes[string]> = {
    'POST /1.0/fleet/uploads': () => ok({ id: 'u1', parts: targets(0) }),
    'GET /1.0/fleet/uploads/u1': ({ query }) => ok({ id: 'u1', parts: targets(Number(query['from'])) }),
  };
  for (let index = 0; index < parts; index += 1) routes[`PUT /objects/${index}`] = take;
  const server = await TestServer.start(routes);
  base = server.url;
  return server;
}

async function send(server: TestServer, file: string): Promise<string> {
  const api = new ControlPlane(server.settings, agentFor(server.settings.fingerprint));
  try {
    return await upload(api, file, { random: () => 0, sleep: async () => {}, progress: () => {} });
  } finally {
    api.close();
  }
}

describe('upload', () => {
  it('says size and hashes, and puts the bytes with exactly the headers it was told', async () => {
    await using server = await serverFor({ put: () => 200 });
    expect(await send(server, small)).toBe('u1');
    const [created, put] = server.seen;
    expect(created?.body).toEqual({
      size: 5,
      sha256: sha256('image'),
      parts: [{ length: 5, sha256: sha256('image') }],
    });
    expect(put?.raw.toString()).toBe('image');
    expect(put?.headers).toMatchObject({ 'if-none-match': '*', 'x-amz-checksum-sha256': 'c', 'content-length': '5' });
    expect(put?.headers).not.toHaveProperty('authorization');
  });

  it('cuts a large file into parts, whose pages of addresses it asks for', async () => {
    const file = join(directory, 'large.tar');
    writeFileSync(file, 'start');
    truncateSync(file, 2 * PART_BYTES + 7);
    const got: number[] = [];
    await using server = await serverFor({ parts: 3, page: 2, put: (_, { raw }) => (got.push(raw.length), 200) });
    await send(server, file);
    expect(got.sort((a, b) => a - b)).toEqual([7, PART_BYTES, PART_BYTES]);
    expect(server.calls).toContain('GET /1.0/fleet/uploads/u1?from=2');
    const { parts } = server.seen[0]!.body as { parts: { sha256: string }[] };
    expect(parts.map((part) => part.sha256)).toEqual([
      sha256(Buffer.concat([Buffer.from('start'), Buffer.alloc(PART_BYTES - 5)])),
      sha256(Buffer.alloc(PART_BYTES)),
      sha256(Buffer.alloc(7)),
    ]);
  });

  it('takes a part that is already there for sent', async () => {
    await using server = await serverFor({ put: () => 412 });
    expect(await send(server, small)).toBe('u1');
  });

  it('tries again after a failure, with a fresh address when the old one ran out', async () => {
    await using server = await serverFor({ put: (nth) => [500, 403, 200][nth - 1] ?? 200 });
    expect(await send(server, small)).toBe('u1');
    expect(server.calls.filter((call) => !call.startsWith('POST'))).toEqual([
      'PUT /objects/0?signature=s',
      'PUT /objects/0?signature=s',
      'GET /1.0/fleet/uploads/u1?from=0',
      'PUT /objects/0?signature=s',
    ]);
  });

  it('gives up at once where trying again is hopeless, and says what to do', async () => {
    await using server = await serverFor({ put: () => 400 });
    await expect(send(server, small)).rejects.toThrow(
      /Part 1 of the image could not be uploaded \(400\). Run the command again/,
    );
    expect(server.seen.length).toBe(2);
  });

  it('refuses what is no image file before anything is sent', async () => {
    const empty = join(directory, 'empty');
    writeFileSync(empty, '');
    await using server = await serverFor({ put: () => 200 });
    await expect(send(server, empty)).rejects.toThrow(/is empty/);
    await expect(send(server, directory)).rejects.toThrow(/is not a file/);
    await expect(send(server, join(directory, 'none'))).rejects.toThrow(/Can not read/);
    expect(server.seen).toEqual([]);
  });
});
