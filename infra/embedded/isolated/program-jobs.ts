import { runJob } from '../../../functions/jobs/jobs.ts';
import { program } from './program.ts';

export const open = program((ports) => ({ job: (job) => runJob(ports, job) }));
