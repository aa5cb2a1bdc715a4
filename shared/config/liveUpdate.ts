/** What a change of configuration means for an instance that runs. */
import type { Config, Devices } from '../lxd/maps.ts';
import { keySpec } from './keys.ts';

/** Names, sorted, whose values differ between the two; absent and '' are the same. */
export function changedKeys(old: Readonly<Config>, next: Readonly<Config>): string[] {
  const value = (config: Readonly<Config>, key: string): string =>
    Object.hasOwn(config, key) ? (config[key] ?? '') : '';
  return union(old, next).filter((key) => value(old, key) !== value(next, key));
}

/** Names, sorted, of devices that are added, removed or changed. */
export function changedDevices(old: Readonly<Devices>, next: Readonly<Devices>): string[] {
  const device = (devices: Readonly<Devices>, name: string) =>
    Object.hasOwn(devices, name) ? devices[name] : undefined;
  return union(old, next).filter((name) => {
    const [before, after] = [device(old, name), device(next, name)];
    return before === undefined || after === undefined || changedKeys(before, after).length > 0;
  });
}

/** Those of `keys` that a running instance follows only at its next start. */
export function needRestart(keys: readonly string[]): string[] {
  return keys.filter((key) => keySpec(key)?.when !== 'live');
}

function union(one: object, other: object): string[] {
  return [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
}
