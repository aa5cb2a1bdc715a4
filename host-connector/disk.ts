import { mkdir, open, readdir, readFile, rename, rm, rmdir, unlink } from 'node:fs/promises';

/**
 * The file operations that small durable files are made of, one system call each, so that a simulator can lose whatever was not
 * synced. Errors are node's, with its codes.
 */
export interface Disk {
  read(path: string): Promise<string>;
  /** A new file; fails when there is one. Not on disk before {@link Disk.sync}. */
  create(path: string, text: string, mode: number): Promise<void>;
  /** Waits until a file's content, or a folder's list of names, is on disk. */
  sync(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** With its parents, mode 0700; one that is there is no error. True when it was made. */
  makeFolder(path: string): Promise<boolean>;
  list(path: string): Promise<readonly { readonly name: string; readonly isFolder: boolean }[]>;
  /** A file, or a folder with all in it; nothing there is no error. */
  remove(path: string): Promise<void>;
  removeFile(path: string): Promise<void>;
  /** An empty folder. */
  removeFolder(path: string): Promise<void>;
}

/** The disk of this machine. */
export const realDisk: Disk = {
  read: (path) => readFile(path, 'utf8'),
  create: async (path, text, mode) => {
    const file = await open(path, 'wx', mode);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
  },
  sync: async (path) => {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  rename,
  makeFolder: async (path) => (await mkdir(path, { recursive: true, mode: 0o700 })) !== undefined,
  list: async (path) => {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() }));
  },
  remove: (path) => rm(path, { recursive: true, force: true }),
  removeFile: unlink,
  removeFolder: rmdir,
};
