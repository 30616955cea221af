import { describe, expect, it } from "vitest";
import { spectrogramOf } from "../../../web/src/fourier.js";
import { nextMoment, Timeline } from "../../../web/src/timeline.js";

/** All moments in the order in which they are asked for. */
function order(playhead: number, duration: number): number[] {
  const asked: number[] = [];
  for (;;) {
    const next = nextMoment(playhead, duration, (time, step) =>
      asked.some((each) => Math.abs(each - time) < step / 2),
    );
    if (next === undefined) return asked;
    asked.push(next);
  }
}

describe("moments of a video", () => {
  it("are requested ahead of the playhead, from coarse to fine, then behind it", () => {
    expect(order(1.3, 3)).toEqual([1, 2, 1.5, 2.5, 1.25, 1.75, 2.25, 2.75, 0, 0.5, 0.25, 0.75]);
  });

  it("end before the clip does, and exist for a clip of no length", () => {
    expect(order(0, 1)).toEqual([0, 0.5, 0.25, 0.75]);
    expect(order(0, 0.02)).toEqual([0]);
    expect(order(5, 5)).toHaveLength(20);
  });

  it("of a long clip are those of the next seconds", () => {
    const asked = order(100, 600);
    expect(Math.min(...asked)).toBe(100);
    expect(Math.max(...asked)).toBe(106);
  });
});

describe("a timeline", () => {
  it("gives the neighbours of a moment and the share between them", () => {
    const timeline = new Timeline<string>();
    for (const [time, value] of [
      [2, "c"],
      [0, "a"],
      [1, "old"],
      [1, "b"],
    ] as const) {
      timeline.add(time, value);
    }
    expect(timeline.entries.map(({ value }) => value)).toEqual(["a", "b", "c"]);
    const { before, after, share } = timeline.around(1.25) ?? {};
    expect([before?.value, after?.value, share]).toEqual(["b", "c", 0.25]);
    expect(timeline.around(1)?.share).toBe(1);
    expect(timeline.covers(1.1, 0.25)).toBe(true);
    expect(timeline.covers(1.2, 0.25)).toBe(false);
  });

  it("interpolates over no wide gap, and reaches no further than a second", () => {
    const timeline = new Timeline<string>();
    timeline.add(0, "a");
    timeline.add(5, "b");
    expect(timeline.around(0.9)?.after.value).toBe("a");
    expect(timeline.around(4.2)?.before.value).toBe("b");
    expect(timeline.around(2.5)).toBeUndefined();
    expect(new Timeline().around(0)).toBeUndefined();
  });
});

describe("the spectrogram", () => {
  it("has a full-scale tone at its frequency and at 0 dB, and silence far below", () => {
    const samples = Float32Array.from({ length: 8000 }, (_, i) =>
      i < 4000 ? Math.sin((2 * Math.PI * 2000 * i) / 16_000) : 0,
    );
    const { columns, bins, data } = spectrogramOf(samples, 10);
    const column = (at: number) =>
      Array.from({ length: bins }, (_, bin) => data[bin * columns + at] as number);
    const loud = column(2);
    // 2 kHz of 8 kHz, in 256 bins.
    expect(loud.indexOf(Math.max(...loud))).toBe(64);
    expect(loud[64]).toBeCloseTo(0, 1);
    expect(Math.max(...column(8))).toBeLessThan(-100);
  });
});
