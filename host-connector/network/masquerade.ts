/** Lets the bridge's guests out under the host's own address: a table of our own in nftables, or else three iptables rules. */
import type { Argv, Run } from '../process.ts';
import { runOrFail } from '../process.ts';

const TIMEOUT_MS = 10_000;

/** Makes the rules; making them again changes nothing. @throws FairleadError `host_failed` */
export async function ensureMasquerade(run: Run, bridge: string, network: string): Promise<void> {
  if (await has(run, 'nft')) {
    await runOrFail(run, ['nft', '-f', '-'], { timeoutMs: TIMEOUT_MS, stdin: nftTable(bridge, network) });
  } else {
    await ensureRules(run, bridge, network);
    return;
  }
  // nftables cannot overrule another table that drops what is forwarded, such as Docker's: that needs a rule in there.
  if (await dropsForwarded(run)) await ensureRules(run, bridge, network, ['FORWARD']);
}

/** Takes the rules back; what is not there is no error. */
export async function removeMasquerade(run: Run, bridge: string, network: string): Promise<void> {
  if (await has(run, 'nft')) {
    const text = `add table ip ${table(bridge)}\ndelete table ip ${table(bridge)}\n`;
    await runOrFail(run, ['nft', '-f', '-'], { timeoutMs: TIMEOUT_MS, stdin: text });
  }
  if (!(await has(run, 'iptables'))) return;
  for (const rule of rules(bridge, network)) {
    if (await exists(run, rule)) await runOrFail(run, iptables('-D', rule), { timeoutMs: TIMEOUT_MS });
  }
}

/** The whole table: replaced in one transaction. Pure. */
export function nftTable(bridge: string, network: string): string {
  const name = table(bridge);
  return `add table ip ${name}
delete table ip ${name}
table ip ${name} {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${network} ip daddr != ${network} masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "${bridge}" accept
    oifname "${bridge}" accept
  }
}
`;
}

interface Rule {
  readonly table: 'nat' | 'filter';
  readonly chain: string;
  readonly match: readonly string[];
}

function rules(bridge: string, network: string): Rule[] {
  const comment = ['-m', 'comment', '--comment', `fairlead ${bridge}`];
  return [
    { table: 'nat', chain: 'POSTROUTING', match: ['-s', network, '!', '-d', network, ...comment, '-j', 'MASQUERADE'] },
    { table: 'filter', chain: 'FORWARD', match: ['-i', bridge, ...comment, '-j', 'ACCEPT'] },
    { table: 'filter', chain: 'FORWARD', match: ['-o', bridge, ...comment, '-j', 'ACCEPT'] },
  ];
}

async function ensureRules(
  run: Run,
  bridge: string,
  network: string,
  chains = ['POSTROUTING', 'FORWARD'],
): Promise<void> {
  for (const rule of rules(bridge, network)) {
    if (!chains.includes(rule.chain) || (await exists(run, rule))) continue;
    await runOrFail(run, iptables('-I', rule), { timeoutMs: TIMEOUT_MS });
  }
}

function iptables(action: '-C' | '-I' | '-D', { table, chain, match }: Rule): Argv {
  return ['iptables', '-w', '-t', table, action, chain, ...match];
}

async function exists(run: Run, rule: Rule): Promise<boolean> {
  return (await run(iptables('-C', rule), { timeoutMs: TIMEOUT_MS })).code === 0;
}

async function dropsForwarded(run: Run): Promise<boolean> {
  if (!(await has(run, 'iptables'))) return false;
  const { stdout } = await run(['iptables', '-w', '-S', 'FORWARD'], { timeoutMs: TIMEOUT_MS });
  return stdout.includes('-P FORWARD DROP');
}

async function has(run: Run, program: string): Promise<boolean> {
  return (await run(['which', program], { timeoutMs: TIMEOUT_MS })).code === 0;
}

function table(bridge: string): string {
  return `fairlead_${bridge.replaceAll(/[^A-Za-z0-9_]/g, '_')}`;
}
