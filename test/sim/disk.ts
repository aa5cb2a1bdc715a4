import { dirname } from 'node:path';

import type { Disk } from '../../host-connector/disk.ts';
import type { Run } from './run.ts';
import type { Mortal } from './timeline.ts';

interface File {
  readonly kind: 'file';
  readonly text: string;
  synced: boolean;
}
type Node = File | { readonly kind: 'folder' };

/** A host's disk: what was not synced may be lost in a crash of the host, each name for itself. */
export class SimDisk {
  readonly #run: Run;
  #live = new Map<string, Node>();
  #durable = new Map<string, Node>();
  isFull = false;

  constructor(run: Run) {
    this.#run = run;
  }

  /** The disk as a process has it: its calls end with it. */
  of(process: Mortal): Disk {
    const call = async <T>(effect: () => T): Promise<T> => {
      await this.#run.timeline.sleep(1, process);
      return effect();
    };
    return {
      read: (path) => call(() => this.#file(path).text),
      create: (path, text) => call(() => this.#create(path, text)),
      sync: (path) => call(() => this.#sync(path)),
      rename: (from, to) => call(() => this.#rename(from, to)),
      makeFolder: (path) => call(() => this.#makeFolder(path)),
      list: (path) => call(() => this.#list(path)),
      remove: (path) => call(() => this.#remove(path)),
      removeFile: (path) => call(() => void (this.#file(path) && this.#live.delete(path))),
      removeFolder: (path) => call(() => this.#removeFolder(path)),
    };
  }

  /** Power is lost: of what was not synced, some is there and some is not. */
  crash(): void {
    const { nemesis } = this.#run;
    const after = new Map<string, Node>();
    for (const path of [...new Set([...this.#durable.keys(), ...this.#live.keys()])].toSorted()) {
      const [live, durable] = [this.#live.get(path), this.#durable.get(path)];
      const node = live === durable || nemesis.coin() ? live : durable;
      if (node === undefined || (dirname(path) !== '/' && !after.has(dirname(path)))) continue;
      const torn = node.kind === 'file' && !node.synced && nemesis.coin();
      after.set(path, torn ? { kind: 'file', text: '', synced: true } : node);
    }
    this.#live = after;
    this.#durable = new Map(after);
  }

  /** Every path there is. */
  get paths(): string[] {
    return [...this.#live.keys()];
  }

  #file(path: string): File {
    const node = this.#live.get(path);
    if (node?.kind === 'file') return node;
    throw failure('ENOENT', path);
  }

  #create(path: string, text: string): void {
    if (this.#live.has(path)) throw failure('EEXIST', path);
    if (!this.#live.has(dirname(path))) throw failure('ENOENT', path);
    this.#mustHaveRoom(path);
    this.#live.set(path, { kind: 'file', text, synced: false });
  }

  #sync(path: string): void {
    const node = this.#live.get(path);
    if (node === undefined) throw failure('ENOENT', path);
    if (node.kind === 'file') {
      node.synced = true;
      return;
    }
    for (const known of this.#durable.keys()) if (dirname(known) === path) this.#durable.delete(known);
    for (const [name, child] of this.#live) if (dirname(name) === path) this.#durable.set(name, child);
  }

  #rename(from: string, to: string): void {
    this.#live.set(to, this.#file(from));
    this.#live.delete(from);
  }

  #makeFolder(path: string): boolean {
    if (this.#live.has(path)) return false;
    this.#mustHaveRoom(path);
    if (dirname(path) !== '/' && this.#makeFolder(dirname(path)))
      this.#durable.set(dirname(path), this.#live.get(dirname(path))!);
    this.#live.set(path, { kind: 'folder' });
    return true;
  }

  #list(path: string): { name: string; isFolder: boolean }[] {
    if (!this.#live.has(path)) throw failure('ENOENT', path);
    return [...this.#live]
      .filter(([name]) => dirname(name) === path)
      .map(([name, { kind }]) => ({ name: name.slice(path.length + 1), isFolder: kind === 'folder' }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  #remove(path: string): void {
    for (const name of this.#live.keys()) if (name === path || name.startsWith(`${path}/`)) this.#live.delete(name);
  }

  #removeFolder(path: string): void {
    if (this.#list(path).length > 0) throw failure('ENOTEMPTY', path);
    this.#live.delete(path);
  }

  #mustHaveRoom(path: string): void {
    if (this.isFull) throw failure('ENOSPC', path);
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
