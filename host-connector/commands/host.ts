import type { HostFacts, InstanceSpec, InstanceStatus, Measurement } from '#shared/link/commands.ts';
import type { HostPolicy } from '#shared/config/policy.ts';
import type { Log } from '../log.ts';
import type { AttachRequest, Session } from '../lxc/attach.ts';
import type { Roles } from './roles.ts';
import type { Observer } from './observer.ts';

/** What the commands need of this host. The composition root gives the real ones; tests and the simulator their own. */
export interface Host {
  /** The root-owned policy file as it is now. @throws FairleadError `bad_config` for one that cannot be read: then nothing is allowed */
  policy(): Promise<HostPolicy>;
  readonly roles: Roles;
  readonly images: Images;
  readonly disks: Disks;
  readonly containers: Containers;
  readonly observer: Observer;
  /** What this host is now; with `criu check` it takes about a tenth of a second. */
  facts(): Promise<HostFacts>;
  readonly log: Log;
}

/** One signed URL of an image, with what it must give: bytes, and their SHA-256. */
export interface ImagePart {
  readonly url: string;
  readonly length: number;
  readonly sha256: string;
}

export interface Images {
  /**
   * Makes sure an image is on this host, verified and unpacked. `locate` is asked again when URLs have expired.
   * @throws FairleadError `bad_image`, `disk_full`, `unavailable`
   */
  ensure(
    fingerprint: string,
    locate: () => Promise<readonly ImagePart[]>,
    progress: (received: number, total: number) => void,
  ): Promise<void>;
}

export interface Disks {
  /** Makes an instance's root filesystem from its image (which is there), or an empty one. */
  create(spec: InstanceSpec): Promise<void>;
  /** Removes it, whatever was made of it; nothing there is no error. */
  remove(id: string): Promise<void>;
}

/** Containers by id. All idempotent where that makes sense; the truth is the kernel's, nothing is remembered here. */
export interface Containers {
  /** Mounts what must be mounted, writes the configuration from the specification, starts. */
  start(spec: InstanceSpec): Promise<void>;
  /** @throws FairleadError `timed_out` when a clean stop took longer than `timeoutSeconds`; it then still runs */
  stop(spec: InstanceSpec, options: { force: boolean; timeoutSeconds: number }): Promise<void>;
  freeze(id: string): Promise<void>;
  unfreeze(id: string): Promise<void>;
  /** Makes a new specification the one that counts; what can be changed while running is changed now. */
  update(before: InstanceSpec, after: InstanceSpec): Promise<void>;
  /** Forgets everything outside the root filesystem: configuration, network, devices. Stopped already. */
  forget(spec: InstanceSpec): Promise<void>;
  status(id: string): Promise<InstanceStatus>;
  /** The ids of all that are not stopped. */
  running(): Promise<ReadonlySet<string>>;
  measure(spec: InstanceSpec): Promise<Measurement>;
  consoleLog(id: string): Promise<string>;
  /** Runs a command inside. @throws FairleadError `host_failed`, `bad_request` */
  attach(spec: InstanceSpec, request: AttachRequest): Promise<Session>;
}
