import { FairleadError } from '#shared/errors.ts';
import { nameProblem } from '#shared/lxd/names.ts';
import { quote } from '#shared/lxd/parse.ts';

import type { Ports } from '../../ports/ports.ts';
import type { Stored } from '../../ports/records.ts';
import { keys } from '../keys.ts';
import type { AliasRecord, ImageRecord } from './image.ts';

/** A fingerprint, or the beginning of one. */
const PREFIX = /^[0-9a-f]{1,64}$/;

/** The image with this fingerprint, whole or the beginning of one. @throws FairleadError `not_found`, `ambiguous_name`. */
export async function imageByPrefix(ports: Ports, project: string, text: string): Promise<Stored<ImageRecord>> {
  const prefix = text.toLowerCase();
  if (!PREFIX.test(prefix)) throw notFound(text);
  const like = keys.imagesLike(project, prefix);
  const { items } = await ports.records.query<ImageRecord>(like.pk, { prefix: like.prefix, limit: 2 });
  const [image, other] = items;
  if (image === undefined) throw notFound(text);
  if (other !== undefined) {
    throw new FairleadError(
      'ambiguous_name',
      `More than one image begins with "${text}". Give more digits of the fingerprint.`,
    );
  }
  return image;
}

/** The image an alias or a fingerprint names. @throws FairleadError `not_found`. */
export async function resolveImage(ports: Ports, project: string, text: string): Promise<ImageRecord> {
  if (text === '') throw new FairleadError('bad_request', 'No image was named. Give an alias or a fingerprint.');
  const isAlias = nameProblem('alias', text) === undefined;
  const alias = isAlias ? await ports.records.get<AliasRecord>(keys.alias(project, text)) : undefined;
  return (await imageByPrefix(ports, project, alias?.data.target ?? text)).data;
}

/** What is said of an image that is not there. */
export function notFound(text: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'not_found',
    `Image ${quote(text)} not found. "fairlead image list" shows what there is; "fairlead image import" adds one.`,
    { cause },
  );
}
