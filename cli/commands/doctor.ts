import type { Command } from 'commander';

import { messageOf } from '#shared/errors.ts';
import type { Server } from '#shared/lxd/server.ts';
import { diagnoseHosts, diagnoseOperations, diagnoseRegistry, diagnoseServer, type Finding } from '../diagnosis.ts';
import type { Host } from '../client/fleet.ts';
import { printable } from '../output/printable.ts';
import type { Session } from '../session.ts';
import { VERSION } from '../version.ts';
import { allOperations } from './operation.ts';

/** `doctor`: looks at the whole fleet and says what is wrong and what to do; exit code 1 when something is. */
export function registerDoctor(program: Command, session: Session): void {
  program
    .command('doctor')
    .description('Look for problems and say what to do about them')
    .action(async () => {
      let problems = 0;
      const tell = (findings: readonly Finding[]) => {
        for (const { level, what, todo } of findings) {
          if (level === 'problem') problems += 1;
          session.print(
            `${MARK[level]} ${printable(what)}\n${todo === undefined ? '' : `        ${printable(todo)}\n`}`,
          );
        }
      };
      tell(await server(session));
      if (problems === 0) {
        const now = session.io.now();
        tell(await check('hosts', async () => diagnoseHosts(await session.api.get<Host[]>('/1.0/fleet/hosts'), now)));
        tell(
          await check('registry', async () =>
            diagnoseRegistry(await session.api.get<{ what: string; todo: string }[]>('/1.0/fleet/doctor')),
          ),
        );
        tell(await check('operations', async () => diagnoseOperations(await allOperations(session), now)));
      }
      session.exitCode = problems > 0 ? 1 : 0;
    });
}

const MARK = { ok: 'ok     ', warning: 'warning', problem: 'PROBLEM' } as const satisfies Record<
  Finding['level'],
  string
>;

async function server(session: Session): Promise<readonly Finding[]> {
  return await check('control plane', async () => {
    const before = session.io.now();
    const { metadata, date } = await session.api.call<Server>('GET', '/1.0');
    const { url } = session.settings;
    return diagnoseServer({
      url,
      server: metadata,
      clientVersion: VERSION,
      clock: date,
      before,
      after: session.io.now(),
    });
  });
}

/** A check that fails is a finding too. */
async function check(what: string, look: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await look();
  } catch (error) {
    return [{ level: 'problem', what: `${what}: ${messageOf(error)}` }];
  }
}
