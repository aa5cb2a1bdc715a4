import { connect as connectTcp, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';

import { FairleadError } from '#shared/errors.ts';

/** The answer to a dial: a socket that is connected and, with TLS, whose certificate was accepted. */
type Connected = (error: Error | null, socket: Duplex) => void;

interface Target {
  readonly url: URL;
  /** SHA-256 (lower case hex) the server's certificate must have; without one the system's authorities decide. */
  readonly pin?: string | undefined;
}

/**
 * A `createConnection` for node:http(s) and ws which hands the socket over only after its certificate was accepted, so that not
 * one byte goes to a stranger. Plain http is for this machine itself only.
 */
export function dialling({ url, pin }: Target): (options: unknown, done: Connected) => undefined {
  return (_options, done) => {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const secure = url.protocol === 'https:' || url.protocol === 'wss:';
    const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
    if (secure) openTls({ host, port, pin, name: url.host }, done);
    else if (isLoopback(host)) open(connectTcp({ host, port }), 'connect', done);
    else fail(done, insecure(url.host));
    return undefined;
  };
}

interface TlsTarget {
  readonly host: string;
  readonly port: number;
  readonly pin: string | undefined;
  readonly name: string;
}

function openTls(to: TlsTarget, done: Connected): void {
  const { host, port, pin, name } = to;
  const socket = connectTls({
    host,
    port,
    // Names of addresses are not sent (RFC 6066 §3).
    ...(isIP(host) === 0 && { servername: host }),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    // With a pin the fingerprint decides, below, before the socket is handed over.
    rejectUnauthorized: pin === undefined,
  });
  open(socket, 'secureConnect', (error, ready) => {
    if (error && isDistrust(error) && trustSystem()) openTls(to, done);
    else if (error) fail(done, explain(error, name));
    else if (pin === undefined || fingerprintOf(socket) === pin) done(null, ready);
    else {
      const seen = fingerprintOf(socket);
      socket.destroy();
      fail(done, wrongCertificate(name, pin, seen));
    }
  });
}

function open(socket: Socket, ready: 'connect' | 'secureConnect', done: Connected): void {
  const onError = (error: Error): void => fail(done, error);
  socket.once('error', onError);
  socket.once(ready, () => {
    socket.removeListener('error', onError);
    done(null, socket);
  });
}

/** node's type wants a socket also beside an error; its code does not look at it. */
function fail(done: Connected, error: Error): void {
  (done as (error: Error) => void)(error);
}

function fingerprintOf(socket: TLSSocket): string {
  return (socket.getPeerCertificate().fingerprint256 ?? '').replaceAll(':', '').toLowerCase();
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** TLS failures that mean "a stranger", as opposed to "no network" or "this clock is behind"; their codes are OpenSSL's. */
const DISTRUST = /^(CERT_(?!NOT_YET_VALID)|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|ERR_TLS_CERT_ALTNAME)/;

function isDistrust(error: Error): boolean {
  return 'code' in error && DISTRUST.test(String(error.code));
}

let systemTrusted = false;

/**
 * Adds the authorities installed on this machine to node's own, for the whole process. They take a dozen megabytes, so only a server that node's
 * own do not vouch for makes us read them. False when that was done before.
 */
function trustSystem(): boolean {
  if (systemTrusted) return false;
  systemTrusted = true;
  setDefaultCACertificates([...getCACertificates('default'), ...getCACertificates('system')]);
  return true;
}

function explain(error: Error, name: string): Error {
  if (!isDistrust(error)) return error;
  return new FairleadError(
    'unauthenticated',
    `The certificate of ${name} is not trusted on this host (${error.message}), so nothing was sent. Either install its authority, or join with a token that pins the certificate.`,
    { cause: error },
  );
}

function wrongCertificate(name: string, pin: string, seen: string): FairleadError {
  return new FairleadError(
    'unauthenticated',
    `${name} shows another certificate (sha256 ${seen}) than the one this host was joined to (${pin}), so nothing was sent. If the certificate was renewed on purpose, leave and join again with a new token; if not, someone is in between.`,
  );
}

function insecure(name: string): FairleadError {
  return new FairleadError(
    'bad_request',
    `http://${name} would send this host's secrets in clear over the network. Use the https:// address of the control plane.`,
  );
}
