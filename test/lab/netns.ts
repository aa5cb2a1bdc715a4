/** Commands inside named network namespaces. */
import { must, run } from './run.ts';

/** Runs `ip -batch` lines inside a namespace, or in the root namespace when it is undefined. */
export async function ipBatch(namespace: string | undefined, lines: string): Promise<void> {
  await must(['ip', ...(namespace ? ['-n', namespace] : []), '-batch', '-'], { stdin: lines });
}

/** Runs a program in a namespace; answers with its stdout. */
export function inNetns(namespace: string, argv: readonly string[], stdin?: string): Promise<string> {
  return must(['nsenter', `--net=/run/netns/${namespace}`, ...argv], stdin === undefined ? {} : { stdin });
}

/** Loads an nftables ruleset in a namespace. */
export async function loadRules(namespace: string, rules: string): Promise<void> {
  await inNetns(namespace, ['nft', '-f', '-'], rules);
}

/** Writes kernel settings (paths under /proc/sys) of a namespace. */
export async function writeSettings(namespace: string, settings: Record<string, string>): Promise<void> {
  const script = Object.entries(settings).map(([path, value]) => `echo ${value} > /proc/sys/${path}\n`);
  await inNetns(namespace, ['sh', '-e'], script.join(''));
}

/** Packets of every named counter in a namespace. */
export async function readCounters(namespace: string): Promise<Map<string, number>> {
  const reply = JSON.parse(await inNetns(namespace, ['nft', '-j', 'list', 'counters'])) as {
    nftables: { counter?: { name: string; packets: number } }[];
  };
  return new Map(reply.nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])));
}

/** Names of all network namespaces of this machine. */
export async function listNetns(): Promise<string[]> {
  const reply = await run(['ip', 'netns', 'list']);
  return reply.stdout.split('\n').flatMap((line) => line.split(' ')[0] || []);
}
