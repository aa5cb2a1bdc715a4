import { FairleadError } from '#shared/errors.ts';

/** What instances, images and profiles belong to. There is one, until projects can be made. */
export const DEFAULT_PROJECT = 'default';

/** The project a caller names, or the one there is. @throws FairleadError `not_found`. */
export function projectNamed(name: string | undefined): string {
  if (name === undefined || name === '' || name === DEFAULT_PROJECT) return DEFAULT_PROJECT;
  throw new FairleadError('not_found', 'Project not found: there is only "default". Leave out --project.');
}
