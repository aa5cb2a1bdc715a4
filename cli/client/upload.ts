import { createHash } from 'node:crypto';
import { createReadStream, type ReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { request } from 'node:https';
import { pipeline } from 'node:stream/promises';

import { FairleadError, messageOf } from '#shared/errors.ts';
import { url, type ControlPlane } from './http.ts';

export const PART_BYTES = 32 * 1024 * 1024;
const MAX_PARTS = 1000;
const PARALLEL = 3;
const MAX_ATTEMPTS = 7;
const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 10_000;
const PART_TIMEOUT_MS = 120_000;
/** "Create this object unless it is there": it is, with the same content, for its name is its hash. */
const ALREADY_THERE = 412;
/** A signed URL may have run out while its turn came. */
const EXPIRED = 403;

interface Part {
  readonly length: number;
  readonly sha256: string;
}

interface PartTarget {
  readonly index: number;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Upload {
  readonly id: string;
  readonly parts: readonly PartTarget[];
}

export interface UploadWorld {
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** Bytes that are there by now. */
  readonly progress: (stage: 'reading' | 'sending', done: number, total: number) => void;
}

/**
 * Brings a file to the control plane in parts, each with its own signed URL and hash, and answers the upload's id. Parts that an earlier
 * attempt brought are not sent again.
 * @throws FairleadError `not_found` without a file, `bad_image` for one that is empty or too large, `unavailable` when parts do not get through
 */
export async function upload(api: ControlPlane, file: string, world: UploadWorld): Promise<string> {
  const { size, sha256, parts } = await describe(file, world);
  const created = await api.send<Upload>('POST', '/1.0/fleet/uploads', { body: { size, sha256, parts } });
  const targets = new Map(created.parts.map((target) => [target.index, target]));
  let next = 0;
  let sent = 0;
  const worker = async () => {
    for (let index = next++; index < parts.length; index = next++) {
      const target = async (fresh: boolean) => await find(api, created.id, targets, index, fresh);
      await sendPart({ api, file, index, part: parts[index] as Part, target, world });
      sent += parts[index]?.length ?? 0;
      world.progress('sending', sent, size);
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, parts.length) }, worker));
  return created.id;
}

/** One pass over the file: its hash, and that of each part. */
async function describe(file: string, world: UploadWorld): Promise<{ size: number; sha256: string; parts: Part[] }> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new FairleadError('not_found', `Can not read ${file}: ${messageOf(cause)}`, { cause });
  });
  if (!found.isFile())
    throw new FairleadError('bad_image', `${file} is not a file: give an image file (tar, tar.gz, tar.xz, tar.zst).`);
  if (found.size === 0) throw new FairleadError('bad_image', `${file} is empty.`);
  if (found.size > MAX_PARTS * PART_BYTES) {
    throw new FairleadError(
      'bad_image',
      `${file} is larger than ${(MAX_PARTS * PART_BYTES) / 1e9} GB, the most an image may have.`,
    );
  }
  const whole = createHash('sha256');
  const parts: Part[] = [];
  for (let start = 0; start < found.size; start += PART_BYTES) {
    const hash = createHash('sha256');
    const end = Math.min(start + PART_BYTES, found.size);
    for await (const chunk of section(file, start, end) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      whole.update(chunk);
    }
    parts.push({ length: end - start, sha256: hash.digest('hex') });
    world.progress('reading', end, found.size);
  }
  return { size: found.size, sha256: whole.digest('hex'), parts };
}

function section(file: string, start: number, end: number): ReadStream {
  return createReadStream(file, { start, end: end - 1, highWaterMark: 1024 * 1024 });
}

/** Where a part goes; its page of URLs is asked for when it is not known, or ran out. */
async function find(
  api: ControlPlane,
  id: string,
  targets: Map<number, PartTarget>,
  index: number,
  fresh: boolean,
): Promise<PartTarget> {
  if (fresh || !targets.has(index)) {
    const page = await api.get<Upload>(url`/1.0/fleet/uploads/${id}`, { from: index });
    for (const target of page.parts) targets.set(target.index, target);
  }
  const target = targets.get(index);
  if (target) return target;
  throw new FairleadError('protocol', `The server gave no address for part ${index} of the image.`);
}

interface Sending {
  readonly api: ControlPlane;
  readonly file: string;
  readonly index: number;
  readonly part: Part;
  readonly target: (fresh: boolean) => Promise<PartTarget>;
  readonly world: UploadWorld;
}

async function sendPart({ api, file, index, part, target, world }: Sending): Promise<void> {
  let why = '';
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    if (attempt > 0) await world.sleep(world.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** attempt));
    const to = await target(why === String(EXPIRED));
    const start = index * PART_BYTES;
    const status = await put(api, to, part.length, section(file, start, start + part.length)).catch((error: unknown) =>
      messageOf(error),
    );
    if (typeof status === 'number' && (status < 300 || status === ALREADY_THERE)) return;
    why = String(status);
    const hopeless = typeof status === 'number' && status < 500 && status !== EXPIRED && status !== 429;
    if (hopeless) break;
  }
  throw new FairleadError(
    'unavailable',
    `Part ${index + 1} of the image could not be uploaded (${why}). Run the command again: what has arrived is not sent again.`,
  );
}

/** One PUT; answers the status. An early refusal ends the sending. */
async function put(api: ControlPlane, target: PartTarget, length: number, source: ReadStream): Promise<number> {
  const headers = { 'content-length': String(length), ...target.headers };
  const sending = request(target.url, { method: 'PUT', headers, agent: api.agent, timeout: PART_TIMEOUT_MS });
  const status = new Promise<number>((resolve, reject) => {
    sending.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sending.on('timeout', () => sending.destroy(new Error(`no answer within ${PART_TIMEOUT_MS / 1000} s`)));
    sending.on('error', reject);
  });
  const flow = pipeline(source, sending);
  // The status says more than the broken pipe behind an early refusal.
  flow.catch(() => undefined);
  try {
    return await status;
  } finally {
    source.destroy();
  }
}
