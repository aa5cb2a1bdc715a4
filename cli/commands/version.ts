import type { Command } from 'commander';

import { messageOf } from '#shared/errors.ts';
import type { Server } from '#shared/lxd/server.ts';
import type { Session } from '../session.ts';
import { VERSION } from '../version.ts';

/** `version`: of this command and of the control plane. */
export function registerVersion(program: Command, session: Session): void {
  program
    .command('version')
    .description('Show the versions of the command and of the control plane')
    .action(async () => {
      session.print(`Client version: ${VERSION}\n`);
      try {
        const server = await session.api.get<Server>('/1.0');
        session.print(`Server version: ${server.environment?.server_version ?? 'unknown'}\n`);
      } catch (error) {
        session.print('Server version: unreachable\n');
        session.note(messageOf(error));
      }
    });
}
