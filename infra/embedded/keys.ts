import { createPrivateKey, createSecretKey, X509Certificate, type KeyObject } from 'node:crypto';
import { join } from 'node:path';

import { FairleadError, messageOf } from '#shared/errors.ts';
import type { Clock, Random } from '../../functions/ports/ports.ts';
import { fingerprintOf, selfSigned, type Certificate } from './certificate.ts';
import { makePrivateDirectory, readIfThere, writePrivateFile } from './durable-file.ts';

const KEY_BYTES = 32;

/** The keys of one deployment, made on its first start and kept. */
export interface Keys {
  readonly tls: Certificate;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  /** Seals the tickets of streams. */
  readonly ticketKey: KeyObject;
  /** Signs the URLs of objects. */
  readonly signingKey: KeyObject;
}

export interface KeySources {
  readonly directory: string;
  /** DNS names and addresses of a certificate that has to be made. */
  readonly names: readonly string[];
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
}

/**
 * Reads the keys of `directory` (0700, files 0600) or makes them. A certificate of one's own may be put there as `server.crt` and `server.key`.
 * @throws FairleadError `unavailable` when a key is damaged: nothing replaces it silently, because hosts have pinned it.
 */
export function loadKeys({ directory, names, clock, random }: KeySources): Keys {
  makePrivateDirectory(directory);
  const tls = loadCertificate(directory, () => selfSigned(names, clock, random));
  return {
    tls,
    fingerprint: fingerprintOf(tls.certificate),
    ticketKey: loadSecret(join(directory, 'ticket.key'), random),
    signingKey: loadSecret(join(directory, 'url-signing.key'), random),
  };
}

function loadSecret(path: string, random: Random): KeyObject {
  const kept = readIfThere(path);
  if (kept !== undefined && kept.length !== KEY_BYTES) {
    throw new FairleadError(
      'unavailable',
      `${path} is damaged: it should be ${KEY_BYTES} bytes. Restore it, or delete it: links in flight end then`,
    );
  }
  const secret = kept ?? random.bytes(KEY_BYTES);
  if (kept === undefined) writePrivateFile(path, secret);
  return createSecretKey(secret);
}

function loadCertificate(directory: string, make: () => Certificate): Certificate {
  const [certificatePath, keyPath] = [join(directory, 'server.crt'), join(directory, 'server.key')];
  const certificate = readIfThere(certificatePath)?.toString();
  const key = readIfThere(keyPath)?.toString();
  if (certificate !== undefined && key !== undefined) {
    mustFit(certificate, key, directory);
    return { certificate, key };
  }
  if (certificate !== undefined) {
    throw new FairleadError(
      'unavailable',
      `${keyPath} is missing beside server.crt; restore it, or remove both to get a new pair (hosts must then join again)`,
    );
  }
  // The key goes first: a crash in between leaves a key alone, which the next start replaces.
  const made = make();
  writePrivateFile(keyPath, made.key);
  writePrivateFile(certificatePath, made.certificate);
  return made;
}

function mustFit(certificate: string, key: string, directory: string): void {
  let fits: boolean;
  try {
    fits = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new FairleadError(
      'unavailable',
      `server.crt or server.key in ${directory} cannot be read: ${messageOf(cause)}`,
      { cause },
    );
  }
  if (!fits)
    throw new FairleadError(
      'unavailable',
      `server.crt and server.key in ${directory} do not belong together; restore the right pair`,
    );
}
