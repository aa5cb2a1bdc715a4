import type {
  Authorization,
  AuthorizedEvent,
  ConnectEvent,
  DisconnectEvent,
  HttpEvent,
  HttpResult,
  MessageEvent,
} from './ports/events.ts';
import type { Job } from './ports/jobs.ts';

/** Every entry point of the control plane. Each call loads what it needs and leaves nothing behind but records; any two may run at once. */
export interface Functions {
  http(event: HttpEvent): Promise<HttpResult>;
  /** Decides whether a websocket may open. */
  authorize(event: ConnectEvent): Promise<Authorization>;
  connect(event: AuthorizedEvent): Promise<void>;
  message(event: MessageEvent): Promise<void>;
  disconnect(event: DisconnectEvent): Promise<void>;
  job(job: Job): Promise<void>;
}
