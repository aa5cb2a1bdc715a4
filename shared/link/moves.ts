import * as z from 'zod';

import { fingerprint, instanceSpec, uuid } from './instance.ts';

/**
 * What the two hosts of a move can be asked, and what they answer. The source owns the instance until the control plane commits; the
 * target's copy carries the next epoch from the start and runs only after `adopt`. All but the checks are journalled and may be repeated.
 */

const attempt = z.int().min(1).max(99);
const epoch = z.int().positive();
/** Names an object of a move; the control plane puts the move's own prefix before it. */
export const objectName = z.string().regex(/^[a-z0-9-]{1,120}$/);
/** Where a signed manifest lies, and the SHA-256 of its bytes. */
/** A manifest of as many chunks as a transfer may have, with its signature; a receiver keeps it in memory. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
export const manifestRef = z.object({
  name: objectName,
  sha256: fingerprint,
  length: z.int().positive().max(MAX_MANIFEST_BYTES),
});
export type ManifestRef = z.infer<typeof manifestRef>;
const manifests = z.array(manifestRef).max(8);

/** Host ids of an instance's 0 to size - 1. */
const idmap = z.object({ base: z.int().nonnegative(), size: z.int().positive() });

/** What decides whether memory dumped here can be restored there. */
export const criuFacts = z.object({
  version: z.string().max(64),
  kernel: z.string().max(200),
  architecture: z.string().max(32),
  /** The processor's flags, sorted. */
  cpu: z.array(z.string().max(32)).max(400),
});
export type CriuFacts = z.infer<typeof criuFacts>;

/** A public Ed25519 key: the source's, as the control plane enrolled it. */
export const publicKey = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
});
export type PublicKey = z.infer<typeof publicKey>;

/** The kinds are entered in `hostCommand`. Sizes in bytes. */
export const moveCommands = [
  // --- source
  /** Read-only: may the instance be moved away, with its memory or without. */
  z.object({ kind: z.literal('check-source'), id: uuid, live: z.boolean() }),
  /** A pass over the root filesystem while the instance goes on: packs, uploads, signs. */
  z.object({ kind: z.literal('send'), move: uuid, attempt, id: uuid, epoch, pass: z.int().min(1).max(9) }),
  /**
   * Role `leaving`, then a clean stop or, live, a dump that freezes and waits; the final pass, and the memory, uploaded. Failed, it has undone
   * itself and the instance goes on. Repeated with a higher attempt on a parked instance it only uploads again.
   */
  z.object({
    kind: z.literal('park'),
    move: uuid,
    attempt,
    id: uuid,
    epoch,
    live: z.boolean(),
    /** Seconds a clean stop may take. */
    timeout: z.int().min(1).max(3600),
  }),
  /** Rolls back: goes on from where it was parked, or starts if it ran; role `owner`. What was never parked is left alone. */
  z.object({ kind: z.literal('unpark'), move: uuid, id: uuid, epoch }),
  /** After the commit: the parked copy is ended for good; role `tombstone`, the data is kept. */
  z.object({ kind: z.literal('retire'), move: uuid, id: uuid, epoch }),
  /** Deletes what `retire` kept. */
  z.object({ kind: z.literal('forget'), move: uuid, id: uuid }),
  // --- target
  /** Read-only: may the instance come here. `disk` and `memory` are what the source measured. */
  z.object({
    kind: z.literal('check-target'),
    instance: instanceSpec,
    disk: z.number().nonnegative(),
    memory: z.number().nonnegative(),
    live: z.boolean(),
    criu: criuFacts.optional(),
    idmap: idmap.optional(),
  }),
  /**
   * Role `arriving`, the image, the passes that are known so far, applied. With no manifests it only gets ready to fetch chunks as they are
   * announced; say it before `send`. `instance.epoch` is already the next one.
   */
  z.object({
    kind: z.literal('receive'),
    move: uuid,
    attempt,
    instance: instanceSpec,
    sourceKey: publicKey,
    manifests,
  }),
  /** The last pass applied, configuration written; live: memory restored and parked, nothing runs. `manifests` are all of the attempt, in order. */
  z.object({
    kind: z.literal('prepare'),
    move: uuid,
    attempt,
    instance: instanceSpec,
    sourceKey: publicKey,
    manifests,
    live: z.boolean(),
    /** Cold: it ran, so `adopt` starts it. */
    start: z.boolean(),
  }),
  /** After the commit: role `owner`, then it runs (or stays stopped). `epoch` is the new one. */
  z.object({ kind: z.literal('adopt'), move: uuid, id: uuid, epoch }),
  /** Before the commit: nothing of the move is left here. What was never received is fine. */
  z.object({ kind: z.literal('discard'), move: uuid, id: uuid }),
] as const;

/** Something that stands against a move. `stops`: `live` leaves the cold move possible. */
export const blocker = z.object({
  what: z.string().max(64),
  why: z.string().max(500),
  cure: z.string().max(500),
  stops: z.enum(['live', 'move']),
});
export type Blocker = z.infer<typeof blocker>;
const blockers = z.array(blocker).max(32);

/** The success values of {@link moveCommands}; the others answer `instance` or `deleted`. */
export const moveResults = [
  z.object({
    kind: z.literal('source-check'),
    running: z.boolean(),
    /** What would have to be sent. */
    disk: z.number().nonnegative(),
    memory: z.number().nonnegative(),
    blockers,
    criu: criuFacts.optional(),
    idmap,
  }),
  z.object({ kind: z.literal('target-check'), blockers }),
  z.object({ kind: z.literal('sent'), manifest: manifestRef, bytes: z.number().nonnegative() }),
  z.object({
    kind: z.literal('parked'),
    manifests,
    /** Since when it stands still or is stopped: the host's wall clock, milliseconds since 1970. */
    since: z.number(),
    bytes: z.number().nonnegative(),
    /** Milliseconds from standing still to this answer. */
    away: z.number().nonnegative().optional(),
    /** It ran when it was parked. */
    running: z.boolean(),
  }),
  z.object({ kind: z.literal('received'), bytes: z.number().nonnegative() }),
  /** `tasks`: restored processes that wait; live only. */
  z.object({ kind: z.literal('prepared'), tasks: z.int().nonnegative().optional() }),
  z.object({ kind: z.literal('retired'), id: uuid }),
] as const;
