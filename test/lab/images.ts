/** LXD unified images for tests, built once for each version of their recipe: metadata.yaml, rootfs/ and templates/. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { buildOnce, debianMirror, ensureBase } from './base.ts';

/** `busybox`: 1 MB, up in 0.1 s; `debian`: trixie with systemd, half a minute to build the first time. */
export const IMAGE_KINDS = ['busybox', 'debian'] as const;
export type ImageKind = (typeof IMAGE_KINDS)[number];

export interface LabImage {
  /** The tarball, `.tar.gz`. */
  path: string;
  size: number;
  /** SHA-256 of the tarball in hex, LXD's fingerprint. */
  fingerprint: string;
}

/** Answers with an image, building it when no cached one matches the recipe. */
export async function ensureImage(kind: ImageKind): Promise<LabImage> {
  const base = await ensureBase();
  const recipe = fileURLToPath(new URL(`build-${kind}.sh`, import.meta.url));
  const args = kind === 'debian' ? [base, await debianMirror()] : [base];
  const path = await buildOnce({ kind, recipe, args, ending: '.tar.gz' });
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return { path, size: (await stat(path)).size, fingerprint: hash.digest('hex') };
}
