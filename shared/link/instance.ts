import * as z from 'zod';

/** An instance as host commands and reports carry it: what it is to be, and what it is like. */

export const uuid = z.uuid();
export const fingerprint = z.string().regex(/^[0-9a-f]{64}$/);
export const config = z.record(z.string(), z.string());
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
