/** Decoding and the model take turns, and neither keeps the other waiting for long. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Semaphore } from "../../../src/core/semaphore.js";
import { Turns } from "../../../src/server/turns.js";

/** What happens, in order; the model takes 40 ms. */
function recording(decoders: number) {
  const turns = new Turns(new Semaphore(decoders));
  const events: string[] = [];
  const request = async (
    name: string,
    decoding: number | (() => Promise<unknown>),
    own = new AbortController().signal,
    client?: string,
  ) => {
    await turns.decode(
      async () => void (await (typeof decoding === "number" ? sleep(decoding) : decoding())),
      own,
      client,
    );
    events.push(`decoded ${name}`);
    await turns.compute(
      async () => {
        events.push(`model ${name}`);
        await sleep(40);
      },
      own,
      client,
    );
    events.push(`done ${name}`);
  };
  return { events, request };
}

describe("decoding and the model", () => {
  it("wait for each other: simultaneous requests reach the model together", async () => {
    const { events, request } = recording(2);
    const first = ["a", "b", "c"].map((name) => request(name, 1));
    while (!events.includes("model c")) await sleep(1);
    const last = request("d", 1);
    await Promise.all([...first, last]);
    expect(events.slice(0, 6).map((event) => event.split(" ")[0])).toEqual([
      ...["decoded", "decoded", "decoded", "model", "model", "model"],
    ]);
    expect(events.indexOf("decoded d")).toBeGreaterThan(events.indexOf("done a"));
  });

  it("do not wait for slow decoding", async () => {
    const { events, request } = recording(2);
    let image: Promise<void> | undefined;
    const film = request("film", () => new Promise((decoded) => setImmediate(() => decoded(image))));
    image = request("image", 1);
    // If the image waited for the film, neither would end.
    await Promise.all([film, image]);
    expect(events).toEqual([
      ...["decoded image", "model image", "done image"],
      ...["decoded film", "model film", "done film"],
    ]);
  });

  it("let no more than 32 at the model", async () => {
    const { events, request } = recording(40);
    await Promise.all(Array.from({ length: 40 }, (_, i) => request(String(i), 1)));
    const firstDone = events.findIndex((event) => event.startsWith("done"));
    expect(events.slice(0, firstDone).filter((event) => event.startsWith("model"))).toHaveLength(32);
  });

  it("let a client with one request in before the rest of another's many", async () => {
    const { events, request } = recording(2);
    const crowd = Array.from({ length: 80 }, (_, i) => request(`crowd ${i}`, 1, undefined, "a"));
    while (!events.some((event) => event.startsWith("model"))) await sleep(1);
    const already = events.filter((event) => event.startsWith("decoded")).length;
    await request("late", 1, undefined, "b");
    const decodedBefore = events
      .slice(0, events.indexOf("decoded late"))
      .filter((event) => event.startsWith("decoded"));
    // Those that were decoded or being decoded when it came, and one in turn.
    expect(decodedBefore.length).toBeLessThanOrEqual(already + 3);
    const modelBefore = events
      .slice(0, events.indexOf("model late"))
      .filter((event) => event.startsWith("model"));
    expect(modelBefore.length).toBeLessThanOrEqual(2 * 32);
    await Promise.all(crowd);
    expect(events.filter((event) => event.startsWith("done"))).toHaveLength(81);
  });

  it("let it into the model's next batch but one, however many are decoded already", async () => {
    const { events, request } = recording(200);
    const crowd = Array.from({ length: 130 }, (_, i) => request(`crowd ${i}`, 1, undefined, "a"));
    while (!events.some((event) => event.startsWith("model"))) await sleep(1);
    await request("late", 1, undefined, "b");
    const before = events.slice(0, events.indexOf("model late")).filter((event) => event.startsWith("model"));
    // It is decoded during the second batch at the latest.
    expect(before.length).toBeLessThan(3 * 32);
    await Promise.all(crowd);
  });

  it("go on when who waits goes away", async () => {
    const { events, request } = recording(2);
    const controller = new AbortController();
    const slow = request("film", 200);
    const gone = request("gone", 1, controller.signal);
    while (!events.includes("decoded gone")) await sleep(1);
    controller.abort();
    await Promise.all([slow, gone.catch(() => undefined)]);
    await request("next", 1);
    expect(events.at(-1)).toBe("done next");
  });
});
