import * as z from 'zod';

import { isFairleadError } from '#shared/errors.ts';
import type { Job, Jobs } from '../ports/jobs.ts';
import type { Objects } from '../ports/objects.ts';
import type { Random } from '../ports/ports.ts';

/**
 * The queue of jobs is a folder of the bucket: a job is an object, whose creation S3 tells the jobs function, at least once. The object goes
 * when the job is done; of a job that failed for good it stays until the bucket's life cycle takes it, and the sweep asks for the work anew.
 */
const FOLDER = 'jobs/';

const schema: z.ZodType<Job> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ingest'), project: z.string(), operation: z.string() }),
  z.object({ kind: z.literal('sweep') }),
  z.object({ kind: z.literal('restarted') }),
]);

/** {@link Jobs} over the bucket. */
export function objectJobs(objects: Pick<Objects, 'put'>, random: Pick<Random, 'uuid'>): Jobs {
  return {
    enqueue: (job) => objects.put(`${FOLDER}${random.uuid()}.json`, Buffer.from(JSON.stringify(job))),
  };
}

/** Runs the job of one object, then removes it. A job that was done and is told of again is not there any more. */
export async function runObjectJob(
  objects: Pick<Objects, 'get' | 'delete'>,
  key: string,
  run: (job: Job) => Promise<void>,
): Promise<void> {
  const job = await jobAt(objects, key);
  if (job === undefined) return;
  await run(job);
  await objects.delete(key);
}

async function jobAt(objects: Pick<Objects, 'get'>, key: string): Promise<Job | undefined> {
  try {
    const parts: Uint8Array[] = [];
    for await (const part of await objects.get(key)) parts.push(part);
    return schema.parse(JSON.parse(Buffer.concat(parts).toString()));
  } catch (error) {
    if (isFairleadError(error, 'not_found')) return undefined;
    throw error;
  }
}
