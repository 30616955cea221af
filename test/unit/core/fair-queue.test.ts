/** The fair queue and the semaphore on it: clients in turns, each client's in order, nothing lost. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairQueue } from "../../../src/core/fair-queue.js";
import { Semaphore } from "../../../src/core/semaphore.js";

const CLIENTS = ["a", "b", "c", "d"];

/** Arrivals of clients, services, and departures of one that waits. */
const events = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant("add"), client: fc.constantFrom(...CLIENTS) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("shift") }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete"), at: fc.nat(99) }) },
  ),
  { maxLength: 120 },
);

interface Item {
  readonly id: number;
  readonly client: string;
  /** Requests served since this one arrived, by client. */
  readonly servedSince: Map<string, number>;
}

describe("a fair queue", () => {
  it("serves a client after at most one of every other for each of its own", () => {
    fc.assert(
      fc.property(events, (steps) => {
        const queue = new FairQueue<Item>();
        const waiting: Item[] = [];
        let [added, served, deleted] = [0, 0, 0];
        const serve = (item: Item) => {
          const own = item.servedSince.get(item.client) ?? 0;
          for (const [client, count] of item.servedSince) {
            if (client !== item.client) expect(count).toBeLessThanOrEqual(own + 1);
          }
          // Of its client it is the first to have come.
          expect(waiting.find(({ client }) => client === item.client)).toBe(item);
          waiting.splice(waiting.indexOf(item), 1);
          for (const { servedSince } of waiting)
            servedSince.set(item.client, (servedSince.get(item.client) ?? 0) + 1);
          served++;
        };
        for (const step of steps) {
          if ("client" in step) {
            const item = { id: added++, client: step.client, servedSince: new Map() };
            waiting.push(item);
            queue.add(item, item.client);
          } else if ("at" in step) {
            const item = waiting[step.at % Math.max(1, waiting.length)];
            if (!item) continue;
            expect(queue.delete(item, item.client)).toBe(true);
            expect(queue.delete(item, item.client)).toBe(false);
            waiting.splice(waiting.indexOf(item), 1);
            deleted++;
          } else {
            const item = queue.shift();
            expect(item === undefined).toBe(waiting.length === 0);
            if (item) serve(item);
          }
          expect(queue.size).toBe(waiting.length);
          expect(new Set(queue)).toEqual(new Set(waiting));
        }
        for (let item = queue.shift(); item; item = queue.shift()) serve(item);
        expect(served + deleted).toBe(added);
      }),
      { numRuns: 500 },
    );
  });

  it("takes turns among those that wait, in the order in which they came", () => {
    const queue = new FairQueue<string>();
    for (const item of ["a1", "a2", "a3", "b1", "c1", "c2"]) queue.add(item, item[0]);
    expect(Array.from({ length: 7 }, () => queue.shift())).toEqual([
      "a1",
      "b1",
      "c1",
      "a2",
      "c2",
      "a3",
      undefined,
    ]);
  });

  it("is an ordinary queue without clients", () => {
    const queue = new FairQueue<number>();
    for (const item of [3, 1, 2]) queue.add(item);
    expect([...queue, queue.shift(), queue.shift(), queue.shift(), queue.size]).toEqual([
      3, 1, 2, 3, 1, 2, 0,
    ]);
  });
});

describe("a semaphore", () => {
  it("gives places to clients in turns, and loses none", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.constantFrom(...CLIENTS), { minLength: 1, maxLength: 40 }),
        async (places, arrivals) => {
          const semaphore = new Semaphore(places);
          const order: string[] = [];
          const held: (() => void)[] = [];
          const all = arrivals.map(async (client) => {
            const giveBack = await semaphore.take(undefined, client);
            order.push(client);
            held.push(giveBack);
          });
          for (let i = 0; i < arrivals.length; i++) {
            await new Promise((resolve) => setImmediate(resolve));
            expect(held.length).toBe(Math.min(places, arrivals.length - i));
            held.shift()?.();
          }
          await Promise.all(all);
          expect([...order].sort()).toEqual([...arrivals].sort());
          // From the first that waited on: all waited together, so no client is two ahead of another that still waits.
          const turns = order.slice(places);
          const left = (from: number, client: string) => turns.slice(from).includes(client);
          for (const client of CLIENTS) {
            for (const other of CLIENTS) {
              let lead = 0;
              turns.forEach((turn, i) => {
                if (client === other || !left(i, client) || !left(i, other)) return;
                lead += turn === client ? 1 : turn === other ? -1 : 0;
                expect(Math.abs(lead)).toBeLessThanOrEqual(1);
              });
            }
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
