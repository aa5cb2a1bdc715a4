/** `GET /1.0/instances?recursion=2` of a registry of so many instances. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync as gunzip } from 'node:zlib';

import type { ControlPlane } from '../../cli/client/http.ts';
import { clientOf } from './client.ts';
import { ControlPlaneProcess } from './control-plane.ts';
import { fillHosts, fillInstances, withRecords } from './fill.ts';
import { repeat, spread, type Row } from './table.ts';

const CASES = [
  { instances: 1000, hosts: 50, bar: 60, runs: 40 },
  { instances: 10_000, hosts: 500, bar: 600, runs: 12 },
] as const;

/** How long listings take. */
export async function benchListing(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { instances, hosts, bar, runs } of CASES) {
    const dataDir = await mkdtemp(join(tmpdir(), 'fairlead-bench-'));
    try {
      await using control = await ControlPlaneProcess.start(dataDir);
      await control.stop();
      await withRecords(dataDir, async (records) => {
        await fillInstances(records, await fillHosts(records, hosts), instances);
      });
      await control.start();
      const api = await clientOf(dataDir);
      rows.push(await listing(api, instances, bar, runs));
      api.close();
    } finally {
      await rm(dataDir, { recursive: true });
    }
  }
  return rows;
}

/** How long one listing takes, from the request to the last byte of its answer. */
export async function listing(api: ControlPlane, instances: number, bar: number, runs: number): Promise<Row> {
  let sizes = { bytes: 0, text: 0 };
  const samples = await repeat(runs, async () => {
    const { took, ...read } = await list(api, instances);
    sizes = read;
    return took;
  });
  const megabytes = `${(sizes.text / 1e6).toFixed(1)} MB of JSON, ${(sizes.bytes / 1e6).toFixed(1)} MB sent`;
  return {
    what: `listing of ${instances} instances with their state, p50`,
    bar,
    unit: 'ms',
    measured: samples.p50,
    note: `${spread(samples)}; ${megabytes}`,
  };
}

/** Reads the answer as stock clients ask for it (Go's HTTP client always offers gzip), and looks whether it is whole. */
async function list(api: ControlPlane, expected: number): Promise<{ took: number; bytes: number; text: number }> {
  const { url, token } = api.settings;
  const headers = { authorization: `Bearer ${token}`, 'accept-encoding': 'gzip' };
  const call = request(`${url}/1.0/instances?recursion=2`, { agent: api.agent, headers });
  const start = performance.now();
  call.end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  const took = performance.now() - start;
  const sent = Buffer.concat(parts);
  const body = response.headers['content-encoding'] === 'gzip' ? gunzip(sent) : sent;
  if (response.statusCode !== 200) throw new Error(`the listing failed: ${body.toString().slice(0, 300)}`);
  const found = body.toString('latin1').split('"expanded_config"').length - 1;
  if (found !== expected) throw new Error(`the listing has ${found} instances, not ${expected}`);
  return { took, bytes: sent.length, text: body.length };
}
