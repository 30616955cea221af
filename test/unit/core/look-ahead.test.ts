/** The loader of all loops over samples: order, bounds, errors in order, aborts, and nothing left running. */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LookAheadOptions, lookAhead } from "../../../src/core/look-ahead.js";

async function collected<T>(results: AsyncIterable<T>): Promise<{ values: T[]; error?: unknown }> {
  const values: T[] = [];
  try {
    for await (const value of results) values.push(value);
    return { values };
  } catch (error) {
    return { values, error };
  }
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

async function* drawn(count: number, failsAt = -1) {
  for (let i = 0; i < count; i++) {
    await sleep(0);
    if (i === failsAt) throw new Error(`source ${i}`);
    yield i;
  }
}

describe("looking ahead", () => {
  it("keeps the order and the bounds, and throws where the source or an item does, for any of them", async () => {
    const cases = fc.record({
      count: fc.nat(12),
      items: fc.integer({ min: 1, max: 6 }),
      places: fc.integer({ min: 1, max: 4 }),
      delays: fc.array(fc.nat(3), { minLength: 12, maxLength: 12 }),
      itemFails: fc.nat(24),
      sourceFails: fc.nat(24),
      asynchronous: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(cases, async (each) => {
        const { count, items, places, delays, itemFails, sourceFails, asynchronous } = each;
        const seen = { inside: 0, most: 0, begun: 0, given: 0, ahead: 0 };
        const source = asynchronous ? drawn(count, sourceFails) : numbers(count);
        const results = lookAhead(
          source,
          async (item, inPlace) => {
            seen.ahead = Math.max(seen.ahead, ++seen.begun - seen.given);
            return inPlace(async () => {
              seen.most = Math.max(seen.most, ++seen.inside);
              await sleep(delays[item] ?? 0);
              seen.inside--;
              if (item === itemFails) throw new Error(`item ${item}`);
              return 2 * item;
            });
          },
          { items, places },
        );
        const counted = (async function* () {
          for await (const result of results) {
            yield result;
            seen.given++;
          }
        })();
        const { values, error } = await collected(counted);
        const first = Math.min(itemFails, asynchronous ? sourceFails : Number.POSITIVE_INFINITY, count);
        expect(values).toEqual(numbers(first).map((item) => 2 * item));
        const wanted =
          first === count ? undefined : asynchronous && first === sourceFails ? "source" : "item";
        expect((error as Error | undefined)?.message).toBe(wanted && `${wanted} ${first}`);
        expect(seen.most).toBeLessThanOrEqual(places);
        expect(seen.ahead).toBeLessThanOrEqual(items);
      }),
      { numRuns: 60 },
    );
  });

  it("works ahead while its caller does", async () => {
    const begun: number[] = [];
    const results = lookAhead(numbers(9), async (item) => begun.push(item), { items: 4 });
    await results.next();
    await sleep(5);
    expect(begun).toEqual([0, 1, 2, 3]);
    await results.return();
  });

  it("cancels waiting work and closes the source when the loop is left", async () => {
    const seen = { begun: 0, closed: false };
    const source = (function* () {
      try {
        yield* numbers(100);
      } finally {
        seen.closed = true;
      }
    })();
    const work: Parameters<typeof lookAhead<number, void>>[1] = (_, inPlace) =>
      inPlace(async () => {
        seen.begun++;
        await sleep(5);
      });
    for await (const _ of lookAhead(source, work, { items: 50, places: 2 })) break;
    const { begun } = seen;
    await sleep(30);
    expect(seen).toEqual({ begun, closed: true });
    expect(begun).toBeLessThan(6);
  });

  it.each([
    ["before it begins", 0],
    ["while an item is worked on", 10],
  ])("ends with ERR_ABORTED, whatever the work throws, when its signal fires %s", async (_, milliseconds) => {
    const control = new AbortController();
    const options: LookAheadOptions = { items: 2, signal: control.signal };
    if (milliseconds === 0) control.abort();
    else setTimeout(() => control.abort(), milliseconds);
    const work = async () => {
      await sleep(1000, undefined, { signal: control.signal });
    };
    const { values, error } = await collected(lookAhead(numbers(5), work, options));
    expect(values).toEqual([]);
    expect(error).toMatchObject({ name: "SoundspotError", code: "ERR_ABORTED" });
  });

  it("leaves no rejection unhandled when later items fail as well", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    const work = (item: number) => Promise.reject(new Error(`item ${item}`));
    const { error } = await collected(lookAhead(numbers(5), work, { items: 5 }));
    await sleep(5);
    process.off("unhandledRejection", note);
    expect((error as Error).message).toBe("item 0");
    expect(unhandled).toEqual([]);
  });
});
