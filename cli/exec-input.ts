import type { Channel } from '#shared/link/channel.ts';
import { TO_HOST } from '#shared/link/session.ts';
import type { Io } from './io.ts';

/** Standard input on its way to the host. */
export interface Pump {
  /** The channel has room again. */
  more(): void;
  stop(): void;
}

/** Carries the standard input into a channel, never more than it has room for: a fast source is paused. */
export function pump(source: Io['stdin'], channel: Pick<Channel, 'writable' | 'write' | 'isOpen'>): Pump {
  let waiting = Buffer.alloc(0);
  let ended = false;
  let stopped = false;

  const more = () => {
    while (waiting.length > 0) {
      const room = channel.writable(TO_HOST);
      if (room <= 0 || stopped) return;
      channel.write(TO_HOST, waiting.subarray(0, room));
      waiting = waiting.subarray(room);
    }
    if (stopped) return;
    if (!ended) source.resume();
    else finish();
  };
  const finish = () => {
    stop();
    if (channel.isOpen) channel.write(TO_HOST, new Uint8Array(), true);
  };
  const onData = (chunk: Buffer | string) => {
    source.pause();
    waiting = Buffer.concat([waiting, Buffer.from(chunk as Buffer)]);
    more();
  };
  const onEnd = () => {
    ended = true;
    more();
  };
  const stop = () => {
    stopped = true;
    source.removeListener('data', onData).removeListener('end', onEnd).removeListener('error', onEnd);
    source.pause();
  };
  // A terminal that went away (EIO) is an end like any other.
  source.on('data', onData).on('end', onEnd).on('error', onEnd);
  return { more, stop };
}
