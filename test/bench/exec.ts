/** `exec true`: POST exec → attach → exit code, by a client that is connected already. */
import type { Fleet } from '../lab/fleet.ts';
import { clientOf, exec, OpenLink } from './client.ts';
import { launch, remove } from './launch.ts';
import { repeat, spread, type Row } from './table.ts';

const RUNS = 100;

/** How long `exec true` takes, over API and link. */
export async function benchExec(fleet: Fleet): Promise<Row[]> {
  const api = await clientOf(fleet.dataDir);
  await launch(api, 'exec');
  const link = await OpenLink.open(api);
  const samples = await repeat(RUNS, async () => {
    const { code } = await exec(api, link, 'exec', ['true']);
    if (code !== 0) throw new Error(`true ended with ${code}`);
  });
  link.close();
  await remove(api, 'exec');
  api.close();
  return [
    { what: 'exec true over API and link, p50', bar: 35, unit: 'ms', measured: samples.p50, note: spread(samples) },
  ];
}
