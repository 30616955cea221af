/** Audio of any length, videos whose audio is shorter than the frames, and the messages for wrong media. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RawImage, TensorData } from "../../../src/core/types.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { renderGrids } from "../../../src/drawing/grids.js";
import { renderPanels } from "../../../src/drawing/panels.js";
import { renderSpectrogram } from "../../../src/drawing/spectrogram.js";
import { type LocalizeInput, Model, parseModelConfig, preprocess } from "../../../src/index.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";
import { prepareInput, prepareSample } from "../../../src/model/inputs.js";
import { native } from "../../../src/native.js";
import { ofSlots, slots, tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-long-"));
const file = (name: string) => join(folder, name);
const config = parseModelConfig({ ...tiny, audio: { seconds: 1 } });
const image = { data: new Uint8Array(32 * 32 * 3).map((_, i) => i % 251), width: 32, height: 32 };
const root = process.getuid?.() === 0;
let ffmpeg: (...args: string[]) => void;

beforeAll(async () => {
  const { path } = await findFfmpeg();
  ffmpeg = (...args) => execFileSync(path, ["-v", "error", "-y", ...args]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Repeatable noise at 8 bits, which every format keeps. */
function noise(length: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 24) - 128) / 128;
  });
}

/** A file of zeros with a header and, where its samples are in the middle, other bytes. Takes no space. */
function sparseFile(name: string, header: Uint8Array, dataBytes: number, middle: Uint8Array): string {
  const path = file(name);
  writeFileSync(path, header);
  truncateSync(path, header.length + dataBytes);
  const handle = openSync(path, "r+");
  writeSync(handle, middle, 0, middle.length, header.length + (dataBytes - middle.length) / 2);
  closeSync(handle);
  return path;
}

/** Compares by bytes: to show how thousands of values differ takes minutes. */
function expectSame(a: TensorData, b: TensorData, what?: string): void {
  expect(a.shape, what).toEqual(b.shape);
  expect(
    Buffer.from(a.data.buffer).equals(Buffer.from(b.data.buffer)),
    `${what ?? "values"} are the same`,
  ).toBe(true);
}

describe("long audio", () => {
  /** The header of a 16-bit WAV, one channel, that promises `frames`. */
  const wavHeader = (sampleRate: number, frames: number) => {
    const header = encodeWav({ samples: new Float32Array(0), sampleRate });
    new DataView(header.buffer).setUint32(40, 2 * frames, true);
    return header;
  };
  const wavSamples = (samples: Float32Array) => encodeWav({ samples, sampleRate: 1 }).subarray(44);

  it("hears of a long WAV and FLAC, to the bit, what it hears of all samples", async () => {
    const samples = new Float32Array(44_100 * 400);
    const middle = noise(44_100 * 2);
    samples.set(middle, (samples.length - middle.length) / 2);
    const wav = sparseFile(
      "long.wav",
      wavHeader(44_100, samples.length),
      2 * samples.length,
      wavSamples(middle),
    );
    ffmpeg("-i", wav, file("long.flac"));
    const whole = await preprocess.audio({ samples, sampleRate: 44_100 }, config);
    expectSame(await preprocess.audio(wav, config), whole, "WAV");
    expectSame(await preprocess.audio(readFileSync(wav), config), whole, "a WAV in memory");
    expectSame(await preprocess.audio(file("long.flac"), config), whole, "FLAC");
  });

  it("hears the middle of a WAV of 2.7 GB", async () => {
    const frames = 1_350_000_000;
    const samples = noise(96_000);
    const path = sparseFile("huge.wav", wavHeader(48_000, frames), 2 * frames, wavSamples(samples));
    const expected = await preprocess.audio({ samples, sampleRate: 48_000 }, config);
    expectSame(await preprocess.audio(path, config), expected);
    const part = await decodeAudio(path, { start: (frames / 2 - 48_000) / 48_000, duration: 2 });
    expectSame({ data: part.samples, shape: [] }, { data: samples, shape: [] });
  });

  it("hears the middle of what ffmpeg decodes to more than a gibibyte", async () => {
    const header = Buffer.alloc(24);
    header.write(".snd");
    // The header's length, an open size, 8-bit samples, their rate, one channel.
    for (const [i, value] of [24, 0xffffffff, 2, 48_000, 1].entries()) header.writeUInt32BE(value, 4 + 4 * i);
    const samples = noise(96_000);
    const path = sparseFile(
      "huge.au",
      header,
      270_000_000,
      Uint8Array.from(samples, (value) => value * 128),
    );
    const expected = await preprocess.audio({ samples, sampleRate: 48_000 }, config);
    expectSame(await preprocess.audio(path, config), expected);
  });

  it("rejects more samples than fit into memory, and says how to decode a part", async () => {
    const frames = 2 ** 30 + 2 ** 20;
    const path = sparseFile("many.wav", wavHeader(8000, frames), 2 * frames, new Uint8Array(2));
    await expect(decodeAudio(path)).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringMatching(/many\.wav.*give start and duration/),
    });
  });
});

describe("a video without a moment", () => {
  /** Two frames a second that show their number, and a tone that rises by 200 Hz a second. */
  const video = (name: string, frames: number, tone: number, offset = 0) => {
    const counter = `color=black:s=32x32:r=2:d=${frames},format=gray,geq=lum='8*N+4'`;
    const steps = `aevalsrc='0.5*sin(2*PI*(400+200*floor(t))*t)':s=16000:d=${tone}`;
    const inputs = ["-f", "lavfi", "-i", counter, "-itsoffset", String(offset), "-f", "lavfi", "-i", steps];
    ffmpeg(...inputs, "-pix_fmt", "yuv444p", "-c:v", "libx264", "-qp", "0", "-c:a", "pcm_s16le", file(name));
    return file(name);
  };
  const frameNumber = (image: RawImage | undefined) => Math.round(((image?.data[0] ?? 0) - 4) / 8);
  /** The loudest frequency of each quarter, in hertz. */
  const tones = ({ data, shape }: TensorData) => {
    const [, bins = 0, frames = 0] = shape;
    return [1, 3, 5, 7].map((eighth) => {
      const frame = Math.round((eighth * frames) / 8);
      const column = Array.from({ length: bins }, (_, bin) => data[bin * frames + frame] as number);
      return (column.indexOf(Math.max(...column)) * 16_000) / 512;
    });
  };
  const prepared = async (path: string) => {
    const { image, handle } = await prepareInput({ video: path }, config);
    const { spectrogram } = ofSlots(native().tensors(handle));
    return { frame: frameNumber(image), spectrogram, tones: tones(spectrogram) };
  };
  const near = (hertz: number[]) => hertz.map((value) => expect.closeTo(value, -1.6));

  it("has its frame and its audio window in the middle when its streams have one length", async () => {
    const path = video("same.mkv", 8, 8);
    const { frame, spectrogram } = await prepared(path);
    expect(frame).toBe(8);
    expectSame(spectrogram, await preprocess.audio(await decodeAudio(path), config));
  });

  it("has its audio window around the frame in the middle when the audio ends before the frames", async () => {
    const { frame, tones } = await prepared(video("short.mkv", 12, 8));
    expect(frame).toBe(12);
    expect(tones).toEqual(near([1400, 1400, 1600, 1600]));
  });

  it("has its frame at the nearest moment with audio when there is none in the middle", async () => {
    const early = await prepared(video("early.mkv", 12, 4));
    expect([early.frame, ...early.tones]).toEqual([7, ...near([1000, 1000, 1000, 1000])]);
    const late = await prepared(video("late.mkv", 12, 4, 8));
    expect([late.frame, ...late.tones]).toEqual([17, ...near([400, 400, 400, 400])]);
  });

  it("hears silence at a moment after the audio has ended", async () => {
    const path = video("early.mkv", 12, 4);
    expect(await prepareInput({ video: path, at: 10 }, config)).toMatchObject({ silent: true, time: 10 });
    expect(await prepareInput({ video: path, at: 3 }, config)).toMatchObject({ silent: false, time: 3 });
  });
});

describe("wrong media", () => {
  it("names what is no file", async () => {
    const path = file("socket.mp3");
    const server = createServer().listen(path);
    await new Promise((resolve) => server.once("listening", resolve));
    const rejection = {
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringContaining("socket.mp3 is no plain file"),
    };
    await expect(decodeAudio(path)).rejects.toMatchObject(rejection);
    server.close();
  });

  it.skipIf(root || process.platform === "win32")("names an audio file without read permission", async () => {
    writeFileSync(file("locked.mp3"), "ID3");
    chmodSync(file("locked.mp3"), 0);
    await expect(decodeAudio(file("locked.mp3"))).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringMatching(/locked\.mp3 cannot be read.*permissions/),
    });
  });

  it("asks for the shape of a tensor", async () => {
    const tensor = new Float32Array(3 * 32 * 32);
    const audio = { samples: noise(16_000), sampleRate: 16_000 };
    for (const shape of [undefined, 3]) {
      const input = { image: { tensor, shape }, audio } as unknown as LocalizeInput;
      await expect(prepareInput(input, config)).rejects.toMatchObject({
        code: "ERR_SHAPE",
        message: expect.stringMatching(/image tensor needs its shape, \[3, 32, 32\].*(undefined|number)/),
      });
    }
  });

  it.each([
    ["no sample", undefined, /sample.*undefined/],
    ["no audio", { image }, /Audio.*undefined/],
    ["a list of samples", { image, audio: { samples: [0, 1], sampleRate: 8000 } }, /samples.*Array/],
    [
      "samples of doubles",
      { image, audio: { samples: new Float64Array(8), sampleRate: 8000 } },
      /samples.*Float64Array/,
    ],
    [
      "samples that are no channels",
      { image, audio: { samples: new Float32Array(9), sampleRate: 8000, channels: 2 } },
      /9 samples.*2 channels/,
    ],
    ["no rate", { image, audio: { samples: new Float32Array(8) } }, /sampleRate.*undefined/],
    [
      "a list of pixels",
      { image: { ...image, data: [...image.data] }, audio: { samples: noise(8), sampleRate: 8000 } },
      /data.*Array/,
    ],
    [
      "too few pixels",
      { image: { ...image, width: 33 }, audio: { samples: noise(8), sampleRate: 8000 } },
      /33 × 32/,
    ],
  ])("rejects a dataset's sample with %s", async (_, sample, message) => {
    const given = sample as unknown as Parameters<typeof prepareSample>[0];
    await expect(prepareSample(given, config)).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(message),
    });
  });
});

describe("figures of a spot", () => {
  it("show every target slot, times and frequencies", async () => {
    using model = await Model.create({
      ...tiny,
      ...slots({ targetSlots: 2, offTargetSlots: 1 }),
      audio: { seconds: 1 },
    });
    const audio = { samples: noise(16_000), sampleRate: 16_000 };
    const spot = await model.localize({ image, audio });
    const { audioOnImage, imageOnImage, audioOnAudio } = ofSlots(spot).attention;
    const maps = [
      { title: "audio queries", ...audioOnImage },
      { title: "image queries", ...imageOnImage },
    ];
    const panels = await encodeImage(await renderPanels(image, maps, { targets: 2 }), { format: "png" });
    expect(panels.equals(await spot.panels())).toBe(true);

    const tokens = audioOnAudio.shape[1] as number;
    const highest = audioOnAudio.data
      .slice(0, tokens)
      .map((value, i) => Math.max(value, audioOnAudio.data[tokens + i] as number));
    const differs = highest.some((value, i) => value !== audioOnAudio.data[i]);
    expect(differs, "the second target is higher somewhere").toBe(true);
    const spectrogram = await preprocess.audio(audio, model.config);
    const axes = { seconds: 1, maxHertz: 8000 };
    const figure = await encodeImage(await renderSpectrogram(spectrogram, highest, axes), { format: "png" });
    expect(figure.equals(await spot.spectrogram())).toBe(true);

    const each = [0, 1, 2].map((slot) => ({
      title: `attention of slot ${slot} (${slot < 2 ? "target" : "off-target"})`,
      data: audioOnAudio.data.slice(slot * tokens, (slot + 1) * tokens),
    }));
    const all = await encodeImage(await renderSpectrogram(spectrogram, each, axes), { format: "png" });
    expect(all.equals(await spot.spectrogram({ slots: "all" }))).toBe(true);
    expect(all.equals(figure)).toBe(false);
  });

  it("show the raw map of the target slots and the map that it is enlarged to, of several models", async () => {
    const config = { ...tiny, ...slots({ targetSlots: 2, offTargetSlots: 1 }) };
    using model = await Model.create(config, { seed: 1 });
    using other = await Model.create(tiny, { seed: 2 });
    const input = { image, audio: { samples: noise(8000), sampleRate: 16_000 } };
    const [spot, before] = [await model.localize(input, { refine: "iqr" }), await other.localize(input)];
    const rowOf = (title: string, each: typeof spot, targets: number) => {
      const { data, shape } = ofSlots(each).attention.audioOnImage;
      const side = shape[1] as number;
      const highest = Float32Array.from({ length: side * side }, (_, i) =>
        Math.max(...Array.from({ length: targets }, (_, t) => data[t * side * side + i] as number)),
      );
      return { title, tokens: { data: highest, shape: [side, side] }, map: each.audioMap };
    };
    const rows = [rowOf("without", before, 1), rowOf("with", spot, 2)];
    const expected = await encodeImage(await renderGrids(image, rows), { format: "png" });
    const figure = await spot.grids({ title: "with", above: [{ title: "without", spot: before }] });
    expect(figure.equals(expected)).toBe(true);
    const alone = await encodeImage(
      await renderGrids(image, [{ ...(rows[1] as (typeof rows)[1]), title: "map" }]),
      {
        format: "png",
      },
    );
    expect(alone.equals(await spot.grids())).toBe(true);

    const small = { data: image.data.slice(0, 3 * 16), width: 4, height: 4 };
    const elsewhere = await other.localize({ ...input, image: small });
    await expect(spot.grids({ above: [{ title: "x", spot: elsewhere }] })).rejects.toMatchObject({
      code: "ERR_SHAPE",
    });
  });

  it("stop when their signal has fired, as preprocessing does", async () => {
    using model = await Model.create(tiny);
    const audio = { samples: noise(8000), sampleRate: 16_000 };
    const spot = await model.localize({ image, audio });
    const signal = AbortSignal.abort();
    for (const work of [
      () => spot.overlay({ signal }),
      () => spot.panels({ signal }),
      () => spot.spectrogram({ signal }),
      () => spot.spectrogram({ slots: "all", signal }),
      () => spot.grids({ signal }),
      () => preprocess.image(image, model.config, { signal }),
      () => preprocess.audio(audio, model.config, { signal }),
    ]) {
      await expect(work(), String(work)).rejects.toMatchObject({ code: "ERR_ABORTED" });
    }
  });
});

describe("the command localize", () => {
  let main: string;
  beforeAll(() => {
    main = join(transpilePackage(file("package")), "cli", "main.js");
  });

  it.each([
    ["an image without audio", ["dog.jpg"], /second argument/],
    ["a refinement without its model", ["dog.jpg", "dog.wav", "--refine", "ogl"], /--objectness/],
    ["a moment of an image", ["dog.jpg", "dog.wav", "--at", "2"], /--at/],
  ])("calls %s wrong usage", (_, args, message) => {
    const command = [main, "localize", ...args, "--model", file("none.safetensors")];
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: "utf8" });
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });
});
