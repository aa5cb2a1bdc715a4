/** Numbers of the link (PROTOCOL.md; limits of API Gateway websockets with a margin). Durations in milliseconds, sizes in bytes. */

/** The longest text frame either side sends. API Gateway closes with 1009 beyond 32 KB. */
export const MAX_FRAME_BYTES = 32_000;
export const PROTOCOL_VERSION = 1;
export const HEARTBEAT_MS = 8 * 60_000;
export const LIVENESS_MS = 30_000;
export const HANDSHAKE_MS = 10_000;
/** What has no answer is said again after 2 s, then 4 s … 30 s (repeat.ts): frames are lost. */
export const REPEAT_MIN_MS = 2_000;
export const REPEAT_MAX_MS = 30_000;
export const BACKOFF_MIN_MS = 500;
export const BACKOFF_MAX_MS = 30_000;
/** The longest wait while somebody's session hangs on it. */
export const BACKOFF_URGENT_MS = 3_000;
export const ROTATE_MIN_MS = 95 * 60_000;
export const ROTATE_MAX_MS = 110 * 60_000;
/** How long both ends of a stream wait for a peer that lost its connection: a cut of 30 s, and a handshake to come back. */
export const STREAM_GRACE_MS = 30_000 + HANDSHAKE_MS;
/** An end of a stream that had nothing to say for this long says that: only so does the other one notice that it is gone. */
export const STREAM_KEEPALIVE_MS = 20_000;
/** A command or a result may fill a frame but for this envelope. */
export const MAX_PAYLOAD_BYTES = 24_000;
/** Instances in one `report` frame. */
export const REPORT_BATCH = 50;
/** Parts of an image named in one `answer`. */
export const ANSWER_PARTS = 12;
/** Objects of a move one `ask-put` may name: their URLs come back in one frame. */
export const PUT_OBJECTS = 8;
