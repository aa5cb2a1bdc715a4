import type { FleetInstance } from '../client/fleet.ts';

/** True when the instance passes every filter: `key=value`, or the beginning or pattern of a name (client contract §7.1). */
export function matches(instance: FleetInstance, filters: readonly string[]): boolean {
  return filters.every((filter) => {
    const equals = filter.indexOf('=');
    if (equals < 1) return matchesName(instance.name, filter);
    return matchesKey(instance, filter.slice(0, equals), filter.slice(equals + 1));
  });
}

function matchesName(name: string, filter: string): boolean {
  if (name.startsWith(filter)) return true;
  // With an anchor of its own the filter is a pattern as it stands; else it is one for the beginning.
  return pattern(/[\^$]/.test(filter) ? filter : `^(?:${filter})`)?.test(name) ?? false;
}

/** What is not configuration; several values may stand between commas. */
const FIELDS: Readonly<Record<string, (instance: FleetInstance) => string>> = {
  status: ({ status }) => status,
  state: ({ status }) => status,
  type: ({ type }) => type,
  architecture: ({ architecture }) => architecture,
  location: ({ location }) => location,
  name: ({ name }) => name,
};

function matchesKey(instance: FleetInstance, key: string, wanted: string): boolean {
  const field = FIELDS[key];
  if (field) return wanted.split(',').some((value) => value.toLowerCase() === field(instance).toLowerCase());
  const anchored = pattern(/[\^$]/.test(wanted) ? wanted : `^(?:${wanted})$`);
  return Object.entries(instance.expanded_config).some(
    ([name, value]) => dottedPrefix(key, name) && (value === wanted || anchored?.test(value) === true),
  );
}

/** lxc lets each part of a key be shortened: `u.r` finds `user.role`. */
function dottedPrefix(short: string, long: string): boolean {
  const [left, right] = [short.split('.'), long.split('.')];
  return left.length === right.length && left.every((part, at) => right[at]?.startsWith(part) === true);
}

/** Undefined for text that is no pattern: then it only matches itself. */
function pattern(text: string): RegExp | undefined {
  try {
    return new RegExp(text);
  } catch {
    return undefined;
  }
}
