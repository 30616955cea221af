/** The generator of native/signal/random.h, written again for tests. */

const MASK = (1n << 64n) - 1n;

export class SplitMix {
  #state: bigint;

  constructor(seed: bigint) {
    this.#state = seed & MASK;
  }

  bits(): bigint {
    this.#state = (this.#state + 0x9e3779b97f4a7c15n) & MASK;
    let z = this.#state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return z ^ (z >> 31n);
  }

  /** In [low, high). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (Number(this.bits() >> 11n) / 2 ** 53);
  }

  /** In 0 … n − 1. */
  integer(n: number): number {
    const rejected = (1n << 64n) % BigInt(n);
    let drawn = this.bits();
    while (drawn < rejected) drawn = this.bits();
    return Number(drawn % BigInt(n));
  }
}
