/** Values of another realm, as Jest and `vm` create them, are accepted. */
import { createContext, runInContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { parseModelConfig } from "../../../src/config/model.js";
import { aSignal } from "../../../src/core/arguments.js";
import { isError, isSoundspotError, SoundspotError } from "../../../src/core/errors.js";
import { matrixOf } from "../../../src/core/matrix.js";
import { ownTensor } from "../../../src/core/tensors.js";
import { naming } from "../../../src/datasets/source.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { falseNegatives } from "../../../src/evaluation/false-negatives.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { decodeImage } from "../../../src/media/image.js";
import { readMask } from "../../../src/media/mask.js";
import { encodeWav } from "../../../src/media/wav.js";
import { preprocess } from "../../../src/model/preprocess.js";

const context = createContext({});
/** The same values in arrays of another realm. */
const floats = (values: Iterable<number>): Float32Array =>
  runInContext(`Float32Array.from(${JSON.stringify([...values])})`, context) as Float32Array;
const bytes = (values: Iterable<number>): Uint8Array =>
  runInContext(`Uint8Array.from(${JSON.stringify([...values])})`, context) as Uint8Array;

describe("another realm", () => {
  it("has classes of its own", () => {
    expect(floats([1]) instanceof Float32Array).toBe(false);
    expect(bytes([1]) instanceof Uint8Array).toBe(false);
  });

  it("gives vectors and tensors", async () => {
    const rows = [
      [1, 0],
      [0, 1],
      [0.6, 0.8],
      [1, 0.1],
    ];
    const slots = (array: (values: number[]) => Float32Array) => {
      const tensor = { data: array(rows.flat()), shape: [rows.length, 2] };
      return { image: tensor, audio: tensor };
    };
    const found = await falseNegatives(slots(floats), 2);
    expect(found).toEqual(
      await falseNegatives(
        slots((values) => Float32Array.from(values)),
        2,
      ),
    );
    expect(found).toContainEqual([0, 3]);
    expect([...matrixOf(rows.map(floats), 2).data]).toEqual([...Float32Array.from(rows.flat())]);
    expect([...ownTensor({ data: floats([1, 2]), shape: [2] }).data]).toEqual([1, 2]);
  });

  it("gives images, masks and audio, encoded and raw", async () => {
    const pixels = Uint8Array.from({ length: 48 }, (_, i) => (i * 5) % 256);
    const image = { data: pixels, width: 4, height: 4 };
    const png = await encodeImage({ ...image, data: bytes(pixels) }, { format: "png" });
    expect([...(await decodeImage(bytes(png))).data]).toEqual([...pixels]);
    expect((await decodeImage({ ...image, data: bytes(pixels) })).width).toBe(4);
    expect([...(await readMask(bytes(png))).data]).toEqual([...(await readMask(png)).data]);
    const samples = Float32Array.from({ length: 100 }, (_, i) => (i % 10) / 16);
    const wav = encodeWav({ samples, sampleRate: 8000 });
    expect([...(await decodeAudio(bytes(wav))).samples]).toEqual([...samples]);
    expect((await decodeAudio({ samples: floats(samples), sampleRate: 8000 })).samples.length).toBe(100);
  });

  it("gives the same tensors to the model", async () => {
    const config = parseModelConfig({ imageSize: 32 });
    const pixels = Uint8Array.from({ length: 48 }, (_, i) => (i * 5) % 256);
    const own = await preprocess.image({ data: pixels, width: 4, height: 4 }, config);
    const foreign = await preprocess.image({ data: bytes(pixels), width: 4, height: 4 }, config);
    expect([...foreign.data]).toEqual([...own.data]);
    const samples = Float32Array.from({ length: 800 }, (_, i) => Math.sin(i));
    const ours = await preprocess.audio({ samples, sampleRate: 8000 }, config);
    const there = await preprocess.audio({ samples: floats(samples), sampleRate: 8000 }, config);
    expect([...there.data.slice(0, 500)]).toEqual([...ours.data.slice(0, 500)]);
  });

  it("throws errors whose messages are kept", async () => {
    const foreign = runInContext(`new TypeError("it broke")`, context) as Error;
    expect([foreign instanceof Error, isError(foreign), isSoundspotError(foreign)]).toEqual([
      false,
      true,
      false,
    ]);
    const failing = naming("list.csv, line 3", () => Promise.reject(foreign));
    await expect(failing).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: "list.csv, line 3: it broke",
    });
    expect(isSoundspotError(new SoundspotError("ERR_INPUT", "no"))).toBe(true);
    expect([isError(new DOMException("gone", "AbortError")), isError({ message: "no error" })]).toEqual([
      true,
      false,
    ]);
  });

  it("gives signals that work like those of this realm", () => {
    const { signal } = new AbortController();
    const alike = {
      aborted: false,
      reason: undefined,
      addEventListener: signal.addEventListener.bind(signal),
      removeEventListener: signal.removeEventListener.bind(signal),
    };
    expect([signal, alike, {}, { aborted: true }, "signal"].map((value) => aSignal[0](value))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});
