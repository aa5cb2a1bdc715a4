import { FairleadError, isFairleadError } from '#shared/errors.ts';
import type { Alias, Image } from '#shared/lxd/image.ts';
import { url, type ControlPlane } from '../client/http.ts';
import { parseImage } from '../grammar.ts';

/**
 * The fingerprint an alias, or the beginning of a fingerprint, stands for.
 * @throws FairleadError `not_found` "Image not found"
 */
export async function resolveImage(api: ControlPlane, text: string): Promise<string> {
  const name = parseImage(text);
  const alias = await unlessMissing(api.get<Alias>(url`/1.0/images/aliases/${name}`));
  if (alias) return alias.target;
  const image = /^[0-9a-fA-F]+$/.test(name) ? await unlessMissing(api.get<Image>(url`/1.0/images/${name}`)) : undefined;
  if (image) return image.fingerprint;
  throw new FairleadError(
    'not_found',
    `Image not found: there is no alias and no fingerprint "${name}". See: fairlead image list`,
  );
}

async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isFairleadError(error, 'not_found')) return undefined;
    throw error;
  }
}
