import { Hono, type Context } from 'hono';

import { FairleadError, isFairleadError } from '#shared/errors.ts';
import { async, error as errorEnvelope, sync } from '#shared/lxd/envelope.ts';
import { operationPath } from '#shared/lxd/operation.ts';
import { parse, quote } from '#shared/lxd/parse.ts';
import { hostName } from '#shared/lxd/names.ts';

import { projectNamed } from '../domain/projects.ts';
import { allows, type Actor } from '../domain/trust/actor.ts';
import { authenticate } from '../domain/trust/users.ts';
import type { Ports } from '../ports/ports.ts';
import { parseBody, RouteTable, type Answer, type Call, type Route } from './route.ts';
import { fleetRoutes } from './routes/fleet.ts';
import { imageRoutes } from './routes/images.ts';
import { instanceRoutes } from './routes/instances.ts';
import { moveRoutes } from './routes/moves.ts';
import { operationRoutes } from './routes/operations.ts';
import { profileRoutes } from './routes/profiles.ts';
import { serverRoutes } from './routes/server.ts';
import { trustRoutes } from './routes/trust.ts';

/** Where the adapter tells the caller's address; never a header a caller could set. */
export interface Environment {
  readonly sourceIp: string;
}

/** Nobody: what `public` routes see when the caller is unknown. */
const ANONYMOUS: Actor = { user: '', role: 'viewer', address: '' };

/** The routes of the API. */
export function routeTable(): RouteTable {
  return new RouteTable().add(
    ...serverRoutes,
    ...instanceRoutes,
    ...imageRoutes,
    ...profileRoutes,
    ...moveRoutes,
    ...operationRoutes,
    ...fleetRoutes,
    ...trustRoutes,
  );
}

/** The API as a Hono app: every answer, errors included, in LXD's envelopes. */
export function createApp(ports: Ports): Hono<{ Bindings: Environment }> {
  const app = new Hono<{ Bindings: Environment }>();
  app.use(async (c, next) => {
    refuseForeignHost(ports, c.req.header('host'));
    await next();
  });
  for (const route of routeTable().routes) app.on(route.method, route.path, (c) => serve(ports, route, c));
  app.notFound((c) => respondError(c, new FairleadError('not_found', 'not found')));
  app.onError((error, c) => {
    if (isFairleadError(error)) return respondError(c, error);
    ports.log.error('request failed', { method: c.req.method, path: c.req.path, error: error.stack ?? error.message });
    return respondError(
      c,
      new FairleadError('internal', 'Something went wrong in the control plane; its log says what. Try again.'),
    );
  });
  return app;
}

async function serve(ports: Ports, route: Route, c: Context<{ Bindings: Environment }>): Promise<Response> {
  const actor = await identify(ports, c.req.header('authorization'), c.env.sourceIp);
  if (!allows(actor?.role, route.entitlement)) throw refusal(actor);
  const text = await bodyOf(c);
  const query = c.req.query();
  const call: Call = {
    ports,
    actor: actor ?? ANONYMOUS,
    params: paramsOf(c),
    query,
    header: (name) => c.req.header(name),
    project: projectNamed(query['project']),
    target: query['target'] ? parse(hostName, query['target'], 'target') : undefined,
    body: (schema, what) => parseBody(text, schema, what),
  };
  return respond(c, await route.handle(call));
}

/** The most a request may say; whatever is larger goes to Objects. */
export const MAX_BODY_BYTES = 1024 * 1024;

/** Counted, whatever Content-Length said. */
async function bodyOf(c: Context): Promise<string> {
  const bytes = Buffer.from(await c.req.arrayBuffer());
  if (bytes.length <= MAX_BODY_BYTES) return bytes.toString();
  throw new FairleadError(
    'body_too_large',
    `A request says at most ${MAX_BODY_BYTES} bytes, this one ${bytes.length}. Send files as an upload.`,
  );
}

/** Longer than any name there is. */
const MAX_PARAM_CHARS = 255;

/** Names in the path become keys of records: what can be no name of anything is refused before anybody looks it up. */
function paramsOf(c: Context): Record<string, string> {
  const params: Record<string, string> = c.req.param();
  const bad = Object.values(params).find(
    (value) => value.length > MAX_PARAM_CHARS || /\p{Cc}/u.test(value) || !value.isWellFormed(),
  );
  if (bad === undefined) return params;
  throw new FairleadError('not_found', `${quote(bad)} is not the name of anything.`);
}

/** LXD says 403 to whoever it does not trust, and to whoever may not. */
function refusal(actor: Actor | undefined): FairleadError {
  if (actor === undefined) return new FairleadError('forbidden', 'not authorized');
  return new FairleadError(
    'forbidden',
    `Your role (${actor.role}) does not allow this. Ask an administrator of the fleet.`,
  );
}

/** Undefined for a caller without credentials. @throws FairleadError `unauthenticated` for credentials that are not good. */
async function identify(ports: Ports, authorization: string | undefined, address: string): Promise<Actor | undefined> {
  if (authorization === undefined) return undefined;
  const [scheme, token = ''] = authorization.split(' ');
  const actor = scheme?.toLowerCase() === 'bearer' ? await authenticate(ports, token, address) : undefined;
  if (actor !== undefined) return actor;
  throw new FairleadError('unauthenticated', 'The API token is not valid: it is wrong, expired, or was revoked.');
}

function respond(c: Context, answer: Answer): Response {
  if ('text' in answer) return c.text(answer.text);
  if ('operation' in answer) {
    const location = operationPath(answer.operation.id);
    return c.json(async(answer.operation), 202, { Location: location });
  }
  const headers = {
    ...(answer.etag !== undefined && { ETag: answer.etag }),
    ...(answer.created !== undefined && { Location: answer.created }),
  };
  return c.json(sync(answer.sync) as never, answer.created === undefined ? 200 : 201, headers);
}

function respondError(c: Context, error: FairleadError): Response {
  return c.json(errorEnvelope(error.status, error.message), error.status as never);
}

/** A literal address cannot be rebound by DNS; a name must be ours. */
const LITERAL = /^(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:.]+\]|localhost)(:\d+)?$/i;

function refuseForeignHost(ports: Ports, host: string | undefined): void {
  if (host === undefined || LITERAL.test(host) || host === new URL(ports.deployment.publicUrl).host) return;
  throw new FairleadError('wrong_server', 'This server does not answer for that host name. Use its public URL.');
}
