/** Finds and checks an image's metadata.yaml while the bytes of its tarball stream by: for uploads, which nobody unpacks. */
import { finishInspection, inspect, startInspection, type Inspection, type Layout } from './inspect.ts';
import { parseImageMetadata, type ImageMetadata } from './metadata.ts';
import { TarReader } from './tar.ts';

/** Reads an uncompressed tarball piece by piece; every entry passes the rules of inspect.ts. */
export class MetadataFinder {
  readonly #reader = new TarReader();
  readonly #inspection: Inspection;
  /** Bounded by the inspection: metadata.yaml is at most 1 MiB. */
  readonly #kept: Uint8Array[] = [];
  #keeping = false;

  constructor(layout: Exclude<Layout, 'rootfs'>) {
    this.#inspection = startInspection(layout);
  }

  /** Takes the next bytes of the archive. @throws FairleadError `bad_image` */
  push(chunk: Uint8Array): void {
    for (const event of this.#reader.push(chunk)) {
      if (event.type === 'entry') {
        inspect(this.#inspection, event.entry);
        this.#keeping = event.entry.name.replace(/^(\.?\/)+/, '') === 'metadata.yaml';
      }
      if (event.type === 'data' && this.#keeping) this.#kept.push(event.raw.slice());
    }
  }

  /** Says that the archive ended, and gives what its metadata.yaml says. @throws FairleadError `bad_image` */
  finish(): ImageMetadata {
    this.#reader.finish();
    finishInspection(this.#inspection);
    return parseImageMetadata(joined(this.#kept));
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
