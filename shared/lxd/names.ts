/**
 * What things may be called. A name is the only text from outside that ever becomes part of a path, a record key or a
 * host name, so each rule is an allow-list (security requirement R27) and each refusal says what is allowed.
 */
import * as z from 'zod';
import { FairleadError } from '../errors.ts';
import { quote } from './parse.ts';

interface Rule {
  readonly what: string;
  readonly allowed: string;
  readonly max: number;
  readonly pattern: RegExp;
  /** Matches that the pattern alone lets through but that are still refused. */
  readonly except?: RegExp;
}

/**
 * LXD's rule for instances, `IsHostname` in canonical/lxd `shared/validate/validate.go`: 1 to 63 letters, digits and
 * hyphens, no hyphen at either end, not a number. A leading digit is fine; upper case is too.
 */
const HOSTNAME = {
  allowed: '1 to 63 letters, digits and hyphens, with no hyphen at either end and not only digits',
  max: 63,
  pattern: /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/,
  except: /^[0-9]+$/,
} as const;

const RULES = {
  instance: { what: 'instance name', ...HOSTNAME },
  host: { what: 'host name', ...HOSTNAME },
  site: { what: 'site name', ...HOSTNAME },
  remote: { what: 'remote name', ...HOSTNAME },
  snapshot: {
    what: 'snapshot name',
    allowed: '1 to 63 letters, digits and . _ : + -, beginning with a letter or digit, without ".."',
    max: 63,
    pattern: /^[A-Za-z0-9][A-Za-z0-9._:+-]*$/,
    except: /\.\./,
  },
  profile: {
    what: 'profile name',
    allowed: '1 to 63 letters, digits and . _ -, beginning with a letter or digit, without ".."',
    max: 63,
    pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    except: /\.\./,
  },
  project: {
    what: 'project name',
    allowed: '1 to 63 letters, digits and . -, beginning with a letter or digit, without ".."',
    max: 63,
    pattern: /^[A-Za-z0-9][A-Za-z0-9.-]*$/,
    except: /\.\./,
  },
  device: {
    what: 'device name',
    allowed: '1 to 63 letters, digits and . _ : -, beginning with a letter or digit, without ".."',
    max: 63,
    pattern: /^[A-Za-z0-9][A-Za-z0-9._:-]*$/,
    except: /\.\./,
  },
  alias: {
    what: 'image alias',
    allowed:
      '1 to 128 letters, digits and . _ : + / -, in parts between slashes that begin with a letter or digit, without ".."',
    max: 128,
    pattern: /^[A-Za-z0-9][A-Za-z0-9._:+-]*(?:\/[A-Za-z0-9][A-Za-z0-9._:+-]*)*$/,
    except: /\.\./,
  },
} as const satisfies Record<string, Rule>;

/** The kinds of things that have names. */
export type NameKind = keyof typeof RULES;

/** Why `value` is no name of this kind, as a sentence that says what is allowed; undefined when it is one. */
export function nameProblem(kind: NameKind, value: string): string | undefined {
  const rule: Rule = RULES[kind];
  // The length goes first: a long text must not reach the pattern.
  const fits = value.length <= rule.max && rule.pattern.test(value) && rule.except?.test(value) !== true;
  return fits ? undefined : `${quote(value)} is not a valid ${rule.what}: allowed are ${rule.allowed}.`;
}

/** `value` when it is a name of this kind; throws `bad_name` with {@link nameProblem} otherwise. */
export function checkName(kind: NameKind, value: string): string {
  const problem = nameProblem(kind, value);
  if (problem !== undefined) throw new FairleadError('bad_name', problem);
  return value;
}

function schema(kind: NameKind, empty: 'empty allowed' | 'not empty' = 'not empty') {
  return z.string().superRefine((value, context) => {
    if (value === '' && empty === 'empty allowed') return;
    const message = nameProblem(kind, value);
    if (message !== undefined) context.addIssue({ code: 'custom', message, params: { code: 'bad_name' } });
  });
}

export const instanceName = schema('instance');
/** An instance name, or '' for "choose one for me". */
export const newInstanceName = schema('instance', 'empty allowed');
export const snapshotName = schema('snapshot');
/** A snapshot name, or '' for the next free `snapN`. */
export const newSnapshotName = schema('snapshot', 'empty allowed');
export const profileName = schema('profile');
export const hostName = schema('host');
export const siteName = schema('site');
export const imageAlias = schema('alias');

/** The SHA-256 that names an image: 64 lower-case hex digits. */
export const fingerprint = z.string().regex(/^[0-9a-f]{64}$/, 'a fingerprint is 64 lower-case hex digits');
