/** Exec and console requests, and what their control sockets carry. */
import * as z from 'zod';

const noNul = z.string().refine((text) => !text.includes('\0'), 'must not hold a NUL character');

const terminalSize = z.int().min(0).max(65_535).default(0);

/** POST instances/{name}/exec. */
export const InstanceExecPost = z.looseObject({
  command: z.array(noNul).min(1, 'a command needs at least one word'),
  'wait-for-websocket': z.boolean().default(false),
  interactive: z.boolean().default(false),
  environment: z
    .record(z.string().regex(/^[^=\0]+$/, 'a variable name is not empty and holds no "="'), noNul)
    .nullish()
    .transform((value) => value ?? {}),
  width: terminalSize,
  height: terminalSize,
  'record-output': z.boolean().default(false),
  user: z.int().min(0).max(0xffff_fffe).default(0),
  group: z.int().min(0).max(0xffff_fffe).default(0),
  cwd: noNul.default(''),
});
export type InstanceExecPost = z.infer<typeof InstanceExecPost>;

/** POST instances/{name}/console. */
export const InstanceConsolePost = z.looseObject({
  width: terminalSize,
  height: terminalSize,
  type: z.literal(['', 'console'], 'only the text console is supported').default('console'),
});
export type InstanceConsolePost = z.infer<typeof InstanceConsolePost>;

/** Clients send sizes as strings. */
const sizeText = z
  .string()
  .regex(/^[0-9]{1,5}$/, 'a size is a number up to 5 digits')
  .transform(Number);

/** A text message on the control socket. */
export const ExecControl = z.discriminatedUnion('command', [
  z.looseObject({
    command: z.literal('window-resize'),
    args: z.looseObject({ width: sizeText, height: sizeText }),
  }),
  z.looseObject({ command: z.literal('signal'), signal: z.int().min(1).max(64) }),
]);
export type ExecControl = z.infer<typeof ExecControl>;
