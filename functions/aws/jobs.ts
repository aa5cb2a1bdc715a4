import { runJob } from '../jobs/jobs.ts';
import { once, openPorts } from './deployment.ts';
import { runObjectJob } from './object-jobs.ts';

const ports = once(() => openPorts(process.env));

/** EventBridge's schedule, or S3's notification of new objects below `jobs/`. */
type JobsEvent =
  | { readonly 'detail-type': 'Scheduled Event' }
  | { readonly Records: readonly { readonly s3: { readonly object: { readonly key: string } } }[] };

/** Work that time or another function asks for. What is thrown Lambda tries again, twice; after that the sweep finds it. */
export async function handler(event: JobsEvent): Promise<void> {
  const opened = await ports();
  if (!('Records' in event)) return runJob(opened, { kind: 'sweep' });
  // S3 names objects in notifications as in a form: encoded, and a space as a plus.
  const names = event.Records.map(({ s3 }) => decodeURIComponent(s3.object.key.replaceAll('+', ' ')));
  for (const key of names) await runObjectJob(opened.objects, key, (job) => runJob(opened, job));
}
