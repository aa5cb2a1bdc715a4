/** Looks at an unpacked image once more, on disk: what an archive claimed is not believed twice. */
import { constants, type Stats } from 'node:fs';
import { chmod, lchown, lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FairleadError } from '#shared/errors.ts';
import { MAX_METADATA_BYTES } from '#shared/image/inspect.ts';
import { parseImageMetadata, type ImageMetadata } from '#shared/image/metadata.ts';

/**
 * Checks that a folder holds metadata.yaml, rootfs/ and perhaps templates/, real ones and nothing else; takes all but rootfs/
 * from the container's root, so that only the host's root reads and writes them.
 * @throws FairleadError `bad_image`
 */
export async function checkTree(folder: string): Promise<ImageMetadata> {
  const names = await readdir(folder);
  for (const name of names) {
    if (!['metadata.yaml', 'rootfs', 'templates'].includes(name))
      throw bad(`it left ${JSON.stringify(name)} at its top`);
  }
  if (!(await lstat(join(folder, 'rootfs'))).isDirectory()) throw bad('its rootfs is not a directory');
  const templates = names.includes('templates') ? await checkTemplates(join(folder, 'templates')) : [];
  const metadata = parseImageMetadata(await takePlainFile(join(folder, 'metadata.yaml')));
  for (const { template } of Object.values(metadata.templates)) {
    if (!templates.includes(template))
      throw bad(`metadata.yaml names the template ${template}, which is not in templates/`);
  }
  await lchown(folder, 0, 0);
  await chmod(folder, 0o700);
  return metadata;
}

async function checkTemplates(folder: string): Promise<string[]> {
  if (!(await lstat(folder)).isDirectory()) throw bad('its templates are not a directory');
  await lchown(folder, 0, 0);
  await chmod(folder, 0o700);
  const names = await readdir(folder);
  for (const name of names) await takePlainFile(join(folder, name));
  return names;
}

/** Reads a regular file that has one name only, and makes it root's alone. */
async function takePlainFile(path: string): Promise<Buffer> {
  const before = await lstat(path);
  if (!plain(before)) throw bad('a file of its metadata is not a plain file of at most 1 MiB');
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if (!plain(await file.stat())) throw bad('a file of its metadata changed while it was read');
  await file.chown(0, 0);
  await file.chmod(0o600);
  return file.readFile();
}

function plain(stats: Stats): boolean {
  return stats.isFile() && stats.nlink === 1 && stats.size <= MAX_METADATA_BYTES;
}

function bad(why: string): FairleadError {
  return new FairleadError('bad_image', `The image was refused after unpacking: ${why}. Nothing of it is kept.`);
}
