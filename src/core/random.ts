/** Seeded numbers that depend on their keys alone: a resumed run draws the same ones as an uninterrupted run. */

/** 64-bit hash of a few integers (splitmix64 over each in turn). */
export function hash(...keys: readonly number[]): bigint {
  let state = 0n;
  for (const key of keys) {
    state = BigInt.asUintN(64, (state ^ BigInt(key)) + 0x9e3779b97f4a7c15n);
    state = BigInt.asUintN(64, (state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n);
    state = BigInt.asUintN(64, (state ^ (state >> 27n)) * 0x94d049bb133111ebn);
    state ^= state >> 31n;
  }
  return state;
}

/** A generator of numbers in [0, 1) from a 32-bit seed (mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** 0 … length − 1 in an order that `seed` and `epoch` decide. */
export function permutation(length: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  const draw = uniform(Number(hash(seed, epoch) & 0xffffffffn));
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    const kept = order[i] as number;
    order[i] = order[j] as number;
    order[j] = kept;
  }
  return order;
}
