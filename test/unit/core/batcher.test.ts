/** Concurrent calls share batches, and each gets its own results or error. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Batcher } from "../../../src/core/batcher.js";

function recording(most: number, fail: (items: readonly number[]) => boolean = () => false) {
  const batches: { items: readonly number[]; settings: string }[] = [];
  const batcher = new Batcher(async (items: readonly number[], settings: string) => {
    batches.push({ items, settings });
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (fail(items)) throw new Error(`failed: ${items.join(", ")}`);
    return items.map((item) => `${settings}${item}`);
  }, most);
  const submit = (items: number[], settings = "a", signal?: AbortSignal) =>
    batcher.submit(items, settings, settings, signal);
  return { batches, submit };
}

describe("a batcher", () => {
  it("runs simultaneous calls together, and then those that arrived in the meantime", async () => {
    const { batches, submit } = recording(4);
    const first = [submit([1]), submit([2])];
    await nextTurn();
    const results = await Promise.all([...first, submit([3, 4]), submit([5])]);
    expect(results).toEqual([["a1"], ["a2"], ["a3", "a4"], ["a5"]]);
    expect(batches.map(({ items }) => items)).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
  });

  it("keeps to its size, but for a call that is larger alone", async () => {
    const { batches, submit } = recording(2);
    await Promise.all([submit([1]), submit([2]), submit([3, 4, 5]), submit([6]), submit([7])]);
    expect(batches.map(({ items }) => items)).toEqual([
      [1, 2],
      [3, 4, 5],
      [6, 7],
    ]);
  });

  it("joins no calls of different settings", async () => {
    const { batches, submit } = recording(9);
    const results = await Promise.all([submit([1]), submit([2], "b"), submit([3]), submit([4], "b")]);
    expect(results).toEqual([["a1"], ["b2"], ["a3"], ["b4"]]);
    expect(batches.map(({ settings }) => settings)).toEqual(["a", "b"]);
  });

  it("gives a failure only to the call that caused it", async () => {
    const { submit } = recording(9, (items) => items.includes(3));
    const results = await Promise.allSettled([submit([1]), submit([2]), submit([3]), submit([4])]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect((results[2] as PromiseRejectedResult).reason).toMatchObject({ message: "failed: 3" });
    await expect(submit([5])).resolves.toEqual(["a5"]);
  });

  it("drops calls that wait when their signal fires, and no others", async () => {
    const { batches, submit } = recording(9);
    const controller = new AbortController();
    const { signal } = controller;
    const other = new AbortController().signal;
    const calls = [submit([1], "a", signal)];
    await nextTurn();
    calls.push(submit([2], "a", signal), submit([3], "a", other), submit([4]), submit([5], "a", signal));
    controller.abort("enough");
    const results = await Promise.allSettled(calls);
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled", // it was running
      "rejected",
      "fulfilled",
      "fulfilled",
      "rejected",
    ]);
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({
      code: "ERR_ABORTED",
      cause: "enough",
    });
    expect(batches.map(({ items }) => items)).toEqual([[1], [3, 4]]);
    await expect(submit([6], "a", signal)).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });
});
