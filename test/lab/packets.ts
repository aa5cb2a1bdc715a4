/** The proof in numbers: what passed between hosts, what tried to come in, and that the counters count at all. */
import { readCounters } from './netns.ts';
import { range } from './network.ts';
import type { LabNames } from './network.ts';

export interface Packets {
  /** Sent by one site towards another (or broadcast to all), counted where the wan takes them. Must stay 0. */
  sentToPeers: number;
  /** Received by a site from another, whatever way they took. Must stay 0. */
  receivedFromPeers: number;
  /** New connections from the wan that a site's router refused. Must stay 0. */
  inbound: number;
  /** From each host to the control plane: the positive control, so that a 0 above means something. */
  toControl: number[];
}

/** Reads all counters of a lab. */
export async function readPackets(names: LabNames, hosts: number): Promise<Packets> {
  const wan = await readCounters(names.cloud);
  const routers = await Promise.all(range(hosts).map((host) => readCounters(names.router(host))));
  const overRouters = (counter: string) => routers.reduce((sum, counters) => sum + (counters.get(counter) ?? NaN), 0);
  return {
    sentToPeers: wan.get('peers') ?? NaN,
    receivedFromPeers: overRouters('peers'),
    inbound: overRouters('inbound'),
    toControl: range(hosts).map((host) => wan.get(`control${host}`) ?? NaN),
  };
}
