/** `ip -j -s addr` as LXD's network state. Pure; a guest chooses names and addresses, so everything is bounded. */
import * as z from 'zod';
import type { Measurement } from '#shared/link/commands.ts';

const MAX_ADDRESSES = 32;
/** More than any guest needs; docker inside makes some. */
const MAX_INTERFACES = 32;

const side = z.object({ bytes: z.number(), packets: z.number() });
const linkSchema = z.object({
  ifname: z.string(),
  flags: z.array(z.string()),
  mtu: z.number(),
  address: z.string().default(''),
  addr_info: z
    .array(z.object({ family: z.string(), local: z.string().optional(), prefixlen: z.number(), scope: z.string() }))
    .default([]),
  stats64: z.object({ rx: side, tx: side }).optional(),
});
const SCOPES = { global: 'global', link: 'link', host: 'local' } as const;

/** Reads the output; `hostNames` gives the other ends by the name inside. */
export function parseAddresses(json: string, hostNames: Readonly<Record<string, string>>): Measurement['network'] {
  const links = z.array(z.unknown()).parse(JSON.parse(json || '[]'));
  const network: Measurement['network'] = {};
  for (const candidate of links.slice(0, MAX_INTERFACES)) {
    const parsed = linkSchema.safeParse(candidate);
    if (parsed.success) network[parsed.data.ifname] = interfaceOf(parsed.data, hostNames[parsed.data.ifname] ?? '');
  }
  return network;
}

function interfaceOf(link: z.infer<typeof linkSchema>, hostName: string): Measurement['network'][string] {
  const { rx, tx } = link.stats64 ?? { rx: NOTHING, tx: NOTHING };
  return {
    addresses: link.addr_info.flatMap(addressOf).slice(0, MAX_ADDRESSES),
    counters: {
      bytes_received: rx.bytes,
      bytes_sent: tx.bytes,
      packets_received: rx.packets,
      packets_sent: tx.packets,
    },
    hwaddr: link.address,
    host_name: hostName,
    mtu: link.mtu,
    state: link.flags.includes('UP') ? 'up' : 'down',
    type: link.flags.includes('LOOPBACK')
      ? 'loopback'
      : link.flags.includes('POINTOPOINT')
        ? 'point-to-point'
        : 'broadcast',
  };
}
const NOTHING = { bytes: 0, packets: 0 };

function addressOf(info: z.infer<typeof linkSchema>['addr_info'][number]): Measurement['network'][string]['addresses'] {
  const scope = SCOPES[info.scope as keyof typeof SCOPES];
  if ((info.family !== 'inet' && info.family !== 'inet6') || info.local === undefined || scope === undefined) return [];
  return [{ family: info.family, address: info.local, netmask: String(info.prefixlen), scope }];
}
