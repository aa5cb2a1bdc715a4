import { join } from 'node:path';
import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';
import { instanceSpec, type InstanceSpec } from '#shared/link/commands.ts';
import { realDisk, type Disk } from '../disk.ts';
import { isMissing, readIfThere, removeDurably, writeDurably } from '../durable.ts';
import type { HostPaths } from '../host/paths.ts';
import { Serial } from './lanes.ts';

/**
 * What this host is to an instance, on disk before the act it announces (security.md §4.1): it starts a container only as its `owner`,
 * and obeys only commands of the epoch it knows.
 */
const role = z.object({
  version: z.literal(1),
  /**
   * `leaving`: stands still for a move, waits for its verdict. `arriving`: is being put together, does not run. `tombstone`: runs elsewhere, its
   * data is kept for a while.
   */
  role: z.enum(['owner', 'leaving', 'arriving', 'tombstone']),
  /** The move that the instance is in, or that brought it here. */
  move: z
    .object({
      id: z.uuid(),
      attempt: z.int().positive(),
      live: z.boolean(),
      /** Arriving: everything is here, and `adopt` has only to let it run. */
      prepared: z.boolean(),
      /** Arriving without its memory: it ran, so it is started. */
      start: z.boolean(),
    })
    .optional(),
  /** False while the instance is being made: after a crash such a one is swept away. */
  ready: z.boolean(),
  /** The power state to come back to after a reboot of the host. */
  power: z.enum(['on', 'off']),
  /** The host ids its files belong to, when it does not share those of the images. */
  idmap: z.object({ base: z.int().nonnegative(), size: z.int().positive() }).optional(),
  spec: instanceSpec,
});
export type Role = z.infer<typeof role>;

/** What the control plane hears of: arriving instances belong to another host still, tombstones again. */
export function isHere({ ready, role }: Role): boolean {
  return ready && (role === 'owner' || role === 'leaving');
}

/** A role on its way to the disk. */
const UNFINISHED_ROLE = 'role.json.new';

/** The role files of all instances here, read once and kept. */
export class Roles {
  readonly #paths: HostPaths;
  readonly #disk: Disk;
  readonly #roles: Map<string, Role>;
  readonly #writes = new Serial();

  private constructor(paths: HostPaths, disk: Disk, roles: Map<string, Role>) {
    this.#paths = paths;
    this.#disk = disk;
    this.#roles = roles;
  }

  /** Reads what is there. Folders without a role file go if nothing is in them, else they are not ours to judge. @throws FairleadError `internal` for a damaged file */
  static async open(paths: HostPaths, disk: Disk = realDisk): Promise<Roles> {
    const roles = new Map<string, Role>();
    for (const id of await namesIn(disk, paths.lxcpath)) {
      if (!z.uuid().safeParse(id).success) continue;
      const path = paths.instance(id).role;
      const text = await readIfThere(path, disk);
      if (text !== undefined) roles.set(id, parse(path, text));
      else await removeEmpty(paths.instance(id).dir, disk);
    }
    return new Roles(paths, disk, roles);
  }

  /** All of them, by id. */
  all(): Role[] {
    return [...this.#roles.values()];
  }

  find(id: string): Role | undefined {
    return this.#roles.get(id);
  }

  /**
   * The role of an instance that is this host's to change, for a command of `epoch`.
   * @throws FairleadError `not_found`; `busy` while it is being moved; `stale` when the command belongs to another time than this host's copy
   */
  require(id: string, epoch?: number): Role {
    const found = this.#roles.get(id);
    if (!found)
      throw new FairleadError(
        'not_found',
        'This host does not hold the instance. Look where it is now, and try again.',
      );
    if (found.role !== 'owner') {
      throw new FairleadError(
        'busy',
        `"${found.spec.name}" is being moved. Wait until the move has ended, or cancel it.`,
      );
    }
    this.#assertEpoch(found, epoch);
    return found;
  }

  /** The role of an instance in a move, whatever it is. @throws FairleadError `stale` for a command of another epoch */
  inMove(id: string, epoch?: number): Role | undefined {
    const found = this.#roles.get(id);
    if (found) this.#assertEpoch(found, epoch);
    return found;
  }

  #assertEpoch(found: Role, epoch: number | undefined): void {
    if (epoch === undefined || epoch === found.spec.epoch) return;
    throw new FairleadError(
      'stale',
      `The command is for epoch ${epoch} of "${found.spec.name}", this host holds epoch ${found.spec.epoch}: the instance has moved meanwhile. Look where it is now, and try again.`,
    );
  }

  /** Writes the role of an instance that is about to be made; on disk when it resolves. */
  async add(spec: InstanceSpec, arriving?: Role['move']): Promise<Role> {
    const as = arriving ? ({ role: 'arriving', move: arriving } as const) : ({ role: 'owner' } as const);
    return this.#writes.run(spec.id, () => this.#write({ version: 1, ...as, ready: false, power: 'off', spec }));
  }

  /** Changes some of a role; on disk when it resolves. @throws FairleadError `not_found` */
  async change(
    id: string,
    change: Partial<Pick<Role, 'role' | 'move' | 'ready' | 'power' | 'idmap' | 'spec'>>,
  ): Promise<Role> {
    return this.#writes.run(id, () => this.#write({ ...(this.find(id) ?? this.require(id)), ...change }));
  }

  /** Notes the power state to come back to, if it is another one and the instance is still this host's: one that is parked comes back to what it was. */
  async power(id: string, power: Role['power']): Promise<void> {
    const present = this.#roles.get(id);
    if (present?.role === 'owner' && present.power !== power) await this.change(id, { power });
  }

  /**
   * Removes the role and the instance's own folder with the files in it, but no folder: what storage left mounted or unremoved
   * must not be deleted by accident.
   * @throws FairleadError `host_failed` when something is left
   */
  async remove(id: string): Promise<void> {
    return this.#writes.run(id, () => this.#remove(id));
  }

  async #write(next: Role): Promise<Role> {
    const text = `${JSON.stringify(next, null, 2)}\n`;
    await writeDurably(this.#paths.instance(next.spec.id).role, text, 0o600, this.#disk);
    this.#roles.set(next.spec.id, next);
    return next;
  }

  async #remove(id: string): Promise<void> {
    const { dir, role } = this.#paths.instance(id);
    for (const name of await namesIn(this.#disk, dir, 'file')) {
      if (join(dir, name) !== role) await this.#disk.removeFile(join(dir, name));
    }
    await removeDurably(role, this.#disk);
    this.#roles.delete(id);
    try {
      await this.#disk.removeFolder(dir);
    } catch (cause) {
      if (isMissing(cause)) return;
      throw new FairleadError(
        'host_failed',
        `${dir} is not empty after its instance was removed. Look what is in it, and remove it.`,
        {
          cause,
        },
      );
    }
  }
}

/** A crash between making or removing a folder and its role file leaves an empty one, or one with a role that never came to count. */
async function removeEmpty(dir: string, disk: Disk): Promise<void> {
  const rest = await disk.list(dir);
  if (rest.some(({ name }) => name !== UNFINISHED_ROLE)) return;
  await disk.remove(dir);
}

function parse(path: string, text: string): Role {
  try {
    return role.parse(JSON.parse(text));
  } catch (cause) {
    throw new FairleadError(
      'internal',
      `${path} is damaged, so the connector does not know which instance this is and starts nothing. Restore the file, or move the folder away to forget the instance.`,
      { cause },
    );
  }
}

async function namesIn(disk: Disk, path: string, kind: 'file' | 'folder' = 'folder'): Promise<string[]> {
  try {
    const entries = await disk.list(path);
    return entries.filter(({ isFolder }) => isFolder === (kind === 'folder')).map(({ name }) => name);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
