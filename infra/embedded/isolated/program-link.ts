import { authorize } from '../../../functions/link/authorize.ts';
import { connect, disconnect } from '../../../functions/link/connection.ts';
import { message } from '../../../functions/link/message.ts';
import { program } from './program.ts';

export const open = program((ports) => ({
  authorize: (event) => authorize(ports, event),
  connect: (event) => connect(ports, event),
  message: (event) => message(ports, event),
  disconnect: (event) => disconnect(ports, event),
}));
