/** `volatile.*`: state that the server keeps in the configuration. Clients read it, send it back, and must not be believed. */
import type { Config } from '../lxd/maps.ts';

const PREFIX = 'volatile.';

function without(config: Readonly<Config>, drop: (key: string) => boolean): Config {
  return Object.fromEntries(Object.entries(config).filter(([key]) => !drop(key)));
}

/** For a change: the requested configuration with the volatile keys as they are now, whatever the client sent. */
export function keepVolatile(requested: Readonly<Config>, current: Readonly<Config>): Config {
  return {
    ...without(requested, (key) => key.startsWith(PREFIX)),
    ...without(current, (key) => !key.startsWith(PREFIX)),
  };
}

/** For a create: only `volatile.base_image` stays, which says what a copy can be made from (as LXD does on a remote copy). */
export function dropVolatile(requested: Readonly<Config>): Config {
  return without(requested, (key) => key.startsWith(PREFIX) && key !== 'volatile.base_image');
}
