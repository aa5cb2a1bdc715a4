import { createHttpHandler } from '../../../functions/http/handler.ts';
import { program } from './program.ts';

export const open = program((ports) => ({ http: createHttpHandler(ports) }));
