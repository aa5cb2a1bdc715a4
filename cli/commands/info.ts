import type { Command } from 'commander';

import type { InstanceState, NetworkState } from '#shared/lxd/instance.ts';
import type { FleetInstance, Host } from '../client/fleet.ts';
import { url } from '../client/http.ts';
import { parseTarget } from '../grammar.ts';
import { age, dateTime, isSet } from '../output/age.ts';
import { bytesIec, bytesSi, yaml } from '../output/format.ts';
import { printable } from '../output/printable.ts';
import { table } from '../output/table.ts';
import type { Session } from '../session.ts';
import { getInstance, instancePath, targetQuery } from './instances.ts';

/** `info` of the control plane, `info host:` of a host, `info [host:]name` of an instance. */
export function registerInfo(program: Command, session: Session): void {
  program
    .command('info')
    .description('Show the control plane, a host (HOST:), or an instance')
    .argument('[name]', 'NAME, HOST:NAME or HOST:')
    .option('--show-log', "the instance's console log as well")
    .action(async (name: string | undefined, { showLog }: { showLog?: boolean }) => {
      const { api } = session;
      const target = parseTarget(name ?? '');
      if (target.name === '') {
        const path = target.host === undefined ? '/1.0' : url`/1.0/fleet/hosts/${target.host}`;
        session.print(await yaml(await api.get<Host | object>(path)));
        return;
      }
      const { metadata } = await getInstance(api, target, { measured: true });
      session.print(instanceInfo(metadata, session.io.now()));
      if (!showLog) return;
      const log = await api.text(instancePath(target, '/console'), targetQuery(target));
      session.print(`\nLog:\n\n${printable(log.replaceAll('\r\n', '\n'), 'keep lines')}\n`);
    });
}

/** What `lxc info` prints of an instance, and for one whose host is offline how old that is. */
export function instanceInfo(instance: FleetInstance, now: number): string {
  const { name, status, type, architecture, location, state, created_at, last_used_at, fleet } = instance;
  const lines = [`Name: ${name}`, `Status: ${status.toUpperCase()}`, `Type: ${type}`, `Architecture: ${architecture}`];
  if (location !== '' && location !== 'none') lines.push(`Location: ${location}`);
  if (fleet?.online === false)
    lines.push(`Seen: ${age(fleet.as_of, now)} ago (the host is offline since; this is what it last reported)`);
  if (state && state.pid > 0) lines.push(`PID: ${state.pid}`);
  if (isSet(created_at)) lines.push(`Created: ${dateTime(created_at)}`);
  if (isSet(last_used_at)) lines.push(`Last Used: ${dateTime(last_used_at)}`);
  if (state && state.pid > 0) lines.push('', 'Resources:', ...resources(state));
  const text = printable(`${lines.join('\n')}\n`, 'keep lines');
  return text + snapshots(instance);
}

function resources({ processes, disk, cpu, memory, network }: InstanceState): string[] {
  const disks = Object.entries(disk ?? {}).filter(([, { usage }]) => usage > 0);
  const sizes: readonly (readonly [string, number])[] = [
    ['Memory (current)', memory.usage],
    ['Memory (peak)', memory.usage_peak],
    ['Swap (current)', memory.swap_usage],
    ['Swap (peak)', memory.swap_usage_peak],
  ];
  const used = sizes.filter(([, bytes]) => bytes > 0).map(([what, bytes]) => `    ${what}: ${bytesIec(bytes)}`);
  const devices = Object.entries(network ?? {}).flatMap(([device, state]) => networkLines(device, state));
  return [
    `  Processes: ${processes}`,
    ...(disks.length > 0
      ? ['  Disk usage:', ...disks.map(([name, { usage }]) => `    ${name}: ${bytesIec(usage)}`)]
      : []),
    '  CPU usage:',
    `    CPU usage (in seconds): ${Math.floor(cpu.usage / 1e9)}`,
    ...(used.length > 0 ? ['  Memory usage:', ...used] : []),
    ...(devices.length > 0 ? ['  Network usage:', ...devices] : []),
  ];
}

function networkLines(
  device: string,
  { type, state, host_name, hwaddr, mtu, counters, addresses }: NetworkState,
): string[] {
  return [
    `    ${device}:`,
    `      Type: ${type}`,
    `      State: ${state.toUpperCase()}`,
    ...(host_name === '' ? [] : [`      Host interface: ${host_name}`]),
    ...(hwaddr === '' ? [] : [`      MAC address: ${hwaddr}`]),
    ...(mtu === 0 ? [] : [`      MTU: ${mtu}`]),
    `      Bytes received: ${bytesSi(counters.bytes_received)}`,
    `      Bytes sent: ${bytesSi(counters.bytes_sent)}`,
    `      Packets received: ${counters.packets_received}`,
    `      Packets sent: ${counters.packets_sent}`,
    '      IP addresses:',
    ...addresses.map(
      ({ family, address, netmask, scope }) => `        ${`${family}:`.padEnd(6)} ${address}/${netmask} (${scope})`,
    ),
  ];
}

function snapshots({ snapshots: all }: FleetInstance): string {
  if (!all || all.length === 0) return '';
  const rows = all.map(({ name, created_at, expires_at, stateful }) => [
    name,
    dateTime(created_at),
    dateTime(expires_at),
    stateful ? 'YES' : 'NO',
  ]);
  return `\nSnapshots:\n${table(['NAME', 'TAKEN AT', 'EXPIRES AT', 'STATEFUL'], rows)}`;
}
