/** Bytes a second of a command's output: host → local gateway → client, all real but the command. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

import type { ChaosOptions } from '../../infra/embedded/chaos.ts';
import type { Session } from '../../host-connector/lxc/attach.ts';
import { clientOf, exec, finish, OpenLink } from './client.ts';
import { ControlPlaneProcess } from './control-plane.ts';
import { enrolHost, SimulatedHost } from './simulated-host.ts';
import { repeat, shown, type Row } from './table.ts';

const CHUNK = Buffer.alloc(64 * 1024, 'fairlead');
const POLL_MS = 20;

/**
 * Every frame passes the gateway's chaos twice, in and out: the shares of a passage are about half those of the way. A frame is held for a
 * mean of 0.4 × 50 ms a passage: 80 ms for both ways.
 */
const ROUGH: ChaosOptions = { seed: 7, reorder: 0.8, delayMs: 50, duplicate: 0.005, drop: 0.0025 };

const CASES = [
  { what: 'stream through the local gateway', bar: 60, megabytes: 96, runs: 7 },
  {
    what: 'the same with 80 % reordered, 1 % duplicated, 0.5 % lost, 80 ms round trip',
    bar: 4,
    megabytes: 24,
    runs: 5,
    chaos: ROUGH,
  },
] as const;

/** How fast a stream is, on a good link and on a bad one. */
export async function benchStream(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const one of CASES) rows.push(await streaming(one));
  return rows;
}

async function streaming(one: {
  what: string;
  bar: number;
  megabytes: number;
  runs: number;
  chaos?: ChaosOptions;
}): Promise<Row> {
  const { what, bar, megabytes, runs, chaos } = one;
  const dataDir = await mkdtemp(join(tmpdir(), 'fairlead-bench-'));
  try {
    await using control = await ControlPlaneProcess.start(dataDir, chaos);
    const api = await clientOf(control.dataDir);
    const host = await SimulatedHost.start(await enrolHost(api, 'host'), { attach: async () => says(megabytes * 1e6) });
    while (!host.linked) await sleep(POLL_MS);
    const body = { name: 'c1', source: { type: 'none' }, start: true };
    await finish(api, await api.start('POST', '/1.0/instances', { body }));
    const link = await OpenLink.open(api);
    const { p50, min, count } = await repeat(
      runs,
      async () => {
        const start = performance.now();
        const { bytes } = await exec(api, link, 'c1', ['say']);
        if (bytes !== megabytes * 1e6) throw new Error(`${bytes} bytes came`);
        return performance.now() - start;
      },
      1,
    );
    link.close();
    host.stop();
    api.close();
    const rate = (ms: number) => (megabytes * 1000) / ms;
    return {
      what,
      bar,
      atLeast: true,
      unit: 'MB/s',
      measured: rate(p50),
      note: `best ${shown(rate(min))}, n ${count}, ${megabytes} MB each`,
    };
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

/** A command that writes so many bytes as fast as they are read, and ends. */
function says(bytes: number): Session {
  const ended = Promise.withResolvers<number>();
  let left = bytes;
  const stdout = new Readable({
    read() {
      const size = Math.min(left, CHUNK.length);
      left -= size;
      this.push(size === 0 ? null : CHUNK.subarray(0, size));
    },
  });
  stdout.once('end', () => ended.resolve(0));
  return {
    stdin: new Writable({ write: (_chunk, _encoding, done) => done() }),
    stdout,
    stderr: Readable.from([]),
    resize: () => undefined,
    signal: () => Promise.resolve(false),
    kill: () => ended.resolve(137),
    exited: ended.promise,
  };
}
