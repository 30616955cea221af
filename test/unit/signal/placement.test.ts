/** Where the audio window is: in the middle, at the start or from a moment on, of short and of long audio. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ModelOptions, parseModelConfig } from "../../../src/config/model.js";
import type { RawAudio } from "../../../src/core/types.js";
import { encodeWav } from "../../../src/media/wav.js";
import { prepareInput } from "../../../src/model/inputs.js";
import { preprocess } from "../../../src/model/preprocess.js";
import { isSilent } from "../../../src/model/silence.js";

type Placement = NonNullable<NonNullable<ModelOptions["audio"]>["placement"]>;

const configOf = (placement: Placement, audio: ModelOptions["audio"] = {}) =>
  parseModelConfig({ imageSize: 32, audio: { sampleRate: 8000, placement, ...audio } });

const noise = (length: number, seed: number) => {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
};

/** The window by its definition: places of the resampled audio, repeated without end. */
function windowOf(samples: Float32Array, placement: Placement, count: number, rate: number): Float32Array {
  const n = samples.length;
  const middle = n > count ? Math.floor((n - count) / 2) : 0;
  const first = placement === "middle" ? middle : placement === "start" ? 0 : Math.round(placement * rate);
  return Float32Array.from({ length: count }, (_, i) => samples[(first + i) % n] as number);
}

const placements = fc.oneof(
  fc.constantFrom<Placement>("middle", "start"),
  fc.double({ min: 0, max: 3, noNaN: true }),
);

describe("audio.placement", () => {
  it("selects the window of audio of any length and rate", async () => {
    await fc.assert(
      fc.asyncProperty(
        placements,
        fc.integer({ min: 1, max: 20_000 }),
        fc.constantFrom(8000, 6000, 11_025),
        fc.constantFrom("stft" as const, "scipy" as const),
        async (placement, length, sampleRate, frontEnd) => {
          const audio: RawAudio = { samples: noise(length, length), sampleRate };
          const options = { seconds: 0.5, frontEnd };
          const ours = await preprocess.audio(audio, configOf(placement, options));
          const { data } = await preprocess.resample(audio, 8000);
          const window = { samples: windowOf(data, placement, 4000, 8000), sampleRate: 8000 };
          expect(ours).toEqual(await preprocess.audio(window, configOf("middle", options)));
        },
      ),
      { numRuns: 120 },
    );
  });

  it("takes seconds 3.5 to 6.5 of audio that is repeated to 10 s, as a cut of samples 56,000 to 104,000", async () => {
    for (const length of [30_000, 112_000, 160_000, 200_000]) {
      const samples = noise(length, 4);
      const repeated = Float32Array.from({ length: 160_000 }, (_, i) => samples[i % length] as number);
      const options = { sampleRate: 16_000, seconds: 3, frontEnd: "scipy", hop: 159 } as const;
      const ours = await preprocess.audio({ samples, sampleRate: 16_000 }, configOf(3.5, options));
      expect(ours.shape).toEqual([1, 257, 299]);
      const cut = { samples: repeated.slice(56_000, 104_000), sampleRate: 16_000 };
      expect(ours).toEqual(await preprocess.audio(cut, configOf("middle", options)));
    }
  });

  it.each(["middle", "start", 0.25, 300, 421.875, 599] as const)(
    "at %s selects the same of a long file, of which only a part is decoded",
    async (placement) => {
      // 71 MB as floats, 35 MB as WAV; at 44.1 kHz, so that it is resampled.
      const audio: RawAudio = { samples: noise(17_700_000, 9), sampleRate: 44_100 };
      const wav = encodeWav(audio);
      const config = configOf(placement, { seconds: 1 });
      const ours = await preprocess.audio(wav, config);
      const rounded = audio.samples.map((sample) => Math.round(sample * 32_768) / 32_768);
      const whole = await preprocess.audio({ samples: rounded, sampleRate: 44_100 }, config);
      let most = 0;
      for (const [i, value] of ours.data.entries())
        most = Math.max(most, Math.abs(value - (whole.data[i] as number)));
      expect(most).toBeLessThan(0.02);
    },
  );

  it("decides what is silent", async () => {
    const image = { data: new Uint8Array(48), width: 4, height: 4 };
    await fc.assert(
      fc.asyncProperty(
        placements,
        fc.integer({ min: 100, max: 16_000 }),
        fc.nat(15_999),
        async (placement, length, place) => {
          const samples = new Float32Array(length);
          samples[place % length] = 0.5;
          const audio: RawAudio = { samples, sampleRate: 8000 };
          const config = configOf(placement, { seconds: 0.5 });
          const silent = windowOf(samples, placement, 4000, 8000).every((sample) => sample === 0);
          expect((await prepareInput({ image, audio }, config)).silent).toBe(silent);
          expect(isSilent(audio, config.audio)).toBe(silent);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("does not hear channels that the model does not take", () => {
    const audio: RawAudio = { samples: Float32Array.of(0, 0, 0.5, 0.5), sampleRate: 8000, channels: 2 };
    expect(isSilent(audio, configOf("middle", { channels: "first" }).audio)).toBe(true);
    expect(isSilent(audio, configOf("middle", { channels: "mix" }).audio)).toBe(false);
  });
});
