import { FairleadError } from '#shared/errors.ts';
import type { ManifestRef } from '#shared/link/moves.ts';
import { packDifference, type Seen } from '../../transfer/difference.ts';
import { packMemory } from '../../transfer/memory.ts';
import { sendStream, type StreamOf } from '../../transfer/send.ts';
import { Store } from '../../transfer/store.ts';
import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { removeAll } from '../delete.ts';
import { told, type CommandOf, type Context, type Done } from '../executor.ts';
import type { Host } from '../host.ts';
import type { Role } from '../roles.ts';
import { startAsOwner } from '../state.ts';
import { transferProgress } from './progress.ts';
import type { MoveParts } from './parts.ts';

/** The pass over files that stand still. */
const LAST_PASS = 9;
/** Moves whose earlier passes are remembered; one that is forgotten sends everything again. */
const MAX_SEEN = 64;

/** The host an instance leaves. Every role is on disk before the act it announces. */
export class Source {
  readonly #parts: MoveParts;
  /** What the pass before saw, by move and attempt. */
  readonly #seen = new Map<string, Seen>();

  constructor(parts: MoveParts) {
    this.#parts = parts;
  }

  /** A pass while the instance goes on. */
  async send({ move, attempt, id, epoch, pass }: CommandOf<'send'>, context: Context, host: Host): Promise<Done> {
    const role = host.roles.require(id, epoch);
    const of = { move, attempt, instance: id, epoch, stream: `fs${pass}` };
    const { manifest, bytes } = await this.#files(of, role, context, true);
    return { seq: host.observer.next(), result: { kind: 'sent', manifest, bytes } };
  }

  /** See `park` in shared/link/moves.ts. */
  async park(command: CommandOf<'park'>, context: Context, host: Host): Promise<Done> {
    const { move, attempt, id, epoch, live } = command;
    const known = host.roles.inMove(id, epoch);
    const again = known?.role === 'leaving' && known.move?.id === move;
    const before = again ? known : host.roles.require(id, epoch);
    const role = await host.roles.change(id, {
      role: 'leaving',
      move: { id: move, attempt, live, prepared: false, start: false },
    });
    try {
      const began = this.#parts.now();
      const { running, since, frozen } = again
        ? await this.#parkedAlready(role)
        : await this.#stand(command, role, context, host);
      const of = { move, attempt, instance: id, epoch };
      const [files, memory] = await Promise.all([
        this.#files({ ...of, stream: `fs${LAST_PASS}` }, role, context, false),
        frozen ? this.#memory({ ...of, stream: 'memory' }, context) : undefined,
      ]);
      const sent = [files, ...(memory ? [memory] : [])];
      const bytes = sent.reduce((sum, stream) => sum + stream.bytes, 0);
      const manifests: ManifestRef[] = sent.map(({ manifest }) => manifest);
      const away = this.#parts.now() - began;
      return { seq: host.observer.next(), result: { kind: 'parked', manifests, since, bytes, running, away } };
    } catch (error) {
      if (before.role === 'owner') await this.#goOn(role, host);
      throw error;
    }
  }

  /** See `unpark` in shared/link/moves.ts. */
  async unpark({ move, id, epoch }: CommandOf<'unpark'>, host: Host): Promise<Done> {
    const role = host.roles.inMove(id, epoch);
    if (!role) throw gone();
    if (role.role === 'tombstone' || role.role === 'arriving') throw stale(role);
    if (role.role === 'leaving' && role.move?.id !== move) throw stale(role);
    await this.#goOn(role, host);
    await this.#forgetMove(move);
    return told(await host.observer.observe(host.roles.require(id, epoch)));
  }

  /** See `retire` in shared/link/moves.ts. */
  async retire({ move, id, epoch }: CommandOf<'retire'>, host: Host): Promise<Done> {
    const { checkpoints } = this.#parts;
    const role = host.roles.inMove(id, epoch);
    if (role && (role.role === 'leaving' || role.role === 'tombstone') && role.move?.id === move) {
      await host.roles.change(id, { role: 'tombstone', power: 'off' });
      await (await checkpoints.find(id))?.verdict('go');
      if ((await host.containers.running()).has(id)) {
        await host.containers.stop(role.spec, { force: true, timeoutSeconds: 1 });
      }
      await host.containers.forget(role.spec);
      await checkpoints.remove(id);
      await this.#forgetMove(move);
    } else if (role) throw stale(role);
    return { seq: host.observer.next(), result: { kind: 'retired', id } };
  }

  /** See `forget` in shared/link/moves.ts. */
  async forget({ move, id }: CommandOf<'forget'>, host: Host): Promise<Done> {
    const role = host.roles.find(id);
    if (role?.role === 'tombstone' && role.move?.id === move) await removeAll(role, host);
    return { seq: host.observer.next(), result: { kind: 'deleted', id } };
  }

  /** Brings it to a stand: parked with its memory, stopped cleanly, or it was stopped anyway. */
  async #stand(
    { live, timeout }: CommandOf<'park'>,
    { spec }: Role,
    context: Context,
    host: Host,
  ): Promise<{ running: boolean; since: number; frozen: boolean }> {
    const running = (await host.containers.status(spec.id)) !== 'Stopped';
    context.signal.throwIfAborted();
    if (running && live) {
      context.progress('Saving memory');
      const { since } = await this.#parts.checkpoints.dump(spec);
      context.signal.throwIfAborted();
      return { running, since, frozen: true };
    }
    if (live)
      throw new FairleadError('wrong_state', `"${spec.name}" does not run any more, so it has no memory to move.`);
    if (running) {
      context.progress('Stopping');
      await host.containers.stop(spec, { force: false, timeoutSeconds: timeout });
    }
    return { running, since: this.#parts.wallClock(), frozen: false };
  }

  async #parkedAlready({ spec, power }: Role): Promise<{ running: boolean; since: number; frozen: boolean }> {
    const parked = await this.#parts.checkpoints.find(spec.id);
    return { running: power === 'on', since: parked?.since ?? this.#parts.wallClock(), frozen: parked !== undefined };
  }

  /** The rollback: it is this host's again, and runs on or starts if it ran. */
  async #goOn({ spec }: Role, host: Host): Promise<void> {
    const { checkpoints } = this.#parts;
    const role = await host.roles.change(spec.id, { role: 'owner', move: undefined });
    await (await checkpoints.find(spec.id))?.verdict('back');
    await checkpoints.remove(spec.id);
    if (role.power === 'on' && (await host.containers.status(spec.id)) === 'Stopped') await startAsOwner(role, host);
  }

  async #files(
    of: StreamOf,
    { spec }: Role,
    context: Context,
    live: boolean,
  ): Promise<{ manifest: ManifestRef; bytes: number }> {
    const { spawn, folder, tree, wallClock } = this.#parts;
    const key = `${of.move}/${of.attempt}`;
    const options = { before: this.#seen.get(key), live, now: wallClock() };
    const { stream, seen } = await packDifference(spawn, await tree(spec, join(folder(of.move), 'scratch')), options);
    const sent = await this.#stream(of, context, stream, 'files');
    this.#seen.delete(key);
    this.#seen.set(key, seen);
    for (const oldest of [...this.#seen.keys()].slice(0, -MAX_SEEN)) this.#seen.delete(oldest);
    return sent;
  }

  async #memory(of: StreamOf, context: Context): Promise<{ manifest: ManifestRef; bytes: number }> {
    return this.#stream(of, context, await packMemory(this.#parts.checkpoints.images(of.instance)), 'memory');
  }

  #stream(
    of: StreamOf,
    context: Context,
    stream: AsyncIterable<Uint8Array>,
    what: string,
  ): Promise<{ manifest: ManifestRef; bytes: number }> {
    const { world, sign, now } = this.#parts;
    const { move, attempt } = of;
    const store = new Store(context.urls(move, attempt, context.signal), world, context.signal);
    const announce = (chunk: Parameters<Context['announce']>[0]): void => context.announce(chunk);
    return sendStream(
      {
        store,
        sign,
        announce: (chunk) => announce({ move, attempt, ...chunk }),
        progress: transferProgress(`Sending ${what}`, context, now),
      },
      of,
      stream,
    );
  }

  async #forgetMove(move: string): Promise<void> {
    for (const key of this.#seen.keys()) if (key.startsWith(`${move}/`)) this.#seen.delete(key);
    await rm(this.#parts.folder(move), { recursive: true, force: true });
  }
}

function gone(): FairleadError {
  return new FairleadError('not_found', 'This host does not hold the instance. Look where it is now, and try again.');
}

function stale({ spec, role }: Role): FairleadError {
  return new FairleadError(
    'stale',
    `"${spec.name}" is ${role} here, for another move. Look where it is now, and try again.`,
  );
}
