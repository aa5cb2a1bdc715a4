import { hostname } from 'node:os';
import { isIPv6, type AddressInfo, type Server } from 'node:net';

import { FairleadError, messageOf } from '#shared/errors.ts';

export interface ListenAddress {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

/**
 * Reads `host:port`, `[v6]:port` or `:port` (every address).
 * @throws FairleadError `bad_request` for anything else.
 */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match && port <= 65_535) return { host: match[1] ?? (match[2] || '::'), port };
  throw new FairleadError(
    'bad_request',
    `${JSON.stringify(text)} is no address to listen on; write host:port, such as 127.0.0.1:8443`,
  );
}

/**
 * Reads the URL under which users and hosts reach a deployment, without a slash at its end.
 * @throws FairleadError `bad_request` when it is not https with a host, or has more than that.
 */
export function parsePublicUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url?.protocol === 'https:' && url.pathname === '/' && !url.search && !url.hash && !url.username;
  if (url !== undefined && plain) return url.origin;
  throw new FairleadError(
    'bad_request',
    `${JSON.stringify(text)} is no public URL; write https://host or https://host:port`,
  );
}

/** The address as a part of a URL; where every address is meant, the machine's name stands for them. */
export function urlOf({ host, port }: ListenAddress): string {
  const name = host === '::' || host === '0.0.0.0' ? hostname() : host;
  return `https://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}

/**
 * Listens, and says where.
 * @throws FairleadError `unavailable` with what to do about it.
 */
export async function listen(server: Server, { host, port }: ListenAddress): Promise<ListenAddress> {
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error) => reject(listenError(cause, { host, port }));
    server.once('error', fail);
    server.listen(port, host, () => {
      server.off('error', fail);
      resolve();
    });
  });
  return { host, port: (server.address() as AddressInfo).port };
}

function listenError(cause: Error & { code?: string }, { host, port }: ListenAddress): FairleadError {
  const where = isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: `${where} is already in use; stop the program that listens there, or choose another address with --listen`,
    EACCES: `this user may not listen on ${where}; choose a port above 1023 with --listen`,
    EADDRNOTAVAIL: `${host} is no address of this machine; choose one that is with --listen`,
    ENOTFOUND: `the name ${host} has no address; choose another with --listen`,
  };
  return new FairleadError('unavailable', why[cause.code ?? ''] ?? `cannot listen on ${where}: ${messageOf(cause)}`, {
    cause,
  });
}
