import { WebSocket, type ClientOptions } from 'ws';

import { HANDSHAKE_MS, PROTOCOL_VERSION } from '#shared/link/limits.ts';
import type { Check } from './check.ts';

/** How long an answer may take: a cold start, and then some. */
const ANSWER_MS = 10_000;
const POSTS = 100;
const MINUTE_MS = 60_000;
/** API Gateway cuts after ten idle minutes, and after two hours. */
const IDLE_BOUND_MS = 11 * MINUTE_MS;
const AGE_BOUND_MS = 121 * MINUTE_MS;
/** Both meanings of "32 KB" and "128 KB". */
const FRAMES = { safe: 32_000, binary: 32_768 };
const MESSAGES = { safe: 128_000, binary: 131_072 };
const FRAGMENT = 16_000;

export interface LinkWorld {
  /** With path, and headers that are let in. */
  readonly url: string;
  readonly options: ClientOptions;
  /** Posts to a connection by the management API; the status, 413 and 410 too. */
  post(connection: string, text: string): Promise<number>;
}

/** An open websocket: what came, and how it ended. */
class Talk {
  readonly socket: WebSocket;
  readonly received: string[] = [];
  readonly opened = performance.now();
  readonly closed: Promise<string>;
  #wake = () => {};

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => {
      this.received.push(data.toString());
      this.#wake();
    });
    this.closed = new Promise((resolve) => socket.once('close', (code) => resolve(`closed with ${code}`)));
    // A cut is told by its close.
    socket.on('error', () => undefined);
  }

  static async open({ url, options }: LinkWorld): Promise<Talk> {
    const socket = new WebSocket(url, { ...options, perMessageDeflate: false, handshakeTimeout: HANDSHAKE_MS });
    const talk = new Talk(socket);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    return talk;
  }

  /** The connection's id, which `welcome` tells. */
  async hello(): Promise<string> {
    this.socket.send(JSON.stringify({ t: 'hello', v: PROTOCOL_VERSION, boot: crypto.randomUUID() }));
    const welcome = JSON.parse(await this.next()) as { conn?: string };
    if (welcome.conn === undefined) throw new Error(`hello was answered with ${JSON.stringify(welcome)}`);
    return welcome.conn;
  }

  /** The next text. */
  async next(): Promise<string> {
    const outcome = await this.outcome(1);
    const text = this.received.shift();
    if (text === undefined) throw new Error(outcome);
    return text;
  }

  /** Waits for so many texts, for the end, or for too long. */
  async outcome(texts: number): Promise<string> {
    const late = AbortSignal.timeout(ANSWER_MS);
    const arrived = new Promise<string>((resolve) => {
      this.#wake = () => this.received.length >= texts && resolve('answered');
      this.#wake();
      late.addEventListener('abort', () => resolve(`nothing within ${ANSWER_MS / 1000} s`));
    });
    return Promise.race([arrived, this.closed]);
  }
}

/** What five minutes can tell of a websocket API. */
export function linkChecks(world: LinkWorld): Check[] {
  const talk = async <T>(use: (talk: Talk) => Promise<T>): Promise<T> => {
    const open = await Talk.open(world);
    try {
      return await use(open);
    } finally {
      open.socket.terminate();
    }
  };
  return [
    {
      question: 'a heartbeat is answered by the gateway itself',
      expected: '{"t":"hb"}',
      look: () =>
        talk((open) => {
          open.socket.send(JSON.stringify({ t: 'hb' }));
          return open.next();
        }),
    },
    ...Object.values(FRAMES).map((size, index) => ({
      question: `a frame of ${size} bytes is taken`,
      expected: index === 0 ? 'answered' : '',
      look: () =>
        talk((open) => {
          open.socket.send(filled(size));
          return open.outcome(1);
        }),
    })),
    {
      question: `a frame of ${FRAMES.binary + 1} bytes is refused`,
      expected: 'closed with 1009',
      look: () =>
        talk((open) => {
          open.socket.send(filled(FRAMES.binary + 1));
          return open.outcome(1);
        }),
    },
    ...Object.values(MESSAGES).map((size, index) => ({
      question: `a message of ${size} bytes in fragments is taken`,
      expected: index === 0 ? 'answered' : '',
      look: () =>
        talk((open) => {
          inFragments(open.socket, filled(size));
          return open.outcome(1);
        }),
    })),
    {
      question: 'a binary message is refused',
      expected: 'closed with 1003',
      look: () =>
        talk((open) => {
          open.socket.send(Buffer.from([0]));
          return open.outcome(1);
        }),
    },
    {
      question: 'a ping of the websocket protocol is answered',
      expected: 'pong',
      look: () =>
        talk(async ({ socket, closed }) => {
          const pong = new Promise<string>((resolve) => socket.once('pong', () => resolve('pong')));
          const late = new Promise<string>((resolve) => void setTimeout(resolve, ANSWER_MS, 'nothing').unref());
          socket.ping();
          return Promise.race([pong, closed, late]);
        }),
    },
    {
      question: `${POSTS} posts one after the other arrive in order`,
      expected: 'in order',
      look: () => talk((open) => order(world, open, 1)),
    },
    { question: `${POSTS} posts at once arrive`, expected: '', look: () => talk((open) => order(world, open, POSTS)) },
    ...[...Object.values(FRAMES), ...Object.values(MESSAGES)].map((size) => ({
      question: `a post of ${size} bytes is taken`,
      expected: size === FRAMES.safe || size === MESSAGES.safe ? '200' : '',
      look: () => talk(async (open) => String(await world.post(await open.hello(), 'x'.repeat(size)))),
    })),
    {
      question: 'a post to a connection that ended finds nobody',
      expected: '410',
      look: () => talk((open) => gone(world, open)),
    },
  ];
}

/** What takes ten minutes and two hours. */
export function longChecks(world: LinkWorld): Check[] {
  const until = async (bound: number, everyMinute: (socket: WebSocket) => void) => {
    const open = await Talk.open(world);
    const timer = setInterval(() => everyMinute(open.socket), MINUTE_MS);
    const late = new Promise<string>((resolve) => void setTimeout(resolve, bound, 'still open'));
    const outcome = await Promise.race([open.closed, late]);
    clearInterval(timer);
    open.socket.terminate();
    return `${outcome} after ${Math.round((performance.now() - open.opened) / 1000)} s`;
  };
  return [
    {
      question: 'silence ends a websocket',
      expected: 'closed with 1001 after 6',
      look: () => until(IDLE_BOUND_MS, () => {}),
    },
    {
      question: 'protocol pings keep one alive',
      expected: '',
      look: () => until(IDLE_BOUND_MS, (socket) => socket.ping()),
    },
    {
      question: 'two hours end a websocket',
      expected: 'closed with 1001 after 72',
      look: () => until(AGE_BOUND_MS, (socket) => socket.send(JSON.stringify({ t: 'hb' }))),
    },
  ];
}

/** A frame of a kind that nobody knows, which is answered with `refused`. */
function filled(size: number): string {
  const empty = JSON.stringify({ t: 'probe', x: '' });
  return JSON.stringify({ t: 'probe', x: 'x'.repeat(size - empty.length) });
}

function inFragments(socket: WebSocket, text: string): void {
  for (let at = 0; at < text.length; at += FRAGMENT)
    socket.send(text.slice(at, at + FRAGMENT), { fin: at + FRAGMENT >= text.length });
}

async function order(world: LinkWorld, open: Talk, atOnce: number): Promise<string> {
  const connection = await open.hello();
  const numbers = Array.from({ length: POSTS }, (_, number) => number);
  for (let at = 0; at < POSTS; at += atOnce) {
    await Promise.all(
      numbers.slice(at, at + atOnce).map((number) => world.post(connection, JSON.stringify({ number }))),
    );
  }
  await open.outcome(POSTS);
  const came = open.received.map((text) => (JSON.parse(text) as { number: number }).number);
  const late = came.filter((number, index) => index > 0 && number < (came[index - 1] ?? 0)).length;
  if (came.length !== POSTS) return `${came.length} of ${POSTS} arrived, ${late} late`;
  return late === 0 ? 'in order' : `${late} of ${POSTS} late`;
}

async function gone(world: LinkWorld, open: Talk): Promise<string> {
  const connection = await open.hello();
  open.socket.close();
  await open.closed;
  const giveUp = performance.now() + ANSWER_MS;
  let status = 0;
  while (status !== 410 && performance.now() < giveUp) status = await world.post(connection, '{}');
  return String(status);
}
