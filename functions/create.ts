import type { Functions } from './functions.ts';
import { createHttpHandler } from './http/handler.ts';
import { runJob } from './jobs/jobs.ts';
import { authorize } from './link/authorize.ts';
import { connect, disconnect } from './link/connection.ts';
import { message } from './link/message.ts';
import type { Ports } from './ports/ports.ts';

/** The control plane over these ports. Holds no state between calls. */
export function createFunctions(ports: Ports): Functions {
  return {
    http: createHttpHandler(ports),
    authorize: (event) => authorize(ports, event),
    connect: (event) => connect(ports, event),
    message: (event) => message(ports, event),
    disconnect: (event) => disconnect(ports, event),
    job: (job) => runJob(ports, job),
  };
}
