/** The host ids that root may give to containers: /etc/subuid and /etc/subgid, without which liblxc maps nothing. */
import { FairleadError } from '#shared/errors.ts';
import { readIfThere, writeDurably } from '../durable.ts';

/** A run of ids. */
export interface IdRange {
  readonly base: number;
  readonly size: number;
}

/** The two files. */
export const SUBID_FILES = ['/etc/subuid', '/etc/subgid'] as const;
const FILE_MODE = 0o644;

/** Adds `root:BASE:SIZE` to each file that does not give root the whole range. Returns the files it changed. */
export async function ensureSubordinateIds(range: IdRange, files: readonly string[] = SUBID_FILES): Promise<string[]> {
  const changed: string[] = [];
  for (const path of files) {
    const text = (await readIfThere(path)) ?? '';
    if (covers(text, range)) continue;
    const other = othersWithin(text, range);
    if (other !== undefined) {
      throw new FairleadError(
        'bad_config',
        `${path} gives ids between ${range.base} and ${range.base + range.size} to "${other}": set idmap_ranges in the host policy to a free range`,
      );
    }
    const separator = text === '' || text.endsWith('\n') ? '' : '\n';
    await writeDurably(path, `${text}${separator}root:${range.base}:${range.size}\n`, FILE_MODE);
    changed.push(path);
  }
  return changed;
}

/** Whether one of root's lines holds the whole range. Pure. */
export function covers(text: string, { base, size }: IdRange): boolean {
  return parse(text).some((line) => isRoot(line.user) && line.base <= base && base + size <= line.base + line.size);
}

/** Who else may use ids of the range. */
function othersWithin(text: string, { base, size }: IdRange): string | undefined {
  return parse(text).find((line) => !isRoot(line.user) && line.base < base + size && base < line.base + line.size)
    ?.user;
}

function isRoot(user: string): boolean {
  return user === 'root' || user === '0';
}

function parse(text: string): (IdRange & { user: string })[] {
  return text.split('\n').flatMap((line) => {
    const [user, base, size] = line.split(':');
    return user && base && size ? [{ user, base: Number(base), size: Number(size) }] : [];
  });
}
