/** LXD's status codes: operations and instances share one space. Below 200 a thing goes on; from 200 an operation is final. */

export const STATUS = {
  created: 100,
  started: 101,
  stopped: 102,
  running: 103,
  cancelling: 104,
  pending: 105,
  starting: 106,
  stopping: 107,
  aborting: 108,
  freezing: 109,
  frozen: 110,
  thawed: 111,
  error: 112,
  ready: 113,
  success: 200,
  failure: 400,
  cancelled: 401,
} as const;

export type StatusCode = (typeof STATUS)[keyof typeof STATUS];

/** The `status` text that goes with each code; clients print it, upper-cased. */
export const STATUS_NAME: Readonly<Record<StatusCode, string>> = {
  100: 'Operation created',
  101: 'Started',
  102: 'Stopped',
  103: 'Running',
  104: 'Cancelling',
  105: 'Pending',
  106: 'Starting',
  107: 'Stopping',
  108: 'Aborting',
  109: 'Freezing',
  110: 'Frozen',
  111: 'Thawed',
  112: 'Error',
  113: 'Ready',
  200: 'Success',
  400: 'Failure',
  401: 'Cancelled',
};

/** The two status fields every LXD object carries, from one code. */
export function statusFields(code: StatusCode): { status: string; status_code: StatusCode } {
  return { status: STATUS_NAME[code], status_code: code };
}

/** True when an operation with this code will not change any more. */
export function isFinal(code: number): boolean {
  return code >= STATUS.success;
}

/** Go's zero time: LXD's "never" or "not known". A time field is never null; clients fail to decode that. */
export const NEVER = '0001-01-01T00:00:00Z';
