/** Fetches the files of an image in parts, goes on where a connection broke, and verifies the whole against the fingerprint. */
import { createHash, type Hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { FairleadError, isFairleadError, messageOf } from '#shared/errors.ts';

/** One signed URL and what it must give: `length` in bytes, `sha256` in hex. */
export interface Part {
  readonly url: string;
  readonly length: number;
  readonly sha256: string;
}

/** The parts of each file, in order: of the unified tarball, or of the metadata tarball and the root filesystem. */
export type Location =
  | readonly [unified: readonly Part[]]
  | readonly [metadata: readonly Part[], rootfs: readonly Part[]];

/** Finds out where an image's parts are now; called again when URLs expired. */
export type Locate = () => Promise<Location>;

/** Bytes that arrived, of all files together. */
export type OnProgress = (received: number, total: number) => void;

export interface DownloadDeps {
  readonly fetch: typeof globalThis.fetch;
  readonly sleep: (ms: number) => Promise<void>;
  /** A number from 0 to below 1. */
  readonly random: () => number;
  /** In place of {@link STALL_MS}. */
  readonly stallMs?: number;
}

/** Most bytes of an image's compressed files. */
const MAX_IMAGE_BYTES = 64 * 1024 ** 3;
/** Failures after which a part is given up. */
export const MAX_FAILURES = 8;
/** Times an image is located anew because its URLs expired. */
const MAX_LOCATES = 20;
/** A connection that gives nothing for this long is cut. */
const STALL_MS = 60_000;
/** Waits between failures: full jitter, doubling from the first to the longest. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** Answers by which stores say that a signed URL is no longer good. */
const EXPIRED = new Set([401, 403, 404, 410]);

/**
 * Downloads an image into files of `folder` and returns their paths; they are on disk (fsync) and together have the SHA-256
 * `fingerprint`.
 * @throws FairleadError `bad_image` (wrong hash), `unavailable` (no connection), errors of `locate` and of the disk
 */
export async function downloadImage(
  deps: DownloadDeps,
  fingerprint: string,
  locate: Locate,
  folder: string,
  onProgress: OnProgress,
): Promise<string[]> {
  const source = new Source(locate);
  const files = await source.files();
  const total = files.flat().reduce((sum, { length }) => sum + length, 0);
  if (total > MAX_IMAGE_BYTES)
    throw new FairleadError('bad_image', 'The image is larger than 64 GiB; it was not downloaded.');
  const whole = { hash: createHash('sha256') };
  let before = 0;
  const paths: string[] = [];
  for (const [fileIndex, parts] of files.entries()) {
    const path = join(folder, `file-${fileIndex}`);
    await using file = await open(path, 'wx', 0o600);
    let offset = 0;
    for (const [partIndex, part] of parts.entries()) {
      const sofar = before;
      const progress = (bytes: number) => onProgress(sofar + bytes, total);
      await downloadPart(deps, { source, fileIndex, partIndex, file, offset, whole, progress });
      offset += part.length;
      before += part.length;
    }
    await file.sync();
    paths.push(path);
  }
  const computed = whole.hash.digest('hex');
  if (computed === fingerprint) return paths;
  throw new FairleadError(
    'bad_image',
    `The image is not what was asked for: its SHA-256 is ${computed}, asked for was ${fingerprint}. Nothing of it was used; refresh or upload the image again.`,
  );
}

/** Where the parts are, asked again when that got old. */
class Source {
  readonly #locate: Locate;
  #location: Promise<Location> | undefined;
  #locates = 0;

  constructor(locate: Locate) {
    this.#locate = locate;
  }

  /** The parts of each file, as last located. */
  files(): Promise<Location> {
    this.#location ??= this.#locate();
    return this.#location;
  }

  /** Forgets what expired. */
  expire(): void {
    this.#locates += 1;
    if (this.#locates > MAX_LOCATES)
      throw new FairleadError(
        'unavailable',
        'The URLs of the image expire faster than it can be downloaded; check the clocks, then try again.',
      );
    this.#location = undefined;
  }

  /** One part, as last located. */
  async part(file: number, part: number): Promise<Part> {
    const found = (await this.files())[file]?.[part];
    if (found === undefined)
      throw new FairleadError('unavailable', 'The image changed while it was downloaded; try again.');
    return found;
  }
}

interface PartJob {
  readonly source: Source;
  readonly fileIndex: number;
  readonly partIndex: number;
  readonly file: FileHandle;
  readonly offset: number;
  /** The running hash of the image; replaced by a copy when a part must be read anew. */
  readonly whole: { hash: Hash };
  readonly progress: (bytes: number) => void;
}

/** What of a part is on disk and in the hashes. */
interface PartState {
  received: number;
  own: Hash;
  whole: Hash;
}

async function downloadPart(deps: DownloadDeps, job: PartJob): Promise<void> {
  const fresh = (): PartState => ({ received: 0, own: createHash('sha256'), whole: job.whole.hash.copy() });
  let state = fresh();
  let why = '';
  for (let failures = 0; failures < MAX_FAILURES; failures++) {
    if (failures > 0) await deps.sleep(deps.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures));
    const part = await job.source.part(job.fileIndex, job.partIndex);
    try {
      await receive(deps, job, part, state);
      if (state.own.copy().digest('hex') === part.sha256) {
        job.whole.hash = state.whole;
        return;
      }
      why = 'a part has a wrong SHA-256';
      state = fresh();
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      why = error.message;
      if (error.restart) state = fresh();
      if (error.expired) job.source.expire();
    }
  }
  throw new FairleadError(
    'unavailable',
    `The image could not be downloaded: ${why} (tried ${MAX_FAILURES} times). Check the host's connection, then try again.`,
  );
}

/** A transfer that broke and may be tried again. */
class Broken extends Error {
  readonly restart: boolean;
  readonly expired: boolean;

  constructor(message: string, { restart = false, expired = false } = {}) {
    super(message);
    this.restart = restart;
    this.expired = expired;
  }
}

/** Reads a part from where the last try ended. */
async function receive(deps: DownloadDeps, job: PartJob, part: Part, state: PartState): Promise<void> {
  if (state.received === part.length) return;
  const stop = new AbortController();
  const watchdog = setTimeout(() => stop.abort(new Broken('the connection stalled')), deps.stallMs ?? STALL_MS);
  try {
    const response = await answer(deps, part, state.received, stop.signal);
    for await (const bytes of body(response)) {
      watchdog.refresh();
      if (state.received + bytes.length > part.length)
        throw new Broken('a part is longer than announced', { restart: true });
      await writeAll(job.file, bytes, job.offset + state.received);
      state.own.update(bytes);
      state.whole.update(bytes);
      state.received += bytes.length;
      job.progress(state.received);
    }
    if (state.received < part.length) throw new Broken('the connection ended early');
  } finally {
    clearTimeout(watchdog);
    stop.abort();
  }
}

/** One write may take only a part, as when a disk gets full; the next one then says why. */
async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

async function answer(deps: DownloadDeps, part: Part, from: number, signal: AbortSignal): Promise<Response> {
  const headers = { 'accept-encoding': 'identity', ...(from > 0 ? { range: `bytes=${from}-${part.length - 1}` } : {}) };
  const response = await deps.fetch(part.url, { headers, signal, redirect: 'error' }).catch((error: unknown) => {
    throw broken(error);
  });
  if (response.status === (from > 0 ? 206 : 200)) return response;
  await response.body?.cancel();
  throw new Broken(`the store answered ${response.status}`, {
    restart: response.status === 200,
    expired: EXPIRED.has(response.status),
  });
}

async function* body(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  for (;;) {
    const next = await reader.read().catch((error: unknown) => {
      throw broken(error);
    });
    if (next.done) return;
    yield next.value;
  }
}

function broken(error: unknown): Broken | FairleadError {
  if (error instanceof Broken || isFairleadError(error)) return error;
  const cause = (error as { cause?: unknown }).cause;
  return new Broken(cause === undefined ? messageOf(error) : messageOf(cause), {});
}
