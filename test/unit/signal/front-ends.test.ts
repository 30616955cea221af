/** The front ends of the audio encoder against their definitions: values, sizes, channels. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { frameCount, type ModelOptions, parseModelConfig, rowCount } from "../../../src/config/model.js";
import type { RawAudio, TensorData } from "../../../src/core/types.js";
import { preprocess } from "../../../src/model/preprocess.js";
import { density, mel } from "../../support/front-ends.js";

type Audio = NonNullable<ModelOptions["audio"]>;

const spectrogramOf = (audio: RawAudio, options: Audio): Promise<TensorData> =>
  preprocess.audio(audio, parseModelConfig({ audio: options }));

/** Noise over two tones, with an offset, in [−1, 1]. */
function samplesOf(length: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, (_, i) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const noise = state / 2 ** 32 - 0.5;
    return 0.1 + 0.3 * Math.sin(i * (0.05 + (seed % 7) * 0.3)) + 0.2 * Math.sin(i * 0.003) + 0.3 * noise;
  });
}

/** The largest difference of `[1, F, T]` from frames of rows. */
function difference(ours: TensorData, frames: readonly Float64Array[]): number {
  const [, rows = 0, columns = 0] = ours.shape;
  expect([columns, rows]).toEqual([frames.length, frames[0]?.length]);
  let most = 0;
  for (const [t, frame] of frames.entries()) {
    for (const [f, value] of frame.entries()) {
      most = Math.max(most, Math.abs((ours.data[f * columns + t] as number) - value));
    }
  }
  return most;
}

const decibels = (frames: Float64Array[]) =>
  frames.map((frame) => frame.map((power) => 10 * Math.log10(Math.max(power, 1e-10))));
const logarithms = (frames: Float64Array[]) =>
  frames.map((frame) => frame.map((power) => Math.log(power + 1e-7) / 12));

/** A window, a hop and a rate that fit each other, and a length with a few frames. */
const numbers = fc
  .record({
    window: fc.integer({ min: 16, max: 200 }),
    share: fc.double({ min: 0.1, max: 1, noNaN: true }),
    rate: fc.constantFrom(1000, 8000, 11_025, 16_000, 44_100, 48_000),
    frames: fc.double({ min: 1, max: 9, noNaN: true }),
    seed: fc.integer({ min: 1, max: 1e6 }),
  })
  .map(({ window, share, rate, frames, seed }) => {
    const hop = Math.max(1, Math.floor(share * window));
    const seconds = Math.max(0.1, (window + Math.floor(frames * hop)) / rate);
    return { window, hop, rate, seconds, seed, length: Math.round(seconds * rate) };
  })
  .filter(({ length }) => length < 9000);

describe('frontEnd "scipy"', () => {
  it("gives the values of scipy.signal.spectrogram", async () => {
    const sampleRate = 16_000;
    const samples = Float32Array.from(
      { length: 2048 },
      (_, i) => 0.3 * Math.sin((2 * Math.PI * 440 * i) / sampleRate) + 0.05 * Math.cos(0.01 * i) + 0.02,
    );
    const options: Audio = { frontEnd: "scipy", seconds: 2048 / sampleRate };
    const { data, shape } = await spectrogramOf({ samples, sampleRate }, options);
    expect(shape).toEqual([1, 257, 7]);
    const published = {
      0: -1.14169713,
      1: -0.87611981,
      14: -0.55474018,
      100: -1.34317462,
      256: -1.34317464,
    };
    for (const [bin, value] of Object.entries(published)) {
      expect(Math.abs((data[7 * Number(bin)] as number) - value), `bin ${bin}`).toBeLessThan(1e-7);
    }
  });

  it("is the power spectral density for any window, hop, rate and length", async () => {
    await fc.assert(
      fc.asyncProperty(numbers, async ({ window, hop, rate, seconds, seed, length }) => {
        const samples = samplesOf(length, seed);
        const ours = await spectrogramOf(
          { samples, sampleRate: rate },
          { frontEnd: "scipy", sampleRate: rate, window, hop, seconds },
        );
        expect(difference(ours, logarithms(density(samples, { window, hop, rate })))).toBeLessThan(3e-7);
      }),
      { numRuns: 40 },
    );
  });

  it("clips samples to ±1", async () => {
    const options: Audio = { frontEnd: "scipy", seconds: 0.2 };
    const samples = samplesOf(3200, 5).map((sample) => 3 * sample);
    const clipped = samples.map((sample) => Math.min(1, Math.max(-1, sample)));
    expect(clipped).not.toEqual(samples);
    expect(await spectrogramOf({ samples, sampleRate: 16_000 }, options)).toEqual(
      await spectrogramOf({ samples: clipped, sampleRate: 16_000 }, options),
    );
  });
});

describe('frontEnd "mel"', () => {
  it("is torchaudio's normalized mel spectrogram for any window, hop, rate, length and number of bands", async () => {
    await fc.assert(
      fc.asyncProperty(numbers, fc.integer({ min: 1, max: 80 }), async (drawn, melBands) => {
        const { window, hop, rate, seconds, seed, length } = drawn;
        const samples = samplesOf(length, seed);
        const ours = await spectrogramOf(
          { samples, sampleRate: rate },
          { frontEnd: "mel", sampleRate: rate, window, hop, seconds, melBands },
        );
        const frames = decibels(mel(samples, { window, hop, rate, bands: melBands }));
        expect(difference(ours, frames)).toBeLessThan(1e-3);
      }),
      { numRuns: 40 },
    );
  });

  it("has −100 dB in bands that are narrower than the distance of two frequencies", async () => {
    const samples = samplesOf(16_000, 3);
    const { data, shape } = await spectrogramOf(
      { samples, sampleRate: 16_000 },
      { frontEnd: "mel", seconds: 1 },
    );
    expect(shape).toEqual([1, 257, 67]);
    expect(data[0]).toBe(-100);
    const rows = Array.from({ length: 257 }, (_, row) => data.subarray(row * 67, row * 67 + 67));
    const empty = rows.filter((row) => row.every((value) => value === -100)).length;
    expect(empty).toBeGreaterThan(20);
    expect(empty).toBeLessThan(128);
    expect(rows.at(-1)?.every((value) => value > -80)).toBe(true);
  });
});

describe("a front end", () => {
  it.each([
    [{ frontEnd: "scipy", seconds: 3 }, 257, 200],
    [{ frontEnd: "scipy", seconds: 10 }, 257, 671],
    [{ frontEnd: "scipy", seconds: 3, hop: 159 }, 257, 299],
    [{ frontEnd: "mel", seconds: 10 }, 257, 670],
    [{}, 257, 501],
  ] as const)("of %o has %i rows and %i frames", async (options, rows, frames) => {
    const config = parseModelConfig({ audio: options });
    expect([rowCount(config), frameCount(config)]).toEqual([rows, frames]);
    const { shape } = await preprocess.audio({ samples: samplesOf(20_000, 1), sampleRate: 16_000 }, config);
    expect(shape).toEqual([1, rows, frames]);
  });

  it("gives the rows and frames that the configuration states, for any numbers", async () => {
    await fc.assert(
      fc.asyncProperty(
        numbers,
        fc.constantFrom("stft" as const, "scipy" as const, "mel" as const),
        fc.integer({ min: 1, max: 40 }),
        async ({ window, hop, rate, seconds, seed }, frontEnd, melBands) => {
          const audio: Audio = { frontEnd, sampleRate: rate, window, hop, seconds, melBands };
          const config = parseModelConfig({ audio });
          const { data, shape } = await preprocess.audio(
            { samples: samplesOf(500, seed), sampleRate: rate },
            config,
          );
          expect(shape).toEqual([1, rowCount(config), frameCount(config)]);
          expect(data.every(Number.isFinite)).toBe(true);
        },
      ),
      { numRuns: 80 },
    );
  });

  it("combines channels as it is asked: their powers, their samples, or the first alone", async () => {
    const [left, right] = [samplesOf(8000, 11), samplesOf(8000, 12)];
    const sampleRate = 16_000;
    const both = { samples: Float32Array.from([...left, ...right]), sampleRate, channels: 2 };
    const mixed = left.map((sample, i) => Math.fround(Math.fround(sample + (right[i] as number)) / 2));
    for (const frontEnd of ["stft", "scipy", "mel"] as const) {
      const of = (audio: RawAudio, channels: Audio["channels"]) =>
        spectrogramOf(audio, { frontEnd, seconds: 0.5, channels });
      const own = {
        left: await of({ samples: left, sampleRate }, "mix"),
        right: await of({ samples: right, sampleRate }, "mix"),
      };
      expect(await of(both, "first")).toEqual(own.left);
      expect(await of(both, "mix")).toEqual(await of({ samples: mixed, sampleRate }, "mix"));
      const power = await of(both, "power");
      const powerOf = (value: number) => (frontEnd === "mel" ? 10 ** (value / 10) : Math.exp(12 * value));
      for (let i = 0; i < power.data.length; i += 97) {
        const mean = (powerOf(own.left.data[i] as number) + powerOf(own.right.data[i] as number)) / 2;
        expect(powerOf(power.data[i] as number) / mean).toBeCloseTo(1, 3);
      }
      expect(parseModelConfig({ audio: { frontEnd } }).audio.channels).toBe(
        frontEnd === "stft" ? "power" : "mix",
      );
    }
  });

  it.each([
    [{ frontEnd: "scipy", window: 256, hop: 257 }, /model\.audio\.hop: is 257; use at most the window, 256/],
    [{ frontEnd: "scipy", seconds: 0.1, window: 2048 }, /model\.audio\.seconds: gives 1600 samples; .*2048/],
    [{ frontEnd: "mel", seconds: 0.1, window: 4096 }, /model\.audio\.seconds: gives 1600 samples; .*2049/],
    [{ frontEnd: "fft" }, /model\.audio\.frontEnd/],
    [{ frontEnd: "mel", melBands: 0 }, /model\.audio\.melBands/],
    [{ placement: "end" }, /model\.audio\.placement/],
    [{ placement: -1 }, /model\.audio\.placement/],
    [{ rate: "any" }, /model\.audio\.rate/],
    [{ channels: "second" }, /model\.audio\.channels/],
  ])("rejects %o by the field", (audio, message) => {
    expect(() => parseModelConfig({ audio: audio as Audio })).toThrowError(
      expect.objectContaining({ code: "ERR_CONFIG", message: expect.stringMatching(message) }),
    );
  });

  it("keeps its numbers when its configuration is read again", () => {
    for (const frontEnd of ["stft", "scipy", "mel"] as const) {
      const config = parseModelConfig({ audio: { frontEnd, hop: 100 } });
      expect(parseModelConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
      expect(config.audio.hop).toBe(100);
    }
  });
});
