import { z } from 'zod';

/**
 * The closed set of things a host can be asked to do, with their results. There is no verb that runs a command on the host itself
 * and none that names a path. Names and ids are checked here, on both ends.
 */

export const uuid = z.uuid();
export const fingerprint = z.string().regex(/^[0-9a-f]{64}$/);
const config = z.record(z.string(), z.string());
const devices = z.record(z.string(), z.record(z.string(), z.string()));

/** What a host needs to know to build or rebuild an instance; the same shape lands in its role file. */
export const instanceSpec = z.object({
  id: uuid,
  name: z.string().max(63),
  project: z.string().max(63),
  epoch: z.int().positive(),
  architecture: z.string().max(32),
  /** Effective (expanded) configuration and devices. */
  config,
  devices,
  /** Absent for an empty instance. */
  image: z.object({ fingerprint, size: z.int().nonnegative() }).optional(),
});
export type InstanceSpec = z.infer<typeof instanceSpec>;

export const instanceStatus = z.enum(['Stopped', 'Running', 'Frozen', 'Error']);
export type InstanceStatus = z.infer<typeof instanceStatus>;

export const stateAction = z.enum(['start', 'stop', 'restart', 'freeze', 'unfreeze']);
export type StateAction = z.infer<typeof stateAction>;

export const hostCommand = z.discriminatedUnion('kind', [
  /** Fetch the image, make the root filesystem, write the configuration, start if asked. Undone completely on failure. */
  z.object({ kind: z.literal('create'), instance: instanceSpec, start: z.boolean() }),
  z.object({
    kind: z.literal('state'),
    id: uuid,
    epoch: z.int().positive(),
    action: stateAction,
    force: z.boolean(),
    /** Seconds a clean stop may take. */
    timeout: z.int().min(1).max(3600),
  }),
  /** Replace configuration and devices; live keys are applied at once, the others at the next start. */
  z.object({ kind: z.literal('update'), instance: instanceSpec }),
  z.object({ kind: z.literal('delete'), id: uuid, epoch: z.int().positive() }),
  z.object({
    kind: z.literal('exec'),
    id: uuid,
    stream: z.string().max(64),
    ticket: z.string().max(2000),
    command: z.array(z.string().max(20_000)).min(1).max(1000),
    environment: config,
    cwd: z.string().max(4096),
    user: z.int().nonnegative(),
    group: z.int().nonnegative(),
    interactive: z.boolean(),
    width: z.int().min(0).max(10_000),
    height: z.int().min(0).max(10_000),
  }),
  /** Read-only: measured now, never journalled. */
  z.object({ kind: z.literal('measure'), id: uuid }),
  z.object({ kind: z.literal('console-log'), id: uuid }),
  /** Read-only: facts again, with `criu check`. */
  z.object({ kind: z.literal('facts') }),
]);
export type HostCommand = z.infer<typeof hostCommand>;
export type CommandKind = HostCommand['kind'];

/** Kinds that change nothing: they are not journalled and may be repeated. */
export const READ_ONLY: ReadonlySet<CommandKind> = new Set(['measure', 'console-log', 'facts']);

const address = z.object({
  family: z.enum(['inet', 'inet6']),
  address: z.string().max(64),
  netmask: z.string().max(4),
  scope: z.enum(['global', 'link', 'local']),
});
const network = z.object({
  addresses: z.array(address).max(32),
  counters: z.object({
    bytes_received: z.number(),
    bytes_sent: z.number(),
    packets_received: z.number(),
    packets_sent: z.number(),
  }),
  hwaddr: z.string().max(64),
  host_name: z.string().max(64),
  mtu: z.number(),
  state: z.enum(['up', 'down']),
  type: z.string().max(32),
});

/** An instance as its host sees it now: the numbers of LXD's instance state. Sizes in bytes, cpu in nanoseconds. */
export const measurement = z.object({
  status: instanceStatus,
  pid: z.int(),
  processes: z.int(),
  cpu: z.object({ usage: z.number() }),
  memory: z.object({
    usage: z.number(),
    usage_peak: z.number(),
    total: z.number(),
    swap_usage: z.number(),
    swap_usage_peak: z.number(),
  }),
  disk: z.record(z.string(), z.object({ usage: z.number(), total: z.number() })),
  network: z.record(z.string(), network),
});
export type Measurement = z.infer<typeof measurement>;

/** One line of a host's report: what it holds, and in which state. `error` says why the status is Error. */
export const instanceReport = z.object({
  id: uuid,
  name: z.string().max(63),
  project: z.string().max(63),
  epoch: z.int().positive(),
  status: instanceStatus,
  error: z.string().max(2000).optional(),
  measurement: measurement.optional(),
});
export type InstanceReport = z.infer<typeof instanceReport>;

/** What a host is; reported on connect. Sizes in bytes. */
export const hostFacts = z.object({
  hostname: z.string().max(255),
  os: z.string().max(200),
  kernel: z.string().max(200),
  architecture: z.string().max(32),
  cpus: z.int(),
  cpuModel: z.string().max(200),
  memory: z.number(),
  disk: z.object({ total: z.number(), free: z.number() }),
  lxc: z.string().max(64),
  /** Absent when CRIU is not installed. */
  criu: z.object({ version: z.string().max(64), ok: z.boolean(), message: z.string().max(2000) }).optional(),
  storage: z.array(z.string().max(32)).max(16),
  cgroup: z.enum(['v1', 'v2', 'hybrid']),
  lsm: z.string().max(64),
  connector: z.string().max(64),
  /** SHA-256 of the host policy file, and what it allows. */
  policy: z.object({ hash: z.string().max(64), allows: z.array(z.string().max(64)).max(64) }),
  warnings: z.array(z.string().max(1000)).max(32),
});
export type HostFacts = z.infer<typeof hostFacts>;

/** The success values a host returns, by command. */
export const commandResult = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('instance'), report: instanceReport }),
  z.object({ kind: z.literal('deleted'), id: uuid }),
  z.object({ kind: z.literal('exited'), code: z.int() }),
  z.object({ kind: z.literal('console-log'), text: z.string() }),
  z.object({ kind: z.literal('facts'), facts: hostFacts }),
]);
export type CommandResult = z.infer<typeof commandResult>;
