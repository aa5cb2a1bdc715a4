import type { z } from 'zod';

import { FairleadError } from '#shared/errors.ts';
import { parse } from '#shared/lxd/parse.ts';
import type { Operation } from '#shared/lxd/operation.ts';

import type { Actor, Entitlement } from '../domain/trust/actor.ts';
import type { Ports } from '../ports/ports.ts';

/** What a handler answers: LXD's sync or async envelope, or bytes as they are. */
export type Answer =
  | { readonly sync: unknown; readonly etag?: string; readonly created?: string }
  | { readonly operation: Operation }
  | { readonly text: string };

/** A request that was authenticated and may call this route. */
export interface Call {
  readonly ports: Ports;
  readonly actor: Actor;
  /** Path parameters, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly header: (name: string) => string | undefined;
  readonly project: string;
  /** `?target=`: the host meant. */
  readonly target: string | undefined;
  /** The body as this schema. @throws FairleadError `bad_request`. */
  readonly body: <S extends z.ZodType>(schema: S, what: string) => z.output<S>;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `:name` parameters. */
  readonly path: string;
  readonly entitlement: Entitlement;
  readonly handle: (call: Call) => Promise<Answer> | Answer;
}

/** Every route of the API. One without an entitlement does not register. */
export class RouteTable {
  readonly #routes: Route[] = [];

  add(...routes: readonly Route[]): this {
    for (const route of routes) {
      if (!(route.entitlement as string | undefined)) {
        throw new Error(`${route.method} ${route.path} declares no entitlement`);
      }
      this.#routes.push(route);
    }
    return this;
  }

  get routes(): readonly Route[] {
    return this.#routes;
  }
}

/** The deepest JSON a body may nest, and the longest array. */
const MAX_DEPTH = 32;
const MAX_ARRAY = 10_000;

/** Reads a JSON body whatever its content type says, as LXD does. An empty body reads as an empty object. */
export function parseBody<S extends z.ZodType>(text: string, schema: S, what: string): z.output<S> {
  let value: unknown;
  try {
    value = text.trim() === '' ? {} : JSON.parse(text);
  } catch (cause) {
    throw new FairleadError('bad_request', `The ${what} is not valid JSON.`, { cause });
  }
  if (!bounded(value))
    throw new FairleadError(
      'bad_request',
      `The ${what} nests deeper than ${MAX_DEPTH} levels, or holds an array of over ${MAX_ARRAY}.`,
    );
  return parse(schema, value, what);
}

/** Level by level, because recursion itself is what a deep body attacks. */
function bounded(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH || level.some((item) => Array.isArray(item) && item.length > MAX_ARRAY)) return false;
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
  }
  return true;
}
