import type { CommandKind, CommandResult, HostCommand } from '#shared/link/commands.ts';
import type { LinkLine } from '../link/connection.ts';
import type { ObjectTerms, Urls } from '../transfer/store.ts';
import type { Host, ImagePart } from './host.ts';
import type { Observation } from './observer.ts';

export type CommandOf<K extends CommandKind> = Extract<HostCommand, { kind: K }>;

/** What a running command may use besides the host. */
export interface Context {
  readonly id: string;
  /** Aborted when the command is cancelled or the connector stops. */
  readonly signal: AbortSignal;
  /** The connection it came on. */
  readonly line: LinkLine;
  /** Tells the user how far it is; may be lost. */
  progress(text: string, percent?: number): void;
  /** Where the parts of an image are now. */
  locate(fingerprint: string): Promise<readonly ImagePart[]>;
  /** Where the objects of a move are put and fetched. */
  urls(move: string, attempt: number, signal: AbortSignal): Urls;
  /** Tells the other end of a move that a chunk is there; may be lost. */
  announce(chunk: { readonly move: string; readonly attempt: number } & ObjectTerms): void;
}

/** A result, with the number of the look it tells of. */
export interface Done {
  readonly seq: number;
  readonly result: CommandResult;
}

/** Does one kind of command. Throws a FairleadError, having undone what it did. */
export type Executor<K extends CommandKind> = (command: CommandOf<K>, context: Context, host: Host) => Promise<Done>;
export type Executors = { readonly [K in CommandKind]: Executor<K> };

/** The result that tells an instance's state. */
export function told({ seq, report }: Observation): Done {
  return { seq, result: { kind: 'instance', report } };
}
