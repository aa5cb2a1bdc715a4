import { seeded } from '#shared/link/stream/virtual-network.ts';

/** All chance of one run: the same seed draws the same. */
export class Chance {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seeded(Math.imul(seed + 1, 0x9e3779b1));
  }

  /** A number in [0, 1). */
  readonly random = (): number => this.#next();

  /** True in this share of the cases; draws nothing when it never is. */
  is(share: number): boolean {
    return share > 0 && this.#next() < share;
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.#next() * (most - least + 1));
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#next() * from.length)]!;
  }

  /** Another source, so that what one part draws does not shift the draws of the others. */
  fork(): Chance {
    return new Chance(Math.floor(this.#next() * 2 ** 31));
  }

  readonly bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(this.#next() * 256));

  readonly uuid = (): string => {
    const hex = Buffer.from(this.bytes(16)).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  };
}
