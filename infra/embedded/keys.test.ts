import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { fingerprintOf, selfSigned } from './certificate.ts';
import { systemClock } from './clock.ts';
import { loadKeys } from './keys.ts';
import { systemRandom } from './random.ts';
import { send } from './test-client.ts';

const NAMES = ['localhost', 'fairlead.example.org', '127.0.0.1', '::1', '2001:db8::1:0:2', '::ffff:10.0.0.1'];

describe('a self-signed certificate', () => {
  const made = selfSigned(NAMES, systemClock(), systemRandom);
  const parsed = new X509Certificate(made.certificate);

  it('carries the names and addresses, and its own signature', () => {
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    for (const name of NAMES.slice(0, 2)) expect(parsed.checkHost(name)).toBe(name);
    for (const address of NAMES.slice(2, 5)) expect(parsed.checkIP(address)).toBe(address);
    expect(parsed.subjectAltName).toContain('IP Address:0:0:0:0:0:FFFF:A00:1');
    expect(parsed.checkHost('other')).toBeUndefined();
    expect(parsed.ca).toBe(false);
    expect(parsed.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'secp384r1' });
    expect(parsed.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });

  it('is good from yesterday for ten years, also past 2050', () => {
    const years = (certificate: X509Certificate) =>
      (certificate.validToDate.getTime() - certificate.validFromDate.getTime()) / (365.25 * 86_400_000);
    expect(parsed.validFromDate.getTime()).toBeLessThan(Date.now());
    expect(years(parsed)).toBeCloseTo(10, 1);
    const late = new X509Certificate(
      selfSigned(['a'], { now: () => Date.parse('2045-06-01') }, systemRandom).certificate,
    );
    expect(late.validToDate.toISOString()).toBe('2055-05-31T00:00:00.000Z');
  });

  it('has LXD’s fingerprint: the SHA-256 of its DER, in lower-case hex', () => {
    expect(fingerprintOf(made.certificate)).toBe(createHash('sha256').update(parsed.raw).digest('hex'));
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('serves %s to a client that trusts it', async (version) => {
    const options = { key: made.key, cert: made.certificate, minVersion: version, maxVersion: version };
    const server = createServer(options, (_, response) => response.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    expect((await send(url, { ca: made.certificate })).body.toString()).toBe('hello');
    await expect(send(url)).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('the keys of a deployment', () => {
  let directory: string;
  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), 'keys-')), 'keys');
  });
  afterEach(() => rmSync(join(directory, '..'), { recursive: true }));
  const load = () => loadKeys({ directory, names: NAMES, clock: systemClock(), random: systemRandom });

  it('are made once and kept', () => {
    const [first, second] = [load(), load()];
    expect(second.tls).toEqual(first.tls);
    expect(second.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(second.ticketKey.equals(first.ticketKey)).toBe(true);
    expect(second.signingKey.equals(first.signingKey)).toBe(true);
    expect(second.signingKey.equals(first.ticketKey)).toBe(false);
  });

  it('are for the owner only, whatever the umask', () => {
    const before = process.umask(0);
    load();
    process.umask(before);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    const files = readdirSync(directory);
    expect(files.sort()).toEqual(['server.crt', 'server.key', 'ticket.key', 'url-signing.key']);
    for (const file of files) expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600);
  });

  it('are not replaced when one is damaged or does not fit', () => {
    const first = load();
    writeFileSync(join(directory, 'ticket.key'), 'short');
    expect(load).toThrow(/ticket.key is damaged/);
    rmSync(join(directory, 'ticket.key'));
    writeFileSync(join(directory, 'server.key'), selfSigned(['a'], systemClock(), systemRandom).key);
    expect(load).toThrow(/do not belong together/);
    rmSync(join(directory, 'server.key'));
    expect(load).toThrow(/server.key is missing/);
    expect(readFileSync(join(directory, 'server.crt'), 'utf8')).toBe(first.tls.certificate);
  });
});
