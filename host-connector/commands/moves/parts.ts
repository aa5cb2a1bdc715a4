import type { CriuFacts } from '#shared/link/moves.ts';
import type { InstanceSpec } from '#shared/link/commands.ts';
import type { Checkpoints } from '../../checkpoint/checkpoints.ts';
import type { IdMap, Spawn } from '../../images/confine.ts';
import type { StoreWorld } from '../../transfer/store.ts';
import type { Tree } from '../../transfer/tree.ts';

/** What moves need of this host beyond what every command does. */
export interface MoveParts {
  readonly checkpoints: Checkpoints;
  readonly spawn: Spawn;
  readonly world: StoreWorld;
  readonly sign: (typ: string, payload: Readonly<Record<string, unknown>>) => Promise<string>;
  /** The folder of a move: what is under way of it, gone with it. */
  readonly folder: (move: string) => string;
  /** An instance's root filesystem, mounted. `scratch` is made when missing. */
  readonly tree: (spec: InstanceSpec, scratch: string) => Promise<Tree>;
  /** The ids an instance has, or would have, here. */
  readonly idmapOf: (spec: InstanceSpec) => IdMap;
  /** All of a start but the start: mounts, network, devices, configuration. */
  readonly arm: (spec: InstanceSpec) => Promise<void>;
  /** Bytes of disk that are free for instances. */
  readonly freeDisk: () => Promise<number>;
  /** Undefined where CRIU is missing or does not work. */
  readonly criu: () => Promise<CriuFacts | undefined>;
  /** Milliseconds since 1970, by the host's clock. */
  readonly wallClock: () => number;
  /** A monotonic clock, milliseconds. */
  readonly now: () => number;
}
