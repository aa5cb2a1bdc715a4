/** One end of a stream without a peer, driven by hand, for tests. */
import type { DataFrame, StreamFrame } from './frames.ts';
import { open, step, type StreamInput, type StreamOptions, type StreamOutput, type StreamState } from './stream.ts';
import { assertBounds } from './virtual-network.ts';

/** Keeps the state and all outputs, and checks the stated bounds at each step. */
export class End {
  state: StreamState;
  outputs: StreamOutput[] = [];
  now = 0;

  constructor(options?: StreamOptions) {
    this.state = open('s', options);
  }

  /** Feeds one input and gives the outputs of this step. */
  feed(input: StreamInput): readonly StreamOutput[] {
    const { state, outputs } = step(this.state, input, this.now);
    this.state = state;
    this.outputs.push(...outputs);
    assertBounds(state, this.now);
    return outputs;
  }

  send(channel: number, bytes: number | Uint8Array, flags: { end?: true; urgent?: true } = {}): readonly StreamFrame[] {
    return framesOf(
      this.feed({ kind: 'send', channel, bytes: typeof bytes === 'number' ? new Uint8Array(bytes) : bytes, ...flags }),
    );
  }

  ack(a: number, w: number, k: readonly [number, number][] = []): readonly StreamOutput[] {
    return this.feed({ kind: 'frame', frame: { t: 'a', s: 's', a, k, w } });
  }

  data(q: number, rest: Partial<DataFrame> = {}): readonly StreamOutput[] {
    return this.feed({ kind: 'frame', frame: { t: 'd', s: 's', q, c: 1, b: Uint8Array.of(q), ...rest } });
  }

  tickAt(now: number): readonly StreamOutput[] {
    this.now = now;
    return this.feed({ kind: 'tick' });
  }
}

/** The frames among the outputs. */
export function framesOf(outputs: readonly StreamOutput[]): readonly StreamFrame[] {
  return outputs.flatMap((output) => (output.kind === 'transmit' ? [output.frame] : []));
}

/** The data frames among the outputs. */
export function dataOf(outputs: readonly StreamOutput[]): readonly DataFrame[] {
  return framesOf(outputs).filter((frame) => frame.t === 'd');
}
