import { request as httpsRequest, type Agent } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';

import { ERROR_STATUS, FairleadError, messageOf, type ErrorCode } from '#shared/errors.ts';
import { websocketUrl } from '#shared/link/address.ts';
import type { Operation } from '#shared/lxd/operation.ts';
import type { Server } from '#shared/lxd/server.ts';
import type { Settings } from './settings.ts';

/** Longer than the server holds a `wait`. */
const REQUEST_TIMEOUT_MS = 60_000;
/** A throttled request did nothing, so it is sent again: after a second at most, then after up to twice as long each time. */
const MAX_THROTTLED = 6;
const THROTTLED_MS = 1000;
/** The largest answer read into memory; a fleet's instances with their state stay below. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Sending {
  readonly query?: Query | undefined;
  readonly body?: unknown;
  /** Sent as `If-Match`. */
  readonly etag?: string | undefined;
}

/** What came back, out of its envelope. */
export interface Answer<T> {
  readonly metadata: T;
  /** The operation a request started; its id is {@link Operation.id}. */
  readonly async: boolean;
  readonly etag: string | undefined;
  /** The server's clock, milliseconds since 1970. */
  readonly date: number | undefined;
}

/** What it takes to open a websocket. */
export interface SocketAddress {
  readonly url: string;
  readonly agent: Agent;
  readonly headers: Record<string, string>;
}

/** A path with each value escaped: url`/1.0/images/aliases/${'a/b'}` is /1.0/images/aliases/a%2Fb. */
export function url(parts: TemplateStringsArray, ...values: readonly string[]): string {
  return String.raw({ raw: parts }, ...values.map(encodeURIComponent));
}

/** The control plane's API. Every failure is a {@link FairleadError} with the server's own sentence where it gave one. */
export class ControlPlane {
  readonly settings: Settings;
  readonly agent: Agent;

  readonly #pause: (ms: number) => Promise<unknown>;
  #linkUrl: Promise<string | undefined> | undefined;

  constructor(settings: Settings, agent: Agent, pause: (ms: number) => Promise<unknown> = sleep) {
    this.settings = settings;
    this.agent = agent;
    this.#pause = pause;
  }

  /** The metadata of a GET. */
  async get<T>(path: string, query?: Query): Promise<T> {
    return (await this.call<T>('GET', path, { query })).metadata;
  }

  /** A body that comes without an envelope, e.g. a log. */
  async text(path: string, query?: Query): Promise<string> {
    const response = await this.#exchange('GET', path, { query });
    const content = await body(response);
    if (response.statusCode === 200) return content;
    throw refusal(response.statusCode ?? 0, this.#envelope(response, content).error);
  }

  /** A request that answers when it is done. */
  async send<T = unknown>(method: Method, path: string, sending: Sending = {}): Promise<T> {
    return (await this.call<T>(method, path, sending)).metadata;
  }

  /** A request that goes on as an operation. */
  async start(method: Method, path: string, sending: Sending = {}): Promise<Operation> {
    const answer = await this.call<Operation>(method, path, sending);
    if (answer.async) return answer.metadata;
    throw new FairleadError(
      'protocol',
      `${method} ${path} was answered without an operation: client and server do not fit together.`,
    );
  }

  async call<T>(method: Method, path: string, sending: Sending = {}): Promise<Answer<T>> {
    const response = await this.#exchange(method, path, sending);
    const envelope = this.#envelope(response, await body(response));
    if (envelope.type === 'error') throw refusal(response.statusCode ?? 0, envelope.error);
    const date = Date.parse(response.headers.date ?? '');
    return {
      metadata: envelope.metadata as T,
      async: envelope.type === 'async',
      etag: response.headers.etag,
      date: Number.isNaN(date) ? undefined : date,
    };
  }

  /** Address, header and agent for a websocket to `path`. @throws FairleadError when the control plane does not say where they are opened */
  async socket(path: string): Promise<SocketAddress> {
    const url = websocketUrl(this.settings.url, await this.linkUrl(), path);
    return { url, agent: this.agent, headers: this.#headers() };
  }

  /** Where websockets are opened, when that is not at the control plane's own URL; asked once. */
  linkUrl(): Promise<string | undefined> {
    this.#linkUrl ??= this.get<Server>('/1.0').then(
      ({ environment }) => environment?.fleet_link,
      (error: unknown) => {
        this.#linkUrl = undefined;
        throw error;
      },
    );
    return this.#linkUrl;
  }

  /** Closes idle connections, so that the process can end. */
  close(): void {
    this.agent.destroy();
  }

  /** The error for a connection that failed: where it went, why, and what to do. */
  unreachable(cause: unknown): FairleadError {
    if (cause instanceof FairleadError) return cause;
    const { url, source } = this.settings;
    return new FairleadError(
      'unavailable',
      `Can not reach the control plane at ${url} (from ${source}): ${reason(cause)}. If it should run on this machine, start one with: fairlead up`,
      { cause },
    );
  }

  #headers(): Record<string, string> {
    return { authorization: `Bearer ${this.settings.token}` };
  }

  async #exchange(method: Method, path: string, sending: Sending): Promise<IncomingMessage> {
    for (let attempt = 0; ; attempt += 1) {
      const response = await this.#once(method, path, sending);
      if (response.statusCode !== 429 || attempt === MAX_THROTTLED) return response;
      response.resume();
      await this.#pause(Math.random() * THROTTLED_MS * 2 ** attempt);
    }
  }

  #once(method: Method, path: string, { query, body: content, etag }: Sending): Promise<IncomingMessage> {
    const target = new URL(path, this.settings.url);
    for (const [key, value] of Object.entries(query ?? {})) {
      if (value !== undefined) target.searchParams.set(key, String(value));
    }
    const payload = content === undefined ? undefined : Buffer.from(JSON.stringify(content));
    const headers = {
      ...this.#headers(),
      accept: 'application/json',
      // A large fleet's instances do not fit an answer otherwise.
      'accept-encoding': 'gzip',
      ...(payload && { 'content-type': 'application/json', 'content-length': payload.length }),
      ...(etag !== undefined && { 'if-match': etag }),
    };
    return new Promise((resolve, reject) => {
      const request = httpsRequest(
        target,
        { method, headers, agent: this.agent, timeout: REQUEST_TIMEOUT_MS },
        resolve,
      );
      request.on('timeout', () => request.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS / 1000} s`)));
      request.on('error', (cause) => reject(this.unreachable(cause)));
      request.end(payload);
    });
  }

  #envelope(response: IncomingMessage, text: string): { type: string; metadata: unknown; error: string } {
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null && 'type' in value) {
        return value as { type: string; metadata: unknown; error: string };
      }
    } catch {
      // Falls through: no JSON is told like JSON of another kind.
    }
    const what = `${response.statusCode} ${response.statusMessage ?? ''}`.trim();
    throw new FairleadError(
      'protocol',
      `${this.settings.url} answered "${what}" and not as a Fairlead control plane does. Is the address right?`,
    );
  }
}

async function body(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of decoded(response) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES)
        throw new FairleadError('protocol', 'The answer is too large: ask for less, e.g. one host.');
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof FairleadError) throw cause;
    throw new FairleadError(
      'unavailable',
      `The connection was lost in the middle of an answer: ${reason(cause)}. Try again.`,
      { cause },
    );
  }
  return Buffer.concat(chunks).toString();
}

/** The body as it was before it was compressed. */
function decoded(response: IncomingMessage): Readable {
  if (response.headers['content-encoding'] !== 'gzip') return response;
  // Either one's failure ends the other, and whoever reads it.
  return pipeline(response, createGunzip(), () => undefined);
}

const CODE_BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  412: 'etag_mismatch',
  429: 'rate_limited',
  503: 'unavailable',
};

/** The server's refusal; LXD's envelope carries a status but no code, so the code is the usual one of that status. */
function refusal(status: number, sentence: string): FairleadError {
  const code = CODE_BY_STATUS[status] ?? (status >= ERROR_STATUS.internal ? 'internal' : 'bad_request');
  return new FairleadError(code, sentence || `The server refused with status ${status} and gave no reason.`);
}

/** Node puts the reasons of a failed dual-stack connect into an AggregateError without a message. */
function reason(cause: unknown): string {
  if (cause instanceof AggregateError) return [...new Set(cause.errors.map(messageOf))].join(', ');
  return messageOf(cause);
}
