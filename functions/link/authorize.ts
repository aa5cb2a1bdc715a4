import { isFairleadError, messageOf } from '#shared/errors.ts';

import { verifyHostProof, type ProofPorts } from '../domain/hosts/proof.ts';
import { DEFAULT_PROJECT, projectNamed } from '../domain/projects.ts';
import { allows } from '../domain/trust/actor.ts';
import { authenticate } from '../domain/trust/users.ts';
import type { Authorization, ConnectEvent } from '../ports/events.ts';

/** What the authorizer knows of a connection; it comes back, as strings, with each of its events. */
export interface ConnectionContext {
  readonly kind: 'host' | 'client' | 'events';
  /** Host id, or user name. */
  readonly id: string;
  readonly project: string;
  /** Event types, comma separated; empty for the usual ones. */
  readonly types: string;
  /** When the handshake was (ms). */
  readonly opened: string;
}

/** Where LXD's clients listen to events. */
export const EVENTS_PATH = '/1.0/events';

const DENIED: Authorization = { allow: false, context: {} };

/**
 * Decides whether a websocket may open: a host by its proof, a user by an API token. Why not is logged and not told.
 * @throws FairleadError `unavailable` when the store did not answer: that is no verdict, and whoever dials may try again at once
 */
export async function authorize(ports: ProofPorts, event: ConnectEvent): Promise<Authorization> {
  const [scheme, token = ''] = (event.headers['authorization'] ?? '').split(' ');
  if (scheme?.toLowerCase() !== 'bearer' || token === '') return DENIED;
  const { path, type: types = '' } = event.queryStringParameters;
  const opened = String(ports.clock.now());
  try {
    if (token.startsWith('flp_')) {
      const actor = await authenticate(ports, token, event.requestContext.sourceIp);
      if (actor === undefined) return DENIED;
      const project = projectNamed(event.queryStringParameters['project']);
      const kind = path === EVENTS_PATH ? 'events' : 'client';
      if (!allows(actor.role, kind === 'events' ? 'view' : 'operate')) return DENIED;
      return granted({ kind, id: actor.user, project, types, opened });
    }
    const host = await verifyHostProof(ports, token);
    return granted({ kind: 'host', id: host.id, project: DEFAULT_PROJECT, types: '', opened });
  } catch (error) {
    if (isFairleadError(error, 'unavailable')) throw error;
    ports.log.info('websocket refused', { address: event.requestContext.sourceIp, why: messageOf(error) });
    return DENIED;
  }
}

function granted(context: ConnectionContext): Authorization {
  return { allow: true, context: { ...context } };
}
