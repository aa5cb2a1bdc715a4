/** Work that must outlive the handler that asked for it: an asynchronous invocation, at least once. */
export type Job =
  | { readonly kind: 'ingest'; readonly project: string; readonly operation: string }
  | { readonly kind: 'sweep' }
  /** The gateway itself began anew: no connection from before is open, no job from before is queued. */
  | { readonly kind: 'restarted' };

export interface Jobs {
  enqueue(job: Job): Promise<void>;
}
