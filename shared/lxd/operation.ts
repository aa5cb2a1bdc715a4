/** Background operations, as clients see them. */
import * as z from 'zod';

export const OPERATION_CLASSES = ['task', 'websocket', 'token'] as const;
export type OperationClass = (typeof OPERATION_CLASSES)[number];

export interface Operation {
  id: string;
  class: OperationClass;
  description: string;
  /** RFC 3339, as all times. */
  created_at: string;
  updated_at: string;
  status: string;
  status_code: number;
  /** Collection to URLs, e.g. `instances: ['/1.0/instances/c1']`; lxc 5.0.2 wants `containers` beside it. */
  resources: Record<string, string[]> | null;
  metadata: Record<string, unknown> | null;
  may_cancel: boolean;
  /** '' while nothing failed. */
  err: string;
  /** The host, or 'none' where the endpoint is one host. */
  location: string;
}

export const Operation: z.ZodType<Operation> = z.looseObject({
  id: z.string(),
  class: z.enum(OPERATION_CLASSES),
  description: z.string(),
  created_at: z.string(),
  updated_at: z.string(),
  status: z.string(),
  status_code: z.number(),
  resources: z.record(z.string(), z.array(z.string())).nullable(),
  metadata: z.record(z.string(), z.unknown()).nullable(),
  may_cancel: z.boolean(),
  err: z.string(),
  location: z.string(),
});

/** Path of an operation below the API root. */
export function operationPath(id: string): string {
  return `/1.0/operations/${id}`;
}
