import { messageOf } from '#shared/errors.ts';
import type { LinkWorld } from '../link/connection.ts';
import type { Pump } from '../link/pump.ts';
import type { Spool } from '../link/spool.ts';
import type { Host } from './host.ts';

/** Changes this close together are told as one: a start is several. */
export const SETTLE_MS = 250;
/** A change that could not be told, as on a full disk, is looked at again after this long. */
export const AGAIN_MS = 5_000;

/** Tells the edge when an instance changed by itself, or its addresses did. */
export class Watch {
  readonly #host: Host;
  readonly #spool: Spool;
  readonly #pump: Pick<Pump, 'more'>;
  readonly #world: Pick<LinkWorld, 'schedule'>;
  /** Instances to look at soon; a look under way counts too, so that there is one at a time. */
  readonly #soon = new Map<string, 'scheduled' | 'looking' | 'looking-again'>();

  constructor(host: Host, spool: Spool, pump: Pick<Pump, 'more'>, world: Pick<LinkWorld, 'schedule'>) {
    this.#host = host;
    this.#spool = spool;
    this.#pump = pump;
    this.#world = world;
  }

  /** Something about an instance changed. One that is not ours is ignored. */
  changed(id: string): void {
    if (this.#host.roles.find(id)?.role !== 'owner') return;
    const state = this.#soon.get(id);
    if (state === 'looking') this.#soon.set(id, 'looking-again');
    if (state === undefined) this.#schedule(id);
  }

  /** Changes may have been missed. */
  allChanged(): void {
    for (const { spec } of this.#host.roles.all()) this.changed(spec.id);
  }

  #schedule(id: string, ms = SETTLE_MS): void {
    this.#soon.set(id, 'scheduled');
    this.#world.schedule(ms, () => {
      this.#soon.set(id, 'looking');
      this.#look(id).then(
        () => this.#looked(id),
        (error: unknown) => {
          this.#host.log('error', `a change could not be told: ${messageOf(error)}`);
          this.#schedule(id, AGAIN_MS);
        },
      );
    });
  }

  #looked(id: string): void {
    const again = this.#soon.get(id) === 'looking-again';
    this.#soon.delete(id);
    if (again) this.changed(id);
  }

  async #look(id: string): Promise<void> {
    const role = this.#host.roles.find(id);
    // One that is being moved is told of by its move.
    if (role?.role !== 'owner') return;
    if (!role.ready) {
      // It is being made; look when it is.
      this.#soon.set(id, 'looking-again');
      return;
    }
    const { seq, report } = await this.#host.observer.observe(role);
    if (report.status !== 'Error') await this.#host.roles.power(id, report.status === 'Stopped' ? 'off' : 'on');
    if (this.#host.roles.find(id)?.role !== 'owner') return;
    this.#spool.event(seq, report);
    this.#pump.more();
  }
}
