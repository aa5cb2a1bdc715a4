import type { Operation } from '#shared/lxd/operation.ts';
import type { Server } from '#shared/lxd/server.ts';
import { isFinal } from '#shared/lxd/status.ts';
import type { Host } from './client/fleet.ts';
import { age } from './output/age.ts';
import { bytesIec } from './output/format.ts';

/** What `doctor` found, and what to do about it. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'problem';
  readonly what: string;
  readonly todo?: string;
}

/** Clocks this far apart make signed URLs and tokens fail. */
const MAX_SKEW_MS = 30_000;
const MIN_FREE_SHARE = 0.1;
const STUCK_AFTER_MS = 30 * 60_000;

interface Seen {
  readonly url: string;
  readonly server: Server;
  readonly clientVersion: string;
  /** The server's clock, between our `before` and `after`; whole seconds. */
  readonly clock: number | undefined;
  readonly before: number;
  readonly after: number;
}

/** The control plane: trust, versions, clocks. */
export function diagnoseServer({ url, server, clientVersion, clock, before, after }: Seen): Finding[] {
  if (server.auth !== 'trusted') {
    return [
      {
        level: 'problem',
        what: `${url} does not know this token`,
        todo: 'Take the client.json of its data directory again, or set FAIRLEAD_TOKEN.',
      },
    ];
  }
  const version = server.environment?.server_version ?? 'unknown';
  const findings: Finding[] = [{ level: 'ok', what: `${url} answers in ${after - before} ms, version ${version}` }];
  if (version !== clientVersion) {
    findings.push({
      level: 'warning',
      what: `This command has version ${clientVersion}, the control plane ${version}`,
      todo: 'Install the same version on both sides.',
    });
  }
  const skew = clock === undefined ? 0 : distance(clock, before - 1000, after);
  if (skew > MAX_SKEW_MS) {
    findings.push({
      level: 'problem',
      what: `The clocks here and there are ${Math.round(skew / 1000)} s apart`,
      todo: 'Set both by NTP: signed addresses and tokens fail otherwise.',
    });
  }
  return findings;
}

/** Every host: there, well, with room. */
export function diagnoseHosts(hosts: readonly Host[], now: number): Finding[] {
  if (hosts.length === 0)
    return [{ level: 'warning', what: 'No host has joined', todo: 'Make a token: fairlead host token' }];
  const bad = hosts.flatMap((host) => diagnoseHost(host, now));
  const online = hosts.filter(({ status }) => status === 'online').length;
  return [{ level: 'ok', what: `${online} of ${hosts.length} hosts online` }, ...bad];
}

function diagnoseHost({ name, status, since, facts }: Host, now: number): Finding[] {
  const findings: Finding[] = [];
  if (status === 'offline') {
    findings.push({
      level: 'problem',
      what: `Host ${name} is offline, ${age(since, now)}`,
      todo: 'On the host: systemctl status fairlead-connector; journalctl -u fairlead-connector. Its containers go on meanwhile.',
    });
  }
  if (status === 'quarantined') {
    findings.push({
      level: 'problem',
      what: `Host ${name} is quarantined, ${age(since, now)}`,
      todo: `See why: fairlead host show ${name}. To let it in anew: fairlead host remove ${name}, then a new token.`,
    });
  }
  if (!facts) return findings;
  const { total, free } = facts.disk;
  if (free < total * MIN_FREE_SHARE) {
    findings.push({
      level: 'warning',
      what: `Host ${name} has only ${bytesIec(free)} of ${bytesIec(total)} disk left`,
      todo: 'Delete instances or images, or add disk.',
    });
  }
  if (facts.criu && !facts.criu.ok) {
    findings.push({
      level: 'warning',
      what: `Host ${name}: CRIU fails, so that live moves are not possible: ${facts.criu.message}`,
      todo: 'On the host: criu check',
    });
  }
  return [...findings, ...facts.warnings.map((what): Finding => ({ level: 'warning', what: `Host ${name}: ${what}` }))];
}

/** Operations that do not come to an end. */
export function diagnoseOperations(operations: readonly Operation[], now: number): Finding[] {
  const stuck = operations.filter(
    // A terminal session may last, and a token waits by its nature.
    (one) => one.class === 'task' && !isFinal(one.status_code) && now - Date.parse(one.created_at) > STUCK_AFTER_MS,
  );
  if (stuck.length === 0) return [{ level: 'ok', what: 'no operation is stuck' }];
  return stuck.map(({ id, description, created_at, may_cancel }) => ({
    level: 'warning',
    what: `"${description}" goes on since ${age(created_at, now)}`,
    todo: `fairlead operation show ${id}${may_cancel ? `, or: fairlead operation cancel ${id}` : ''}`,
  }));
}

/** What the control plane says of its own registry. */
export function diagnoseRegistry(breaches: readonly { readonly what: string; readonly todo: string }[]): Finding[] {
  if (breaches.length === 0) return [{ level: 'ok', what: 'the registry holds together' }];
  return breaches.map(({ what, todo }) => ({ level: 'problem', what, todo }));
}

function distance(value: number, from: number, to: number): number {
  return Math.max(0, from - value, value - to);
}
