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
  ) => {
    await turns.decode(
      async () => void (await (typeof decoding === "number" ? sleep(decoding) : decoding())),
      own,
    );
    events.push(`decoded ${name}`);
    await turns.compute(async () => {
      events.push(`model ${name}`);
      await sleep(40);
    }, own);
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
