import { X509Certificate, generateKeyPairSync, sign } from 'node:crypto';
import { isIP } from 'node:net';

import type { Clock, Random } from '../../functions/ports/ports.ts';
import { bits, explicit, implicit, integer, octets, oid, sequence, set, time, utf8, yes } from './der.ts';

/** LXD's lifetime of a server certificate. */
const YEARS = 10;
/** Clients whose clock is behind accept it too. */
const BACKDATE_MS = 24 * 3600_000;
const SERIAL_BYTES = 16;

const OID = {
  ecdsaSha384: '1.2.840.10045.4.3.3',
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  keyUsage: '2.5.29.15',
  alternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
};

export interface Certificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

/**
 * A self-signed ECDSA P-384 certificate for `names` (DNS names and IP addresses), good for ten years, to serve and to dial with: what LXD
 * makes for itself. Clients pin it by {@link fingerprintOf}.
 */
export function selfSigned(names: readonly string[], clock: Pick<Clock, 'now'>, random: Random): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const algorithm = sequence(oid(OID.ecdsaSha384));
  const subject = sequence(
    attribute(OID.organization, 'Fairlead'),
    attribute(OID.commonName, `fairlead@${names[0] ?? 'localhost'}`.slice(0, 64)),
  );
  const from = new Date(clock.now() - BACKDATE_MS);
  const until = new Date(from);
  until.setUTCFullYear(from.getUTCFullYear() + YEARS);
  const toBeSigned = sequence(
    explicit(0, integer(Uint8Array.of(2))),
    integer(random.bytes(SERIAL_BYTES)),
    algorithm,
    subject,
    sequence(time(from), time(until)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, extensions(names)),
  );
  const der = sequence(toBeSigned, algorithm, bits(sign('sha384', toBeSigned, privateKey)));
  return { certificate: pem(der), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/** LXD's fingerprint of a certificate: SHA-256 of its DER, lower-case hex. */
export function fingerprintOf(certificate: string): string {
  return new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase();
}

function extensions(names: readonly string[]): Buffer {
  const DIGITAL_SIGNATURE = Uint8Array.of(0x80);
  return sequence(
    sequence(oid(OID.basicConstraints), yes(), octets(sequence())),
    sequence(oid(OID.keyUsage), yes(), octets(bits(DIGITAL_SIGNATURE, 7))),
    sequence(oid(OID.extendedKeyUsage), octets(sequence(oid(OID.serverAuth), oid(OID.clientAuth)))),
    sequence(oid(OID.alternativeName), octets(sequence(...[...new Set(names)].map(alternativeName)))),
  );
}

function alternativeName(name: string): Buffer {
  const DNS_NAME = 2;
  const IP_ADDRESS = 7;
  return isIP(name) === 0 ? implicit(DNS_NAME, Buffer.from(name, 'latin1')) : implicit(IP_ADDRESS, addressBytes(name));
}

function attribute(type: string, value: string): Buffer {
  return set(sequence(oid(type), utf8(value)));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // URL writes IPv6 in one form, without dots and zone.
  const plain = new URL(`http://[${address.split('%')[0]}]`).hostname.slice(1, -1);
  const [left = '', right] = plain.split('::');
  const groups = (text: string) => text.split(':').filter((group) => group !== '');
  const [before, after] = [groups(left), groups(right ?? '')];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
