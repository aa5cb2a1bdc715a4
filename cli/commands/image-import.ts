import { basename } from 'node:path';

import { FairleadError } from '#shared/errors.ts';
import type { UploadWorld } from '../client/upload.ts';
import { bytesSi } from '../output/format.ts';
import { PROGRESS_AFTER_MS, ProgressLine } from '../output/progress.ts';
import type { Session } from '../session.ts';

interface Wish {
  readonly properties: Record<string, string>;
  readonly aliases: readonly string[];
  readonly public: boolean;
}

/** Uploads a file, then has the control plane check it and take it into the catalogue. */
export async function importImage(session: Session, file: string, wish: Wish): Promise<void> {
  const { upload } = await import('../client/upload.ts');
  const { api, io } = session;
  const line = new ProgressLine(
    io.stderr.isTTY ? (text) => io.stderr.write(text) : undefined,
    () => io.stderr.columns || 80,
  );
  const started = io.now();
  const progress: UploadWorld['progress'] = (stage, done, total) => {
    const elapsed = io.now() - started;
    if (elapsed < PROGRESS_AFTER_MS) return;
    line.show(
      `${stage === 'reading' ? 'Reading' : 'Uploading'} the image: ${Math.floor((100 * done) / total)}% of ${bytesSi(total)}`,
    );
  };
  let id: string;
  try {
    id = await upload(api, file, { random: () => io.random(), sleep: (ms) => io.sleep(ms), progress });
  } finally {
    line.clear();
  }
  const operation = await api.start('POST', '/1.0/images', {
    body: {
      source: { type: 'upload', upload: id },
      public: wish.public,
      filename: basename(file),
      ...(Object.keys(wish.properties).length > 0 && { properties: wish.properties }),
      ...(wish.aliases.length > 0 && { aliases: wish.aliases.map((name) => ({ name, description: '' })) }),
    },
  });
  const fingerprint = (await session.finish(operation)).metadata?.['fingerprint'];
  if (typeof fingerprint !== 'string')
    throw new FairleadError(
      'protocol',
      'The image was imported, but the server did not say its fingerprint. See: fairlead image list',
    );
  session.print(`Image imported with fingerprint: ${fingerprint}\n`);
}
