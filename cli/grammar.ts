import { FairleadError } from '#shared/errors.ts';

/** `foo:c1`: the instance c1 of the host foo; without a colon the fleet's c1. */
export interface Target {
  readonly host: string | undefined;
  /** '' where only a host was named. */
  readonly name: string;
}

/** Reads `host:name`, `host:` or `name`. */
export function parseTarget(text: string): Target {
  const colon = text.indexOf(':');
  if (colon === -1) return { host: undefined, name: text };
  const [host, name] = [text.slice(0, colon), text.slice(colon + 1)];
  if (host === '' || name.includes(':')) {
    throw new FairleadError(
      'bad_name',
      `"${text}" is no name: write "name", or "host:name" for an instance of one host.`,
    );
  }
  return { host, name };
}

/** As {@link parseTarget}, for verbs that need an instance. */
export function parseInstance(text: string): Target {
  const target = parseTarget(text);
  if (target.name !== '') return target;
  throw new FairleadError('bad_name', `"${text}" names no instance: write "name" or "host:name".`);
}

/** An image of the catalogue. Images belong to the fleet, so that nothing may stand before a colon. */
export function parseImage(text: string): string {
  const colon = text.indexOf(':');
  if (colon === -1 && text !== '') return text;
  if (text === '')
    throw new FairleadError(
      'bad_name',
      'The image has no name: give an alias or a fingerprint (see: fairlead image list).',
    );
  throw new FairleadError(
    'bad_name',
    `"${text}": images come from this control plane's own catalogue, without a remote before a colon. ` +
      `Import the image first (fairlead image import FILE --alias ${text.slice(colon + 1) || 'NAME'}) and name it by its alias.`,
  );
}

/** `key=value` words as a map; a value may hold `=` and line feeds. */
export function parsePairs(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const equals = word.indexOf('=');
      if (equals < 1) throw new FairleadError('bad_request', `"${word}" is no setting: write key=value.`);
      return [word.slice(0, equals), word.slice(equals + 1)];
    }),
  );
}

/** As {@link parsePairs}, also in lxc's older form of one key and one value as two words. */
export function parseSettings(words: readonly string[]): Record<string, string> {
  const [key, value, ...rest] = words;
  if (key !== undefined && value !== undefined && rest.length === 0 && !key.includes('=')) return { [key]: value };
  return parsePairs(words);
}

/** For commander: gathers an option that may be given several times. */
export function gather(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** For commander: a whole number, not negative. */
export function count(value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value);
  throw new FairleadError('bad_request', `"${value}" is not a number.`);
}

const SECONDS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** For commander: `90`, `90s`, `15m`, `12h`, `1d` in seconds. */
export function parseDuration(value: string): number {
  const [, digits, unit] = /^(\d{1,9})([smhd]?)$/.exec(value) ?? [];
  const factor = SECONDS[unit ?? 'none'];
  if (digits !== undefined && factor !== undefined) return Number(digits) * factor;
  throw new FairleadError('bad_request', `"${value}" is no duration: write 90s, 15m, 12h or 1d.`);
}
