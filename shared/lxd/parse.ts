/** The one way from an untrusted value to a typed one: a zod schema in, a readable {@link FairleadError} out. */
import type { z } from 'zod';
import { FairleadError, type ErrorCode } from '../errors.ts';

/** So many problems are named in one message; more do not help. */
const MAX_PROBLEMS = 5;

/** A quoted value longer than this is cut. */
const MAX_QUOTED = 80;

/** `value` in double quotes, control characters escaped, cut when long: safe to show in a message or a log. */
export function quote(value: string): string {
  return JSON.stringify(value.length > MAX_QUOTED ? `${value.slice(0, MAX_QUOTED)}…` : value);
}

/**
 * Parses `value`; `what` names it for the user ("instance", "exec request").
 * Throws `bad_request`, or the code a schema of names.ts asks for (`bad_name`), with a sentence that names each wrong field.
 */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  const named = issues.slice(0, MAX_PROBLEMS).map(describe);
  const more = issues.length > MAX_PROBLEMS ? `; and ${issues.length - MAX_PROBLEMS} more` : '';
  throw new FairleadError(codeOf(issues), `The ${what} is not valid. ${named.join('; ')}${more}.`);
}

function describe(issue: z.core.$ZodIssue): string {
  const where = path(issue.path);
  const said = innermost(issue)
    .replace(/\.$/, '')
    .replace(/^Invalid input: /, '');
  return where === '' ? said : `${where}: ${said}`;
}

/** A failed union says only "Invalid input"; its last and most general branch says more. */
function innermost(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_union') return issue.message;
  const branch = issue.errors.at(-1)?.[0];
  return branch === undefined ? issue.message : innermost(branch);
}

function path(parts: readonly PropertyKey[]): string {
  return parts
    .map((part, at) => {
      if (typeof part === 'number') return `[${part}]`;
      const name = String(part);
      if (!/^[\w-]+$/.test(name)) return `[${quote(name)}]`;
      return at === 0 ? name : `.${name}`;
    })
    .join('');
}

function codeOf(issues: readonly z.core.$ZodIssue[]): ErrorCode {
  const named = issues.some((issue) => issue.code === 'custom' && issue.params?.['code'] === 'bad_name');
  return named ? 'bad_name' : 'bad_request';
}
