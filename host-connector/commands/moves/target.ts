import { rm } from 'node:fs/promises';

import { assertAllowed } from '#shared/config/restrictions.ts';
import { FairleadError, messageOf } from '#shared/errors.ts';
import type { InstanceSpec } from '#shared/link/commands.ts';
import { removeAll } from '../delete.ts';
import { told, type CommandOf, type Context, type Done } from '../executor.ts';
import type { Host } from '../host.ts';
import { downloadProgress } from '../progress.ts';
import type { Role } from '../roles.ts';
import { startAsOwner } from '../state.ts';
import type { ObjectTerms } from '../../transfer/store.ts';
import { freshFolder, Inbound } from './inbound.ts';
import type { MoveParts } from './parts.ts';

/** Moves that were discarded here: a command of one that arrives late finds its end. */
const MAX_DISCARDED = 256;

/** The host an instance comes to. Every role is on disk before the act it announces. */
export class Target {
  readonly #parts: MoveParts;
  readonly #inbound = new Map<string, Inbound>();
  readonly #discarded = new Set<string>();

  constructor(parts: MoveParts) {
    this.#parts = parts;
  }

  /** A chunk of a move is there; what is not expected here is ignored. */
  announced({ move, attempt, ...terms }: { move: string; attempt: number } & ObjectTerms): void {
    this.#inbound.get(`${move}/${attempt}`)?.announced(terms);
  }

  /** See `receive` in shared/link/moves.ts. */
  async receive(command: CommandOf<'receive'>, context: Context, host: Host): Promise<Done> {
    const role = await this.#arriving(command, context, host);
    const bytes = await this.#from(command, context).apply(role.spec, command.manifests, command.sourceKey, context);
    return { seq: host.observer.next(), result: { kind: 'received', bytes } };
  }

  /** See `prepare` in shared/link/moves.ts. */
  async prepare(command: CommandOf<'prepare'>, context: Context, host: Host): Promise<Done> {
    const { move, attempt, live, start } = command;
    const { checkpoints } = this.#parts;
    const { spec, ...role } = await this.#arriving(command, context, host);
    const parked = await checkpoints.find(spec.id);
    if (parked && !role.move?.prepared) await parked.verdict('back');
    if (!role.move?.prepared) {
      await this.#from(command, context).apply(spec, command.manifests, command.sourceKey, context);
      context.signal.throwIfAborted();
      let tasks: number | undefined;
      if (live) {
        context.progress('Restoring memory');
        await this.#parts.arm(spec);
        ({ tasks } = await checkpoints.restore(spec));
      }
      await host.roles.change(spec.id, { move: { id: move, attempt, live, prepared: true, start } });
      return { seq: host.observer.next(), result: { kind: 'prepared', ...(tasks !== undefined && { tasks }) } };
    }
    return { seq: host.observer.next(), result: { kind: 'prepared', ...(parked && { tasks: parked.tasks }) } };
  }

  /** See `adopt` in shared/link/moves.ts. What does not run afterwards is told, not failed: the move goes forward only. */
  async adopt({ move, id, epoch }: CommandOf<'adopt'>, host: Host): Promise<Done> {
    const present = host.roles.inMove(id, epoch);
    if (!present || present.move?.id !== move || (present.role !== 'arriving' && present.role !== 'owner')) {
      throw new FairleadError('stale', 'This host has not prepared the instance for that move. Look where it is now.');
    }
    // Done already, and told again: what was done to it since is nobody's mistake.
    if (present.role === 'owner' && !present.move.prepared) return told(await host.observer.observe(present));
    const { live, start } = present.move;
    const role = await host.roles.change(id, { role: 'owner', power: live || start ? 'on' : 'off' });
    let failed: string | undefined;
    try {
      await this.#run(role, host);
    } catch (error) {
      failed = messageOf(error);
      host.log('error', `"${role.spec.name}" came here and does not run: ${failed}`);
    }
    await host.roles.change(id, { move: { ...present.move, prepared: false } });
    await this.#close(move);
    const { seq, report } = await host.observer.observe(role);
    return told({ seq, report: failed === undefined ? report : { ...report, error: failed.slice(0, 2000) } });
  }

  /** See `discard` in shared/link/moves.ts. */
  async discard({ move, id }: CommandOf<'discard'>, host: Host): Promise<Done> {
    const role = host.roles.find(id);
    if (role?.role === 'owner' && role.move?.id === move) {
      throw new FairleadError('wrong_state', `"${role.spec.name}" runs here since that move; it cannot be discarded.`);
    }
    this.#discarded.add(move);
    for (const oldest of [...this.#discarded].slice(0, -MAX_DISCARDED)) this.#discarded.delete(oldest);
    if (role?.role === 'arriving' && role.move?.id === move) await this.#wipe(role, host);
    await this.#close(move);
    return { seq: host.observer.next(), result: { kind: 'deleted', id } };
  }

  /** The arriving copy with its image and its fresh root filesystem, made if it is not here yet. */
  async #arriving(command: CommandOf<'receive' | 'prepare'>, context: Context, host: Host): Promise<Role> {
    const { move, attempt, instance: spec } = command;
    if (this.#discarded.has(move)) throw new FairleadError('stale', 'That move was given up. Begin a new one.');
    assertAllowed(spec, (await host.policy()).ceiling, 'host');
    const present = host.roles.find(spec.id);
    if (present?.role === 'arriving' && present.move?.id === move && present.ready) {
      if (present.move.attempt === attempt) return present;
    }
    // What an earlier attempt or move left gives way; what runs or is about to leave does not.
    if (present?.role === 'arriving') await this.#wipe(present, host);
    else if (present?.role === 'tombstone') await removeAll(present, host);
    else if (present) throw new FairleadError('already_exists', `This host holds "${present.spec.name}" already.`);
    await freshFolder(this.#parts.folder(move));
    const role = await host.roles.add(spec, { id: move, attempt, live: false, prepared: false, start: false });
    try {
      await this.#make(spec, context, host);
      return await host.roles.change(spec.id, { ready: true });
    } catch (error) {
      await this.#wipe(role, host);
      throw error;
    }
  }

  async #make(spec: InstanceSpec, context: Context, host: Host): Promise<void> {
    if (spec.image) {
      const { fingerprint } = spec.image;
      const progress = downloadProgress((text, percent) => context.progress(text, percent), this.#parts.now);
      await host.images.ensure(fingerprint, () => context.locate(fingerprint), progress);
    }
    context.signal.throwIfAborted();
    await host.disks.create(spec);
  }

  /** Lets it run, or leaves it stopped if it was. */
  async #run(role: Role, host: Host): Promise<void> {
    const { checkpoints } = this.#parts;
    const { spec, move } = role;
    const parked = await checkpoints.find(spec.id);
    const runs = await parked?.verdict('go').then(
      () => true,
      async (error: unknown) => {
        // CRIU died since: what it left has not run, so it can be brought back once more.
        host.log('warn', `"${spec.name}" did not go on as restored: ${messageOf(error)}`);
        await parked.verdict('back');
        return false;
      },
    );
    if (runs) await checkpoints.remove(spec.id);
    else if (role.power === 'on' && (await host.containers.status(spec.id)) === 'Stopped')
      await this.#bringBack(role, host);
    if (move?.live) await checkpoints.remove(spec.id);
  }

  /** The host was restarted since it was prepared: from the memory on disk if there is one, else from the start. */
  async #bringBack(role: Role, host: Host): Promise<void> {
    const { checkpoints, arm } = this.#parts;
    if (role.move?.live) {
      try {
        await arm(role.spec);
        return await (await checkpoints.restore(role.spec)).verdict('go');
      } catch (error) {
        host.log('error', `the memory of "${role.spec.name}" is lost, it is started anew: ${messageOf(error)}`);
      }
    }
    await startAsOwner(role, host);
  }

  async #wipe(role: Role, host: Host): Promise<void> {
    const { checkpoints } = this.#parts;
    const { id } = role.spec;
    await (await checkpoints.find(id))?.verdict('back');
    await checkpoints.remove(id);
    await removeAll(role, host);
    if (role.move) await this.#close(role.move.id);
  }

  #from({ move, attempt }: CommandOf<'receive' | 'prepare'>, context: Context): Inbound {
    const key = `${move}/${attempt}`;
    const inbound = this.#inbound.get(key) ?? new Inbound(this.#parts, move, attempt, context);
    this.#inbound.set(key, inbound);
    return inbound;
  }

  async #close(move: string): Promise<void> {
    for (const [key, inbound] of this.#inbound) {
      if (!key.startsWith(`${move}/`)) continue;
      inbound.close();
      this.#inbound.delete(key);
    }
    await rm(this.#parts.folder(move), { recursive: true, force: true });
  }
}
