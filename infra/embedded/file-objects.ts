import type { KeyObject } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';

import { FairleadError } from '#shared/errors.ts';
import { SIGNED_URL_MS, type Objects } from '../../functions/ports/objects.ts';
import type { Clock } from '../../functions/ports/ports.ts';
import { mustBePossible, putHeaders } from '../../functions/ports/signed.ts';
import { objectRequestHandler } from './object-requests.ts';
import { isObjectKey, openObjectFiles } from './object-files.ts';
import { signGrant } from './signed-urls.ts';

/** Longer file names are of no use to anyone who saves the download. */
const MAX_AS = 255;

export interface FileObjects extends Objects {
  /** Answers a request below `/objects/`; only with a signature that fits. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

export interface FileObjectsOptions {
  /** Directory of the files, made with mode 0700. */
  readonly root: string;
  /** Where hosts reach this server: signed URLs begin so. */
  readonly publicUrl: string;
  /** 32 bytes: signs the URLs. */
  readonly signingKey: KeyObject;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * Objects as files, with URLs signed by HMAC that {@link FileObjects.handle} serves.
 * @throws FairleadError `bad_name` for keys that are no plain path, `bad_request` for impossible terms, `disk_full`.
 */
export async function openFileObjects({
  root,
  publicUrl,
  signingKey,
  clock,
}: FileObjectsOptions): Promise<FileObjects> {
  const files = await openObjectFiles(root);
  const expires = () => clock.now() + SIGNED_URL_MS;
  const base = publicUrl.replace(/\/+$/, '');
  return {
    signPut: async (key, { length, sha256, once }) => {
      mustBeKey(key);
      mustBePossible({ length, sha256, once });
      const grant = { method: 'PUT', key, expires: expires(), length, sha256, once } as const;
      return { url: base + signGrant(signingKey, grant), headers: putHeaders(grant) };
    },
    signGet: async (key, { as } = {}) => {
      mustBeKey(key);
      const name = as?.slice(0, MAX_AS).toWellFormed();
      return (
        base +
        signGrant(signingKey, { method: 'GET', key, expires: expires(), ...(name !== undefined && { as: name }) })
      );
    },
    put: async (key, bytes) => {
      await files.write(key, Readable.from([bytes], { objectMode: false }), { once: false });
    },
    get: async (key) => {
      const head = await files.head(key);
      if (head === undefined) throw new FairleadError('not_found', `there is no object ${key}`);
      return head.length === 0 ? Readable.from([]) : files.read(key, 0, head.length);
    },
    head: (key) => files.head(key),
    list: (prefix) => files.list(prefix),
    delete: (key) => files.remove(key),
    handle: objectRequestHandler({ files, signingKey, clock }),
  };
}

function mustBeKey(key: string): void {
  if (!isObjectKey(key)) throw new FairleadError('bad_name', `${JSON.stringify(key).slice(0, 100)} is no object key`);
}
