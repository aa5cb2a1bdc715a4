import { encodeFrame } from '#shared/link/frames.ts';
import type { Functions } from '../../functions/functions.ts';
import type { Ports } from '../../functions/ports/ports.ts';
import type { Key, Records, Write } from '../../functions/ports/records.ts';

/**
 * What AWS would bill for a piece of work, counted at the doors of the control plane. List prices of us-east-1 (US dollars), November 2026.
 * Durations are guesses on the high side; a test of the adapters on a real account may correct them.
 */

/** How long an invocation is billed for (ms), and its memory (GB) as infra/aws deploys it. */
const INVOCATIONS = {
  http: { ms: 40, gb: 1 },
  authorize: { ms: 30, gb: 0.5 },
  connect: { ms: 10, gb: 0.5 },
  message: { ms: 30, gb: 0.5 },
  disconnect: { ms: 20, gb: 0.5 },
  job: { ms: 500, gb: 1 },
} as const satisfies Record<keyof Functions, { ms: number; gb: number }>;

const MILLION = 1_000_000;
const PRICES = {
  readUnits: 0.125 / MILLION,
  writeUnits: 0.625 / MILLION,
  /** Of a WebSocket API, either way, by 32 KB. */
  messages: 1 / MILLION,
  connectionMinutes: 0.25 / MILLION,
  httpRequests: 1 / MILLION,
  invocations: 0.2 / MILLION,
  gigabyteSeconds: 13.3334 / MILLION,
  objectWrites: 5 / MILLION,
  objectReads: 0.4 / MILLION,
} as const;

export type Bill = Record<keyof typeof PRICES, number>;

const READ_UNIT = 4096;
const WRITE_UNIT = 1024;
const MESSAGE_UNIT = 32_000;
/** Names and numbers of a record besides its keys and data: `rev`, `written`, `expires`, `ttl`. */
const RECORD_EXTRA = 100;

/** Nothing was used yet. */
export function emptyBill(): Bill {
  return Object.fromEntries(Object.keys(PRICES).map((name) => [name, 0])) as Bill;
}

/** A bill in dollars. */
export function priceOf(bill: Bill): number {
  return Object.entries(PRICES).reduce((sum, [name, price]) => sum + bill[name as keyof Bill] * price, 0);
}

/** The same bill so many times over. */
export function times(bill: Bill, factor: number): Bill {
  return Object.fromEntries(Object.entries(bill).map(([name, count]) => [name, count * factor])) as Bill;
}

/** Both bills together. */
export function sum(one: Bill, other: Bill): Bill {
  return Object.fromEntries(
    Object.entries(one).map(([name, count]) => [name, count + other[name as keyof Bill]]),
  ) as Bill;
}

/** The ports, with everything that goes through them on the bill. */
export function meterPorts(ports: Ports, bill: Bill): Ports {
  const { objects, links } = ports;
  const posted = (text: string) => {
    bill.messages += units(Buffer.byteLength(text), MESSAGE_UNIT);
  };
  return {
    ...ports,
    records: meterRecords(ports.records, bill),
    links: {
      post: (connection, frame) => {
        posted(encodeFrame(frame));
        return links.post(connection, frame);
      },
      postText: (connection, text) => {
        posted(text);
        return links.postText(connection, text);
      },
      close: (connection) => links.close(connection),
    },
    objects: {
      ...objects,
      put: before(() => (bill.objectWrites += 1), objects.put),
      list: before(() => (bill.objectWrites += 1), objects.list),
      get: before(() => (bill.objectReads += 1), objects.get),
      head: before(() => (bill.objectReads += 1), objects.head),
    },
    // A job is an object that is put and read.
    jobs: {
      enqueue: (job) => {
        bill.objectWrites += 1;
        bill.objectReads += 1;
        return ports.jobs.enqueue(job);
      },
    },
  };
}

/** The function, with something that happens before each of its calls. */
function before<A extends unknown[], R>(count: () => void, run: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    count();
    return run(...args);
  };
}

/** The functions, with every call on the bill. */
export function meterFunctions(functions: Functions, bill: Bill): Functions {
  const invoked = (name: keyof Functions) => {
    const { ms, gb } = INVOCATIONS[name];
    bill.invocations += 1;
    bill.gigabyteSeconds += (ms / 1000) * gb;
  };
  const metered = <A extends unknown[], R>(name: keyof Functions, run: (...args: A) => R) =>
    before(() => invoked(name), run);
  return {
    http: before(() => (bill.httpRequests += 1), metered('http', functions.http)),
    authorize: metered('authorize', functions.authorize),
    // Whether the handshake counts as a message is not said; here it does.
    connect: before(() => (bill.messages += 1), metered('connect', functions.connect)),
    message: (event) => {
      invoked('message');
      bill.messages += units(Buffer.byteLength(event.body), MESSAGE_UNIT);
      return functions.message(event);
    },
    disconnect: metered('disconnect', functions.disconnect),
    job: metered('job', functions.job),
  };
}

function meterRecords(records: Records, bill: Bill): Records {
  /** What was put where: a deletion costs by the size of what goes. */
  const sizes = new Map<string, number>();
  const cost = (write: Write, factor: number) => {
    const name = JSON.stringify(write.key);
    const size = write.op === 'put' ? sizeOf(write.key, write.data) : (sizes.get(name) ?? 0);
    if (write.op === 'put') sizes.set(name, size);
    bill.writeUnits += factor * units(size, WRITE_UNIT);
  };
  return {
    get: async <T>(key: Key) => {
      const found = await records.get<T>(key);
      bill.readUnits += units(found === undefined ? 0 : sizeOf(key, found.data), READ_UNIT);
      return found;
    },
    query: async <T>(...args: Parameters<Records['query']>) => {
      const page = await records.query<T>(...args);
      const size = page.items.reduce((total, item) => total + sizeOf(item, item.data), 0);
      bill.readUnits += units(size, READ_UNIT);
      return page;
    },
    transact: (writes) => {
      // A condition that fails costs as much.
      for (const write of writes) cost(write, writes.length > 1 || write.op === 'check' ? 2 : 1);
      return records.transact(writes);
    },
  };
}

function sizeOf({ pk, sk }: Key, data: unknown): number {
  return Buffer.byteLength(pk) + Buffer.byteLength(sk) + Buffer.byteLength(JSON.stringify(data)) + RECORD_EXTRA;
}

function units(bytes: number, unit: number): number {
  return Math.max(1, Math.ceil(bytes / unit));
}
