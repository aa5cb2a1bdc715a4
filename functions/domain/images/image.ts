import type { Image } from '#shared/lxd/image.ts';
import { NEVER } from '#shared/lxd/status.ts';

import { sha256 } from '../secrets.ts';

/** An image as it is stored; it exists only once its hash was computed and its metadata parsed. Times in ms. */
export interface ImageRecord {
  readonly fingerprint: string;
  readonly project: string;
  readonly architecture: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly filename: string;
  /** Bytes, compressed. */
  readonly size: number;
  readonly public: boolean;
  readonly createdAt: number;
  readonly uploadedAt: number;
}

/** Where the bytes of an image lie, in order. Kept apart: listings do not need it. */
export interface ImageParts {
  readonly parts: readonly { readonly key: string; readonly length: number; readonly sha256: string }[];
}

export interface AliasRecord {
  readonly name: string;
  readonly description: string;
  /** Fingerprint. */
  readonly target: string;
}

/** An image as LXD shows it. */
export function renderImage(record: ImageRecord, aliases: readonly AliasRecord[]): Image {
  return {
    fingerprint: record.fingerprint,
    public: record.public,
    auto_update: false,
    cached: false,
    properties: { ...record.properties },
    aliases: aliases
      .filter(({ target }) => target === record.fingerprint)
      .map(({ name, description }) => ({ name, description })),
    architecture: record.architecture,
    type: 'container',
    filename: record.filename,
    size: record.size,
    profiles: ['default'],
    created_at: new Date(record.createdAt).toISOString(),
    expires_at: NEVER,
    last_used_at: NEVER,
    uploaded_at: new Date(record.uploadedAt).toISOString(),
  };
}

/** The ETag of what a PUT may change. */
export function imageEtag(record: ImageRecord): string {
  return sha256(JSON.stringify([record.public, record.properties]));
}
