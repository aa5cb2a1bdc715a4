/** A launch of a cached image, and a command in a running instance: through API, link, connector and LXC of a virtual host. */
import type { ControlPlane } from '../../cli/client/http.ts';
import type { Fleet } from '../lab/fleet.ts';
import { ensureImage } from '../lab/images.ts';
import { clientOf, finish } from './client.ts';
import { repeat, spread, type Row } from './table.ts';

const LAUNCHES = 30;
const ALIAS = 'bench';

/** Imports the image that everything here is made of. */
export async function importImage(fleet: Fleet): Promise<void> {
  await fleet.must('image', 'import', (await ensureImage('busybox')).path, '--alias', ALIAS);
}

/** POST of an instance that starts, until its operation is final. */
export async function launch(api: ControlPlane, name: string): Promise<void> {
  const body = { name, source: { type: 'image', alias: ALIAS }, start: true };
  await finish(api, await api.start('POST', '/1.0/instances', { body }));
}

/** Stops it by force and deletes it. */
export async function remove(api: ControlPlane, name: string): Promise<void> {
  const body = { action: 'stop', force: true, timeout: 10 };
  await finish(api, await api.start('PUT', `/1.0/instances/${name}/state`, { body }));
  await finish(api, await api.start('DELETE', `/1.0/instances/${name}`));
}

/** How long a launch takes. The first brings the image to the host and does not count. */
export async function benchLaunch(fleet: Fleet): Promise<Row[]> {
  const api = await clientOf(fleet.dataDir);
  const samples = await repeat(LAUNCHES, async (at) => {
    const name = `launch${at + 10}`;
    const start = performance.now();
    await launch(api, name);
    const took = performance.now() - start;
    await remove(api, name);
    return took;
  });
  api.close();
  return [
    {
      what: 'launch of a cached busybox image, p50',
      bar: 120,
      unit: 'ms',
      measured: samples.p50,
      note: spread(samples),
    },
  ];
}
