/** What `GET /1.0/events` sends: one JSON object a text frame. */
import type { Operation } from './operation.ts';

export const EVENT_TYPES = ['operation', 'lifecycle', 'logging'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

interface EventOf<T extends EventType, M> {
  type: T;
  timestamp: string;
  metadata: M;
  /** The host it happened on, or 'none'. */
  location: string;
  project?: string;
}

export interface Lifecycle {
  /** e.g. `instance-started`. */
  action: string;
  /** URL of the object, e.g. `/1.0/instances/c1`. */
  source: string;
  context?: Record<string, unknown>;
  requestor?: { username: string; protocol: string; address: string };
  name?: string;
  project?: string;
}

export interface Logging {
  message: string;
  level: 'debug' | 'info' | 'warning' | 'error';
  context: Record<string, string>;
}

export type OperationEvent = EventOf<'operation', Operation>;
export type LifecycleEvent = EventOf<'lifecycle', Lifecycle>;
export type LoggingEvent = EventOf<'logging', Logging>;
export type Event = OperationEvent | LifecycleEvent | LoggingEvent;
