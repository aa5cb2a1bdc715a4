import type { CommandResult, HostCommand, InstanceStatus } from '#shared/link/commands.ts';
import type { WireError } from '#shared/link/frames.ts';
import type { Blocker, ManifestRef } from '#shared/link/moves.ts';

type MoveCommand = Extract<HostCommand, { kind: 'check-source' | 'check-target' } | { move: string }>;
type Answer = { readonly result: CommandResult } | { readonly error: WireError };
type Role = 'owner' | 'leaving' | 'arriving' | 'tombstone';

interface Kept {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly epoch: number;
  status: InstanceStatus;
}

/** What a host does in moves, without containers: roles as the real one fences by them, and the order of a move's commands. */
export class FakeMoves {
  /** What its checks find. */
  blockers: readonly Blocker[] = [];
  /** By instance. Without an entry an instance is its host's own. */
  readonly roles = new Map<string, Role>();
  readonly #held: Map<string, Kept>;
  readonly #now: () => number;
  readonly #wasRunning = new Map<string, boolean>();
  readonly #arriving = new Map<string, Kept>();
  /** Moves that were undone here: their late commands are refused. */
  readonly #undone = new Set<string>();

  constructor(held: Map<string, Kept>, now: () => number) {
    this.#held = held;
    this.#now = now;
  }

  /** Whether this host may run the instance. */
  owns(id: string): boolean {
    return this.#held.has(id) && (this.roles.get(id) ?? 'owner') === 'owner';
  }

  execute(cmd: MoveCommand): Answer {
    switch (cmd.kind) {
      case 'check-source': {
        const running = this.#held.get(cmd.id)?.status !== 'Stopped';
        const idmap = { base: 100_000, size: 65_536 };
        return {
          result: { kind: 'source-check', running, disk: 4096, memory: 8192, blockers: [...this.blockers], idmap },
        };
      }
      case 'check-target':
        return { result: { kind: 'target-check', blockers: [...this.blockers] } };
      case 'send':
        return this.#begun(cmd.move, () => ({ kind: 'sent', manifest: manifest('fs1'), bytes: 100 }));
      case 'park':
        return this.#begun(cmd.move, () => this.#park(cmd));
      case 'unpark':
        this.#undone.add(cmd.move);
        return this.#unpark(cmd.id);
      case 'retire':
        this.roles.set(cmd.id, 'tombstone');
        this.#held.delete(cmd.id);
        return { result: { kind: 'retired', id: cmd.id } };
      case 'forget':
        if (this.roles.get(cmd.id) === 'tombstone') this.roles.delete(cmd.id);
        return { result: { kind: 'deleted', id: cmd.id } };
      case 'receive':
      case 'prepare':
        return this.#begun(cmd.move, () => {
          const { id, name, project, epoch } = cmd.instance;
          this.roles.set(id, 'arriving');
          const runs = cmd.kind === 'prepare' && (cmd.live || cmd.start);
          this.#arriving.set(id, { id, name, project, epoch, status: runs ? 'Running' : 'Stopped' });
          return cmd.kind === 'receive' ? { kind: 'received', bytes: 100 } : { kind: 'prepared' };
        });
      case 'adopt':
        return this.#adopt(cmd.id);
      case 'discard':
        this.#undone.add(cmd.move);
        if (this.roles.get(cmd.id) === 'arriving') this.roles.delete(cmd.id);
        this.#arriving.delete(cmd.id);
        return { result: { kind: 'deleted', id: cmd.id } };
    }
  }

  #begun(move: string, act: () => CommandResult): Answer {
    if (this.#undone.has(move)) return { error: { code: 'stale', message: 'that move was undone here' } };
    return { result: act() };
  }

  #park({ id, live }: Extract<MoveCommand, { kind: 'park' }>): CommandResult {
    const kept = this.#held.get(id);
    const running = kept?.status === 'Running';
    this.roles.set(id, 'leaving');
    this.#wasRunning.set(id, running);
    if (kept) kept.status = live ? 'Frozen' : 'Stopped';
    const manifests = [manifest('fs2'), ...(live ? [manifest('memory')] : [])];
    return { kind: 'parked', manifests, since: this.#now(), bytes: 200, running };
  }

  #unpark(id: string): Answer {
    const kept = this.#held.get(id);
    if (kept === undefined) return { error: { code: 'not_found', message: `no instance ${id}` } };
    if (this.roles.get(id) === 'leaving') kept.status = this.#wasRunning.get(id) === true ? 'Running' : 'Stopped';
    this.roles.delete(id);
    return { result: { kind: 'instance', report: kept } };
  }

  #adopt(id: string): Answer {
    const arriving = this.#arriving.get(id) ?? this.#held.get(id);
    if (arriving === undefined) return { error: { code: 'not_found', message: `nothing of ${id} was prepared` } };
    this.#arriving.delete(id);
    this.roles.delete(id);
    this.#held.set(id, arriving);
    return { result: { kind: 'instance', report: arriving } };
  }
}

function manifest(stream: string): ManifestRef {
  return { name: `${stream}-manifest`, sha256: 'a'.repeat(64), length: 300 };
}
