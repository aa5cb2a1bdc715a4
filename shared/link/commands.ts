import * as z from 'zod';

import { config, instanceReport, instanceSpec, uuid } from './instance.ts';
import { moveCommands, moveResults } from './moves.ts';

export * from './instance.ts';

/**
 * The closed set of things a host can be asked to do, with their results. There is no verb that runs a command on the host itself
 * and none that names a path. Names and ids are checked here, on both ends.
 */

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
  ...moveCommands,
]);
export type HostCommand = z.infer<typeof hostCommand>;
export type CommandKind = HostCommand['kind'];

/** Kinds that change nothing: they are not journalled and may be repeated. */
export const READ_ONLY: ReadonlySet<CommandKind> = new Set([
  'measure',
  'console-log',
  'facts',
  'check-source',
  'check-target',
]);

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
  ...moveResults,
]);
export type CommandResult = z.infer<typeof commandResult>;
