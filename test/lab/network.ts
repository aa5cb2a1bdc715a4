/**
 * The lab's network: a "wan" bridge in a namespace of its own, one NAT router a host with its inbound side closed, and the
 * same private address at every site, on purpose. This file only says what to make; `lab.ts` runs it.
 */

const LAN_ADDRESS = '192.168.1.10';
const ROUTER_LAN_ADDRESS = '192.168.1.1';
const FIRST_ROUTER = 11;
const LAST_ROUTER = 250;

/** Every name and address of one lab, derived from its number (1 to 250). */
export function namesOf(id: number) {
  const prefix = `fl${id}`;
  const net = `198.18.${id}`;
  return {
    cloud: `${prefix}-cloud`,
    /** The root namespace's leg on the wan: its device, and where the control plane listens. */
    leg: prefix,
    control: `${net}.254`,
    gateway: `${net}.1`,
    router: (host: number) => `${prefix}-r${host}`,
    host: (host: number) => `${prefix}-h${host}`,
    port: (host: number) => `r${host}`,
    wanOf: (host: number) => `${net}.${FIRST_ROUTER + host - 1}`,
    routers: `${net}.${FIRST_ROUTER}-${net}.${LAST_ROUTER}`,
    belongs: (namespace: string) => namespace.startsWith(`${prefix}-`),
  };
}

export type LabNames = ReturnType<typeof namesOf>;

const CLOUD_MAC = '02:fa:00:00:00:01';
const CONTROL_MAC = '02:fa:00:00:00:fe';

/** `ip -batch` lines for the cloud namespace: the wan bridge and its end of the control plane's leg. */
export function cloudLinks(names: LabNames): string {
  return lines(
    `link add wan0 address ${CLOUD_MAC} type bridge`,
    `addr add ${names.gateway}/24 dev wan0`,
    'link set lo up',
    'link set wan0 up',
  );
}

/** `ip -batch` lines for the root namespace: the control plane's leg on the wan. */
export function legLinks(names: LabNames): string {
  return lines(
    `link add ${names.leg} address ${CONTROL_MAC} type veth peer name control netns ${names.cloud}`,
    `addr add ${names.control}/24 dev ${names.leg}`,
    `link set ${names.leg} up`,
  );
}

/** `ip -batch` lines for a router's namespace: its uplink to the wan. */
export function uplinkLinks(names: LabNames, host: number): string {
  return lines(
    `link add wan type veth peer name ${names.port(host)} netns ${names.cloud}`,
    `addr add ${names.wanOf(host)}/24 dev wan`,
    'link set lo up',
    'link set wan up',
    `route add default via ${names.gateway}`,
  );
}

/** `ip -batch` lines for a router's namespace: the cable to its host. Gone with the host's namespace. */
export function lanLinks(names: LabNames, host: number): string {
  return lines(
    `link add lan type veth peer name eth0 netns ${names.host(host)}`,
    `addr add ${ROUTER_LAN_ADDRESS}/24 dev lan`,
    'link set lan up',
  );
}

/** `ip -batch` lines for a host's namespace. */
export function hostLinks(): string {
  return lines(
    `addr add ${LAN_ADDRESS}/24 dev eth0`,
    'link set lo up',
    'link set eth0 up',
    `route add default via ${ROUTER_LAN_ADDRESS}`,
  );
}

/**
 * A router: everything masqueraded, only replies come in. What tries to is dropped, and counted: `inbound` holds new
 * connections (conntrack is strict, so a stray segment of an old one is not one), `peers` all that other routers sent.
 */
export function routerRules(names: LabNames, host: number): string {
  return `
    table inet router {
      counter inbound {}
      counter peers {}
      chain arriving {
        type filter hook prerouting priority raw
        iifname "wan" ip saddr ${names.routers} ip saddr != ${names.wanOf(host)} counter name peers
      }
      chain input {
        type filter hook input priority filter; policy drop;
        iifname { "lo", "lan" } accept
        iifname "wan" ct state new counter name inbound drop
      }
      chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "lan" oifname "wan" accept
        iifname "wan" oifname "lan" ct state established,related accept
        iifname "wan" ct state new counter name inbound drop
      }
      chain leaving {
        type nat hook postrouting priority srcnat
        oifname "wan" masquerade
      }
    }`;
}

/**
 * Counts every frame a router sends into the wan, at the bridge's port: `peers` is all but ARP that is not for the control
 * plane or the gateway (so also broadcasts, and frames the bridge would flood), or that asks them to pass it on to a peer.
 */
export function wanCounters(names: LabNames, hosts: number): string {
  const chains = range(hosts).map(
    (host) => `
      chain port${host} {
        type filter hook ingress device "${names.port(host)}" priority filter
        ether type arp accept
        ether daddr != { ${CLOUD_MAC}, ${CONTROL_MAC} } counter name peers accept
        ip daddr ${names.control} counter name control${host} accept
        ip daddr { ${names.routers}, 192.168.0.0/16 } counter name peers accept
      }`,
  );
  const counters = range(hosts).map((host) => `counter control${host} {}`);
  return `table netdev proof {\n counter peers {}\n ${counters.join('\n ')}\n ${chains.join('\n')}\n}`;
}

/** Kernel settings of a router's namespace. */
export const ROUTER_SETTINGS = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/disable_ipv6': '1',
  'net/ipv6/conf/default/disable_ipv6': '1',
  // A segment of an unknown connection is invalid, not a new connection.
  'net/netfilter/nf_conntrack_tcp_loose': '0',
};

/** Kernel settings of the cloud's namespace: it relays nothing. */
export const CLOUD_SETTINGS = {
  'net/ipv4/ip_forward': '0',
  'net/ipv6/conf/all/disable_ipv6': '1',
  'net/ipv6/conf/default/disable_ipv6': '1',
};

/** 1 to `count`. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

function lines(...all: string[]): string {
  return all.map((line) => `${line}\n`).join('');
}
