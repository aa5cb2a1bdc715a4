import { dirname } from 'node:path';

import type { Disk } from '../../host-connector/disk.ts';

/** A disk that forgets with the process: thousands of hosts on one machine must not measure its fsync. */
export function memoryDisk(): Disk {
  const files = new Map<string, string>();
  return {
    read: async (path) => {
      const text = files.get(path);
      if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
      return text;
    },
    create: async (path, text) => void files.set(path, text),
    sync: async () => undefined,
    rename: async (from, to) => {
      files.set(to, files.get(from) ?? '');
      files.delete(from);
    },
    makeFolder: async () => false,
    list: async (path) =>
      [...files.keys()].filter((file) => dirname(file) === path).map((name) => ({ name, isFolder: false })),
    remove: async (path) => void files.delete(path),
    removeFile: async (path) => void files.delete(path),
    removeFolder: async () => undefined,
  };
}
