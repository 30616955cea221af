/** Samples in other units than [−1, 1] are rejected with the fix, wherever they come in. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseModelConfig } from "../../../src/config/model.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { prepareInput, prepareSample } from "../../../src/model/inputs.js";
import { preprocess } from "../../../src/model/preprocess.js";

const config = parseModelConfig({ imageSize: 32 });
const image = { data: new Uint8Array(48), width: 4, height: 4 };
const sampleRate = 16_000;
const tone = Float32Array.from({ length: 16_000 }, (_, i) => Math.sin(i / 5));

/** Every entry point that takes raw samples. */
const entries: Readonly<Record<string, (samples: Float32Array) => Promise<unknown>>> = {
  decodeAudio: (samples) => decodeAudio({ samples, sampleRate }),
  "decodeAudio with a range": (samples) => decodeAudio({ samples, sampleRate }, { start: 0, duration: 1 }),
  prepareInput: (samples) => prepareInput({ image, audio: { samples, sampleRate } }, config),
  prepareSample: (samples) => prepareSample({ image, audio: { samples, sampleRate } }, config),
  "preprocess.audio": (samples) => preprocess.audio({ samples, sampleRate }, config),
  "preprocess.resample": (samples) => preprocess.resample({ samples, sampleRate }, 8000),
};

function floatWav(samples: Float32Array): Uint8Array {
  const head = Buffer.alloc(44);
  head.write("RIFF\0\0\0\0WAVEfmt ", "latin1");
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(3, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(sampleRate, 24);
  head.writeUInt32LE(sampleRate * 4, 28);
  head.writeUInt16LE(4, 32);
  head.writeUInt16LE(32, 34);
  head.write("data", 36, "latin1");
  head.writeUInt32LE(samples.length * 4, 40);
  return new Uint8Array(
    Buffer.concat([head, Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)]),
  );
}

describe("samples far outside [−1, 1]", () => {
  it.each(Object.keys(entries))("are rejected by %s, with the fix", async (name) => {
    const entry = entries[name] as (samples: Float32Array) => Promise<unknown>;
    const integers = tone.map((value) => Math.round(value * 32_767));
    const message = expect.stringMatching(
      /sample \d+ is -?\d+, far outside .*Divide 16-bit integers by 32,768/,
    );
    await expect(entry(integers)).rejects.toMatchObject({ code: "ERR_INPUT", message });
    await expect(entry(integers.map((value) => value / 32_768))).resolves.toBeDefined();
  });

  it("are rejected in a float WAV, by its name", async () => {
    await expect(decodeAudio(floatWav(tone.map((value) => value * 20_000)))).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringMatching(/^The audio buffer: sample \d+ is .*Divide 16-bit integers by 32,768/),
    });
    expect((await decodeAudio(floatWav(tone))).samples).toEqual(tone);
  });

  it("begin at ±8, wherever one is", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: tone.length - 1 }),
        fc.float({ min: -40, max: 40, noNaN: true }),
        async (at, value) => {
          const samples = new Float32Array(tone);
          samples[at] = value;
          const result = await decodeAudio({ samples, sampleRate }).catch(
            (error: { code: string }) => error.code,
          );
          if (Math.abs(value) > 8) expect(result).toBe("ERR_INPUT");
          else expect(result).toMatchObject({ sampleRate });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("are not a constant offset, nor NaN, which has its own code", async () => {
    const offset = tone.map((value) => value + 3);
    expect((await decodeAudio({ samples: offset, sampleRate })).samples).toEqual(offset);
    const broken = tone.map((value, i) => (i === 9 ? Number.NaN : value));
    await expect(decodeAudio({ samples: broken, sampleRate })).rejects.toMatchObject({
      code: "ERR_AUDIO_NOT_FINITE",
    });
  });
});
