/** Admission: each client has a share of the places, and takes its turn among those that wait. */
import { setImmediate as settled } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Client } from "../../../src/server/clients.js";
import { Gate, type Ticket } from "../../../src/server/gate.js";
import type { HttpError } from "../../../src/server/http-error.js";
import { Shares } from "../../../src/server/shares.js";

const clients: Client[] = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"].map((address) => ({
  key: address,
  address,
  limited: true,
}));
const local: Client = { key: "127.0.0.1", address: "127.0.0.1", limited: false };
const [first, second] = clients as [Client, Client];

function rejection(work: () => unknown): HttpError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error as HttpError;
  }
}

interface Request {
  readonly client: Client;
  readonly ticket: Ticket;
  readonly controller: AbortController;
  /** Others' and own requests that have begun since this one waits. */
  readonly begunSince: Map<string, number>;
}

describe("the gate", () => {
  it("accepts within shares, begins in turns, and ends all that it accepted", async () => {
    const arrival = fc.record({ kind: fc.constant("arrive"), who: fc.nat(3) });
    const end = fc.record({ kind: fc.constantFrom("finish", "leave"), which: fc.nat(50) });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 1, max: 16 }),
        fc.array(fc.oneof({ weight: 3, arbitrary: arrival }, { weight: 1, arbitrary: end }), {
          maxLength: 80,
        }),
        async (concurrency, queue, perClient, steps) => {
          const gate = new Gate({ concurrency, queue, perClient });
          const places = concurrency + queue;
          const waiting: Request[] = [];
          const working: Request[] = [];
          let [accepted, ended] = [0, 0];
          const held = (client: Client) =>
            [...waiting, ...working].filter((each) => each.client === client).length;

          const arrive = (client: Client) => {
            const [own, free] = [held(client), places - waiting.length - working.length];
            const error = rejection(() => enter(client));
            if (own === 0 || perClient >= places) expect(error === undefined).toBe(free > 0);
            if (own >= perClient) expect(error?.status).toBe(429);
            if (own + free === places && free > 0 && own < perClient) expect(error).toBeUndefined(); // it is alone
            if (free === 1 && own > 0 && perClient < places) expect(error?.status).toBe(429);
            if (error) {
              expect([error.status, error.code]).toEqual([429, "ERR_OVERLOADED"]);
              expect(error.retryAfter).toBeGreaterThanOrEqual(1);
            }
          };
          const enter = (client: Client) => {
            const request: Request = {
              client,
              ticket: gate.admit(client),
              controller: new AbortController(),
              begunSince: new Map(),
            };
            accepted++;
            waiting.push(request);
            request.ticket.turn(request.controller.signal).then(
              () => begin(request),
              () => undefined,
            );
          };
          const begin = (request: Request) => {
            const own = request.begunSince.get(request.client.key) ?? 0;
            for (const [key, count] of request.begunSince)
              if (key !== request.client.key) expect(count).toBeLessThanOrEqual(own + 1);
            waiting.splice(waiting.indexOf(request), 1);
            working.push(request);
            for (const { begunSince } of waiting)
              begunSince.set(request.client.key, (begunSince.get(request.client.key) ?? 0) + 1);
          };
          const finish = (from: Request[], which: number) => {
            const [request] = from.splice(which % Math.max(1, from.length), 1);
            if (!request) return;
            request.controller.abort();
            request.ticket.leave(true);
            request.ticket.leave(true);
            ended++;
          };

          for (const step of steps) {
            if ("who" in step) arrive(clients[step.who] as Client);
            else finish(step.kind === "finish" ? working : waiting, step.which);
            await settled();
            expect([gate.waiting, gate.atWork]).toEqual([waiting.length, working.length]);
            expect(working.length).toBe(Math.min(concurrency, waiting.length + working.length));
          }
          while (working.length > 0) {
            finish(working, 0);
            await settled();
          }
          expect(waiting).toEqual([]);
          expect(ended).toBe(accepted);
          expect([gate.waiting, gate.atWork]).toEqual([0, 0]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("leaves places to others, and says which limit a client has met", () => {
    const gate = new Gate({ concurrency: 80, queue: 64, perClient: 72 });
    const admitted = (client: Client) => {
      let count = 0;
      let error: HttpError | undefined;
      while (!error && count < 1000) {
        error = rejection(() => gate.admit(client));
        if (!error) count++;
      }
      return [count, error?.message];
    };
    expect(admitted(first)).toEqual([
      72,
      "72 requests of your address are waiting or at work: its share of the places, which shrinks while others call. Try again after 1 s.",
    ]);
    expect(admitted(second)[0]).toBe(36);
    // This computer's programs may take the rest.
    expect(admitted(local)).toEqual([
      36,
      "144 requests are waiting or at work, and no more are accepted. Try again after 1 s.",
    ]);
  });

  it("comes to equal shares, whoever was first", () => {
    const gate = new Gate({ concurrency: 80, queue: 64, perClient: 72 });
    const held = new Map<Client, Ticket[]>([first, second].map((client) => [client, []]));
    const fill = (client: Client) => {
      while (!rejection(() => held.get(client)?.push(gate.admit(client))));
    };
    for (let round = 0; round < 100; round++) {
      for (const client of [first, second]) {
        held.get(client)?.shift()?.leave(true);
        fill(client);
      }
    }
    expect([...held.values()].map(({ length }) => length)).toEqual([48, 48]);
    expect(gate.waiting).toBe(96);
  });

  it("gives what a client has beyond its share to the others", () => {
    const gate = new Gate({ concurrency: 4, queue: 4, perClient: 4 });
    const tickets = Array.from({ length: 4 }, () => gate.admit(first));
    gate.admit(second);
    gate.admit(second);
    expect(rejection(() => gate.admit(second))?.status).toBe(429);
    tickets[0]?.leave(true);
    expect(rejection(() => gate.admit(first))?.status).toBe(429);
    expect(rejection(() => gate.admit(second))).toBeUndefined();
  });
});

describe("shares", () => {
  it("count what each client holds, of any amount, and never give more than there is", () => {
    const step = fc.record({ who: fc.nat(3), amount: fc.integer({ min: 1, max: 20 }), back: fc.boolean() });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(step, { maxLength: 100 }),
        (total, alone, steps) => {
          const shares = new Shares(total, alone);
          const held = clients.map(() => 0);
          for (const { who, amount, back } of steps) {
            const client = clients[who] as Client;
            const own = held[who] as number;
            if (back) {
              shares.giveBack(client, own);
              held[who] = 0;
            } else {
              const used = held.reduce((sum, each) => sum + each, 0);
              const shortage = shares.shortage(client, amount);
              if (used + amount > total) expect(shortage).toBe("full");
              else if (own === 0) expect(shortage).toBeUndefined();
              if (shortage === undefined) {
                shares.take(client, amount);
                held[who] = own + amount;
              }
            }
            expect(clients.map((each) => shares.heldBy(each))).toEqual(held);
            expect(shares.used).toBe(held.reduce((sum, each) => sum + each, 0));
            expect(shares.used).toBeLessThanOrEqual(total);
          }
        },
      ),
    );
  });
});
