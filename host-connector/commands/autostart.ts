import { messageOf } from '#shared/errors.ts';
import type { Host } from './host.ts';
import type { Role } from './roles.ts';
import { startAsOwner } from './state.ts';

/** The most an instance may make those after it wait. */
export const MAX_DELAY_S = 3600;

/**
 * What starts after the host's boot, in order: `boot.autostart` says so, or without it the last power state; the highest
 * `boot.autostart.priority` first, then by name, as in LXD. Pure.
 */
export function autostartOrder(roles: readonly Role[]): Role[] {
  return roles.filter(wanted).sort((a, b) => priority(b) - priority(a) || (a.spec.name < b.spec.name ? -1 : 1));
}

/**
 * Starts them one after the other; needs no link. One that fails is told and does not hold up the next.
 * @param alone runs a task between the commands for an instance
 */
export async function autostart(
  host: Host,
  alone: (id: string, task: () => Promise<void>) => Promise<void>,
  sleep: (ms: number) => Promise<void>,
): Promise<void> {
  for (const { spec } of autostartOrder(host.roles.all())) {
    const { id, name, config } = spec;
    try {
      await alone(id, () => startIfHere(id, host));
    } catch (error) {
      host.log('error', `"${name}" could not be started after the host's boot: ${messageOf(error)}`);
    }
    const delay = Math.min(Number(config['boot.autostart.delay'] ?? 0) || 0, MAX_DELAY_S);
    if (delay > 0) await sleep(delay * 1000);
  }
}

async function startIfHere(id: string, host: Host): Promise<void> {
  const role = host.roles.find(id);
  if (role?.role !== 'owner' || (await host.containers.status(id)) !== 'Stopped') return;
  await startAsOwner(role, host);
  host.log('info', `started "${role.spec.name}" after the host's boot`);
}

function wanted({ ready, role, power, spec }: Role): boolean {
  const says = spec.config['boot.autostart'];
  return (
    ready && role === 'owner' && (says === undefined || says === '' ? power === 'on' : /^(true|1|yes|on)$/i.test(says))
  );
}

function priority({ spec }: Role): number {
  return Number(spec.config['boot.autostart.priority'] ?? 0) || 0;
}
