/** The command line reaches the server's code only through this folder. */
export { createLog } from '../../functions/ports/json-log.ts';
