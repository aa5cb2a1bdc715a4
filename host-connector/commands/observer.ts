import { messageOf } from '#shared/errors.ts';
import type { InstanceReport } from '#shared/link/commands.ts';
import type { Counter } from '../database.ts';
import type { Containers } from './host.ts';
import type { Role } from './roles.ts';

/** What an instance was like, and the place of that look among all looks. */
export interface Observation {
  readonly seq: number;
  readonly report: InstanceReport;
}

/** Looks at instances. A look gets its number before it begins, so a later number never carries an older state. */
export class Observer {
  readonly #containers: Pick<Containers, 'measure'>;
  readonly #seq: Counter;

  constructor(containers: Pick<Containers, 'measure'>, seq: Counter) {
    this.#containers = containers;
    this.#seq = seq;
  }

  /** The number of a look that begins now. */
  next(): number {
    return this.#seq.next();
  }

  /** Looks at one instance. That it cannot be measured is a state too: `Error`, with the reason. */
  async observe({ spec }: Role): Promise<Observation> {
    const seq = this.next();
    const { id, name, project, epoch } = spec;
    const who = { id, name, project, epoch };
    try {
      const measurement = await this.#containers.measure(spec);
      return { seq, report: { ...who, status: measurement.status, measurement } };
    } catch (error) {
      return { seq, report: { ...who, status: 'Error', error: messageOf(error).slice(0, 2000) } };
    }
  }
}
