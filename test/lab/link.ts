/** Trouble on one host's uplink. The kernel may lack netem, so there is no added latency here: put that into a proxy. */
import { inNetns, ipBatch, loadRules } from './netns.ts';
import type { LabNames } from './network.ts';
import { must } from './run.ts';

/** Forget the table whether or not it exists; `destroy` came with a later nftables. */
const NO_TROUBLE = 'table inet trouble {}\ndelete table inet trouble\n';

export class LabLink {
  readonly #names: LabNames;
  readonly #host: number;

  constructor(names: LabNames, host: number) {
    this.#names = names;
    this.#host = host;
  }

  /** The provider's side loses the carrier. (Cutting the router's own side would lose its default route for good.) */
  async cut(): Promise<void> {
    await ipBatch(this.#names.cloud, `link set ${this.#names.port(this.#host)} down\n`);
  }

  /** A silent black hole: connections see nothing at all. */
  async drop(): Promise<void> {
    await this.#refuse('drop');
  }

  /** Every TCP segment is answered with a reset. */
  async reset(): Promise<void> {
    await this.#refuse('meta l4proto tcp reject with tcp reset');
  }

  /** Limits both directions to `mbit` Mbit/s. */
  async rate(mbit: number): Promise<void> {
    await this.#shape('tbf', 'rate', `${mbit}mbit`, 'burst', '64kb', 'latency', '200ms');
  }

  /** Takes all trouble back. */
  async up(): Promise<void> {
    await ipBatch(this.#names.cloud, `link set ${this.#names.port(this.#host)} up\n`);
    await loadRules(this.#names.router(this.#host), NO_TROUBLE);
    await this.#shape('noqueue');
  }

  async #refuse(verdict: string): Promise<void> {
    const chain = `chain forward {\n type filter hook forward priority filter - 10\n ${verdict}\n }`;
    await loadRules(this.#names.router(this.#host), `${NO_TROUBLE}table inet trouble {\n ${chain}\n }\n`);
  }

  async #shape(...discipline: string[]): Promise<void> {
    await inNetns(this.#names.router(this.#host), ['tc', 'qdisc', 'replace', 'dev', 'wan', 'root', ...discipline]);
    const port = this.#names.port(this.#host);
    await must(['tc', '-n', this.#names.cloud, 'qdisc', 'replace', 'dev', port, 'root', ...discipline]);
  }
}
