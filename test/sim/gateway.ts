import { FairleadError } from '#shared/errors.ts';
import { encodeFrame } from '#shared/link/frames.ts';
import type { Functions } from '../../functions/functions.ts';
import type { AuthorizedEvent } from '../../functions/ports/events.ts';
import type { Links } from '../../functions/ports/links.ts';
import type { Socket, SocketListener } from '../../host-connector/link/dial.ts';
import { Killed, type Invocations } from './invocations.ts';
import type { Run } from './run.ts';
import type { Mortal } from './timeline.ts';

/** API Gateway's limits of a connection. */
const IDLE_MS = 10 * 60_000;
const MAX_AGE_MS = 2 * 3600_000;
const LINK_PATH = '/1.0/fleet/link';

/** A place that connections come from: behind a partition nothing passes, and nobody is told. */
export interface Site {
  readonly name: string;
  partitioned: boolean;
}

/** One websocket, as either side of it believes it to be. */
interface Wire {
  readonly id: string;
  readonly site: Site;
  readonly process: Mortal;
  readonly listener: SocketListener;
  readonly requestContext: AuthorizedEvent['requestContext'];
  readonly openedAt: number;
  lastActive: number;
  /** Whether the gateway takes it for open, and whether its end does. */
  here: boolean;
  there: boolean;
}

/** The gateway: websockets whose frames are invocations of their own, in no order, perhaps twice, perhaps never. */
export class Gateway {
  readonly #run: Run;
  readonly #invocations: Invocations;
  readonly #wires = new Map<string, Wire>();
  #count = 0;
  /** Closed while the control plane restarts. */
  isUp = true;
  functions!: Functions;

  constructor(run: Run, invocations: Invocations) {
    this.#run = run;
    this.#invocations = invocations;
  }

  /**
   * Opens a websocket: authorizer, `connect`, then the upgrade.
   * @throws FairleadError as a client sees it; never answers behind a partition
   */
  async open(site: Site, process: Mortal, token: string, listener: SocketListener, path = LINK_PATH): Promise<Socket> {
    const { timeline, nemesis } = this.#run;
    await timeline.sleep(nemesis.travel(), process);
    if (site.partitioned) return await new Promise(() => {});
    if (!this.isUp) throw new FairleadError('unavailable', 'Connection refused');
    const event = { connectionId: `${site.name}-${++this.#count}`, sourceIp: '192.0.2.7' };
    const { functions } = this;
    const headers = { authorization: `Bearer ${token}` };
    const asked = { headers, queryStringParameters: { path }, requestContext: event };
    const connect = async (): Promise<AuthorizedEvent['requestContext']> => {
      const { allow, context } = await this.#invoke(`authorize ${event.connectionId}`, () =>
        functions.authorize(asked),
      );
      if (!allow) throw new FairleadError('forbidden', 'these credentials open no websocket here');
      const requestContext = { ...event, authorizer: context };
      await this.#invoke(`connect ${event.connectionId}`, () => functions.connect({ requestContext }));
      return requestContext;
    };
    const requestContext = await connect().catch((error: unknown) => {
      throw error instanceof FairleadError ? error : new FairleadError('unavailable', 'Internal server error');
    });
    const now = timeline.now;
    const wire: Wire = {
      id: event.connectionId,
      site,
      process,
      listener,
      requestContext,
      openedAt: now,
      lastActive: now,
      here: true,
      there: true,
    };
    this.#wires.set(wire.id, wire);
    this.#watchAge(wire);
    // Whoever dialled may have died or been cut off while the functions thought about it.
    await timeline.sleep(nemesis.travel());
    if (!process.alive || site.partitioned) {
      if (!process.alive) this.#endHere(wire, 'its end died');
      return await new Promise(() => {});
    }
    this.#run.trace(() => `= ${wire.id} is open`);
    return { send: (text) => this.#up(wire, text), close: () => this.#hangUp(wire) };
  }

  /** What functions do to connections. */
  readonly links: Links = {
    post: async (id, frame) => this.#post(id, encodeFrame(frame)),
    postText: async (id, text) => this.#post(id, text),
    close: async (id) => {
      const wire = this.#wires.get(id);
      if (wire?.here) this.#endHere(wire, 'closed by the functions');
    },
  };

  /** A network between a site and the gateway breaks the connections of a site. */
  cut(site: Site): void {
    for (const wire of this.#wires.values()) {
      if (wire.site !== site) continue;
      this.#endThere(wire, 'cut');
      this.#endHere(wire, 'cut');
    }
  }

  /** A process is gone; its machine says so, unless the machine is gone too. */
  died(process: Mortal, told: boolean): void {
    for (const wire of this.#wires.values()) {
      if (wire.process !== process) continue;
      wire.there = false;
      if (told && !wire.site.partitioned) this.#endHere(wire, 'its end died');
    }
  }

  /** The gateway's own process ends: every connection with it, and nobody hears of a disconnect. */
  stop(): void {
    this.isUp = false;
    for (const wire of this.#wires.values()) {
      wire.here = false;
      this.#endThere(wire, 'going away');
    }
    this.#wires.clear();
  }

  /** Connections the gateway takes for open. */
  isOpen(id: string | undefined): boolean {
    return id !== undefined && (this.#wires.get(id)?.here ?? false);
  }

  #post(id: string, text: string): 'sent' | 'gone' {
    const wire = this.#wires.get(id);
    if (!wire?.here) return 'gone';
    wire.lastActive = this.#run.timeline.now;
    this.#down(wire, text);
    return 'sent';
  }

  #down(wire: Wire, text: string): void {
    const { timeline, nemesis, trace } = this.#run;
    const copies = nemesis.copies();
    trace(() => `↓ ${wire.id} ${brief(text)}${fateOf(copies)}`);
    for (const ms of copies) {
      timeline.after(ms, () => wire.there && !wire.site.partitioned && wire.listener.text(text), wire.process);
    }
  }

  #up(wire: Wire, text: string): void {
    const { timeline, nemesis, trace } = this.#run;
    if (!wire.there || wire.site.partitioned) return;
    const copies = nemesis.copies();
    trace(() => `↑ ${wire.id} ${brief(text)}${fateOf(copies)}`);
    for (const ms of copies) timeline.after(ms, () => void this.#arrived(wire, text));
  }

  async #arrived(wire: Wire, text: string): Promise<void> {
    // What was sent before the end of a connection may be worked on after it.
    if (!this.isUp) return;
    wire.lastActive = this.#run.timeline.now;
    // As a route with a mock integration: no function runs for a heartbeat.
    if (text === '{"t":"hb"}') {
      if (wire.here) this.#down(wire, text);
      return;
    }
    const { requestContext } = wire;
    try {
      await this.#invoke(`message ${brief(text)} of ${wire.id}`, () =>
        this.functions.message({ requestContext, body: text }),
      );
    } catch {
      const failed = { message: 'Internal server error', connectionId: wire.id, requestId: 'r' };
      if (wire.here) this.#down(wire, JSON.stringify(failed));
    }
  }

  async #invoke<T>(what: string, call: () => Promise<T>): Promise<T> {
    try {
      return await this.#invocations.invoke(what, call);
    } catch (error) {
      const expected = error instanceof Killed || error instanceof FairleadError;
      if (!expected) this.#run.violated('no handler crashes', `${what}: ${(error as Error).stack ?? String(error)}`);
      throw error;
    }
  }

  #hangUp(wire: Wire): void {
    if (!wire.there) return;
    this.#endThere(wire, 'closed');
    const { timeline, nemesis } = this.#run;
    if (!wire.site.partitioned) timeline.after(nemesis.travel(), () => this.#endHere(wire, 'closed by its end'));
  }

  #endThere(wire: Wire, why: string): void {
    if (!wire.there) return;
    wire.there = false;
    this.#run.timeline.after(1, () => wire.listener.closed(why), wire.process);
  }

  #endHere(wire: Wire, why: string): void {
    if (!wire.here) return;
    wire.here = false;
    this.#wires.delete(wire.id);
    const { timeline, nemesis, trace } = this.#run;
    const later = nemesis.disconnectIn();
    trace(() => `= ${wire.id} has ended: ${why}; disconnect ${later === undefined ? 'lost' : `in ${later} ms`}`);
    if (wire.there && !wire.site.partitioned) timeline.after(nemesis.travel(), () => this.#endThere(wire, why));
    if (later === undefined) return;
    const { requestContext } = wire;
    timeline.after(later, () => {
      this.#invoke(`disconnect ${wire.id}`, () => this.functions.disconnect({ requestContext })).catch(() => {});
    });
  }

  #watchAge(wire: Wire): void {
    const { timeline } = this.#run;
    const check = (): void => {
      if (!wire.here) return;
      const due = Math.min(wire.lastActive + IDLE_MS, wire.openedAt + MAX_AGE_MS);
      if (due <= timeline.now) this.#endHere(wire, 'idle or old');
      else timeline.after(due - timeline.now, check);
    };
    check();
  }
}

/** A frame in a few words. */
function brief(text: string): string {
  const frame = JSON.parse(text) as Record<string, unknown> & { cmd?: { kind: string; action?: string } };
  const { t, id, n, s, q, a } = frame as Record<string, string | number | undefined>;
  const kind = frame.cmd ? ` ${frame.cmd.kind} ${frame.cmd.action ?? ''}` : '';
  const words = [
    t ?? 'error',
    n === undefined ? '' : `n${n}`,
    id ?? s ?? '',
    q === undefined ? '' : `q${q}`,
    a === undefined ? '' : `a${a}`,
  ];
  return (
    words
      .filter((word) => word !== '')
      .join(' ')
      .slice(0, 80) + kind
  );
}

function fateOf(copies: readonly number[]): string {
  if (copies.length === 0) return ' (lost)';
  const late = copies.some((ms) => ms > 100);
  return copies.length > 1 || late ? ` (in ${copies.join(' and ')} ms)` : '';
}
