import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, CompactSign, type JWK } from 'jose';
import { join } from 'node:path';

import { FairleadError } from '#shared/errors.ts';
import { readIfThere, writeDurably } from '../durable.ts';

/** The host's Ed25519 key: made here, never leaves. */
export interface HostKey {
  readonly jwk: JWK;
  /** RFC 7638 thumbprint; the `kid` of what it signs. */
  readonly thumbprint: string;
  /** A compact JWS over the payload. `typ` tells the verifier what the signature is for, so that none serves twice. */
  sign(typ: string, payload: Readonly<Record<string, unknown>>): Promise<string>;
}

/** Loads the key of `<stateDir>/identity/key.pem`, or makes it (mode 0600, on disk before it is used). */
export async function loadOrMakeKey(stateDir: string): Promise<HostKey> {
  return (await loadKey(stateDir)) ?? (await makeKey(stateDir));
}

/**
 * Loads the key; undefined when there is none.
 * @throws FairleadError `internal` for a file that holds no Ed25519 key
 */
export async function loadKey(stateDir: string): Promise<HostKey | undefined> {
  const path = keyPath(stateDir);
  const pem = await readIfThere(path);
  if (pem === undefined) return undefined;
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  if (key.asymmetricKeyType !== 'ed25519') throw unreadable(path);
  return hostKey(key);
}

async function makeKey(stateDir: string): Promise<HostKey> {
  const { privateKey } = generateKeyPairSync('ed25519');
  await writeDurably(keyPath(stateDir), String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
  return hostKey(privateKey);
}

async function hostKey(key: KeyObject): Promise<HostKey> {
  const { kty, crv, x } = createPublicKey(key).export({ format: 'jwk' });
  const jwk = { kty, crv, x } as JWK;
  const thumbprint = await calculateJwkThumbprint(jwk);
  return {
    jwk,
    thumbprint,
    sign: (typ, payload) =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader({ alg: 'EdDSA', typ, kid: thumbprint })
        .sign(key),
  };
}

function keyPath(stateDir: string): string {
  return join(stateDir, 'identity', 'key.pem');
}

function unreadable(path: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'internal',
    `${path} does not hold this host's Ed25519 key, so the host cannot prove who it is. Restore the file, or run "fairlead-connector leave" and join again with a new token.`,
    { cause },
  );
}
