import { createHash, KeyObject, sign, verify, webcrypto } from 'node:crypto';

/**
 * WebCrypto without threads. jose awaits it, and threads finish in no order that a seed could repeat: while a run lasts, what it uses is
 * done by node's synchronous functions, with the same results.
 */
export function withoutThreads(): () => void {
  const subtle = webcrypto.subtle;
  const own = { digest: subtle.digest, sign: subtle.sign, verify: subtle.verify };
  const replace = (name: keyof typeof own, value: unknown): void => {
    Object.defineProperty(subtle, name, { value, configurable: true, writable: true });
  };
  replace('digest', async (name: string, data: Uint8Array) => {
    const hash = createHash(name.replace('-', '').toLowerCase()).update(data).digest();
    return new Uint8Array(hash).buffer;
  });
  replace('sign', async (_name: unknown, key: webcrypto.CryptoKey, data: Uint8Array) => {
    return new Uint8Array(sign(null, data, KeyObject.from(key))).buffer;
  });
  replace('verify', async (_name: unknown, key: webcrypto.CryptoKey, signature: Uint8Array, data: Uint8Array) => {
    return verify(null, data, KeyObject.from(key), signature);
  });
  return () => {
    for (const name of ['digest', 'sign', 'verify'] as const) delete (subtle as Partial<typeof own>)[name];
  };
}
