/** Failures have a code and a message that says how to fix them, and the process stays alive. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type ErrorCode,
  falseNegatives,
  type LocalizeInput,
  Model,
  type ModelOptions,
  type NamedTensor,
  parseModelConfig,
  parseTrainConfig,
  SoundspotError,
  Trainer,
  train,
} from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";
import { writeSafetensors } from "../../support/safetensors.js";
import { slots, tiny } from "../../support/tiny.js";

const rate = 16_000;
const tone = Float32Array.from({ length: rate / 2 }, (_, i) => 0.5 * Math.sin(i / 5));
const image = { data: new Uint8Array(32 * 32 * 3).map((_, i) => i % 251), width: 32, height: 32 };
const good: LocalizeInput = { image, audio: { samples: tone, sampleRate: rate } };

const ffmpeg = await findFfmpeg().then(
  ({ path }) => path,
  () => undefined,
);
const folder = mkdtempSync(join(tmpdir(), "soundspot-errors-"));
const file = (name: string) => join(folder, name);
let model: Model;

beforeAll(async () => {
  model = await Model.create(tiny);
  const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251);
  const jpeg = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
    .jpeg()
    .toBuffer();
  writeFileSync(file("good.jpg"), jpeg);
  writeFileSync(file("cut.jpg"), jpeg.subarray(0, jpeg.length >> 1));
  writeFileSync(file("empty.jpg"), "");
  writeFileSync(file("text.jpg"), "this is no image\n".repeat(20));
  writeFileSync(file("good.wav"), encodeWav({ samples: tone, sampleRate: rate }));
  writeFileSync(file("zero.wav"), encodeWav({ samples: new Float32Array(0), sampleRate: rate }));
  if (ffmpeg) {
    const grey = ["-f", "lavfi", "-i", "color=gray:s=32x32:r=5:d=1"];
    execFileSync(ffmpeg, ["-v", "error", "-y", ...grey, "-an", file("silent.mp4")]);
  }
  await model.save(file("model.safetensors"));
  const bytes = readFileSync(file("model.safetensors"));
  writeFileSync(
    file("random.safetensors"),
    Uint8Array.from(bytes, (_, i) => (i * 7919 + 13) % 251),
  );
  copyFileSync(file("model.safetensors"), file("cut.safetensors"));
  truncateSync(file("cut.safetensors"), bytes.length - 1000);
  writeFileSync(file("empty.safetensors"), "");
});

afterAll(() => {
  model.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** The failure; it must be a SoundspotError with this code, and its message must match all of `parts`. */
async function expectFailure(
  work: () => unknown,
  code: ErrorCode,
  ...parts: (string | RegExp)[]
): Promise<SoundspotError> {
  const error = await (async () => work())().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, "it was expected to fail").toBeInstanceOf(SoundspotError);
  const failure = error as SoundspotError;
  expect(failure.code, failure.message).toBe(code);
  for (const part of parts) expect(failure.message).toMatch(part);
  return failure;
}

const literal = (text: string) => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
const fix = /\b(give|check|save|copy|download|load|use|look|run|export|train)\b/i;

afterEach(async () => {
  const { heatmap } = await model.localize(good);
  expect(heatmap.length, "a good input afterwards").toBe(32 * 32);
  expect(heatmap.every(Number.isFinite)).toBe(true);
});

describe("media", () => {
  it.each([
    ["a missing image", "none.jpg", "good.wav", "ERR_FILE_NOT_FOUND"],
    ["a missing audio file", "good.jpg", "none.wav", "ERR_FILE_NOT_FOUND"],
    ["an empty image", "empty.jpg", "good.wav", "ERR_FILE_EMPTY"],
    ["an empty audio file", "good.jpg", "empty.jpg", "ERR_FILE_EMPTY"],
    ["text named .jpg", "text.jpg", "good.wav", "ERR_MEDIA_DECODE"],
    ["a truncated JPEG", "cut.jpg", "good.wav", "ERR_MEDIA_DECODE"],
    ["audio of length zero", "good.jpg", "zero.wav", "ERR_AUDIO_EMPTY"],
  ] as const)("rejects %s and names the file", async (_, image, audio, code) => {
    const bad = image === "good.jpg" ? audio : image;
    const input = { image: file(image), audio: file(audio) };
    await expectFailure(() => model.localize(input), code, literal(file(bad)), fix);
  });

  it.skipIf(!ffmpeg)("rejects a video without audio and names the file", async () => {
    const path = file("silent.mp4");
    await expectFailure(() => model.localize({ video: path }), "ERR_NO_AUDIO", literal(path), fix);
    await expectFailure(() => model.localize({ image, audio: path }), "ERR_NO_AUDIO", literal(path), fix);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("rejects samples of %s", async (value) => {
    const samples = tone.slice();
    samples[100] = value;
    const input = { image, audio: { samples, sampleRate: rate } };
    await expectFailure(() => model.localize(input), "ERR_AUDIO_NOT_FINITE", fix);
  });

  it("fails a whole batch for one bad input, and names it", async () => {
    const bad = { image: file("none.jpg"), audio: file("good.wav") };
    await expectFailure(() => model.localize([good, bad]), "ERR_FILE_NOT_FOUND", /none\.jpg/);
  });
});

describe("tensors", () => {
  const frames = Math.floor((0.5 * rate) / 160) + 1;
  const spectrogram = { spectrogram: new Float32Array(257 * frames), shape: [1, 257, frames] };

  it("rejects an image tensor of another shape and names both shapes", async () => {
    const image = { tensor: new Float32Array(3 * 16 * 16), shape: [3, 16, 16] };
    await expectFailure(
      () => model.localize({ image, audio: spectrogram }),
      "ERR_SHAPE",
      /\[3, 32, 32\]/,
      /\[3, 16, 16\]/,
    );
  });

  it("rejects a spectrogram of another shape and names both shapes", async () => {
    const audio = { spectrogram: new Float32Array(257 * 7), shape: [1, 257, 7] };
    await expectFailure(
      () => model.localize({ image, audio }),
      "ERR_SHAPE",
      literal(`[1, 257, ${frames}]`),
      /\[1, 257, 7\]/,
    );
  });

  it("rejects a shape that does not match its data", async () => {
    const image = { tensor: new Float32Array(10), shape: [3, 32, 32] };
    await expectFailure(() => model.localize({ image, audio: spectrogram }), "ERR_SHAPE");
  });

  it("rejects tensors with NaN", async () => {
    const image = { tensor: new Float32Array(3 * 32 * 32).fill(Number.NaN), shape: [3, 32, 32] };
    await expectFailure(() => model.localize({ image, audio: spectrogram }), "ERR_INPUT", /not finite/);
  });

  it("rejects numbers of another type than float32", async () => {
    const [first] = await model.parameters();
    const { name, shape } = first as NamedTensor;
    const count = shape.reduce((a, b) => a * b, 1);
    for (const data of [new Float64Array(count), new Uint8Array(count), [1, 2]]) {
      const given = [{ name, shape, data: data as unknown as Float32Array }];
      await expectFailure(() => model.setParameters(given), "ERR_INPUT", /Float32Array/);
    }
    const bytes = { data: new Uint8Array(4) as unknown as Float32Array, shape: [2, 2] };
    await expectFailure(() => falseNegatives({ image: bytes, audio: bytes }, 1), "ERR_INPUT", /Float32Array/);
    const huge = { data: new Float32Array(0), shape: [2 ** 32, 2 ** 32] };
    await expectFailure(() => falseNegatives({ image: huge, audio: huge }, 1), "ERR_SHAPE", /shape/);
  });

  it("rejects parameters of an unknown name or another shape, and changes none", async () => {
    const before = await model.parameters();
    const first = before[0] as (typeof before)[number];
    const zeros = { ...first, data: new Float32Array(first.data.length) };
    const unknown = { name: "nobody.weight", shape: [1], data: new Float32Array(1) };
    await expectFailure(
      () => model.setParameters([zeros, unknown]),
      "ERR_CHECKPOINT_MISMATCH",
      /nobody\.weight/,
      fix,
    );
    const flat = { ...first, shape: [first.data.length] };
    await expectFailure(() => model.setParameters([flat]), "ERR_CHECKPOINT_MISMATCH", literal(first.name));
    const short = { ...first, data: first.data.slice(1) };
    await expectFailure(() => model.setParameters([short]), "ERR_SHAPE");
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      const bad = { ...first, data: first.data.slice().fill(value, -1) };
      await expectFailure(
        () => model.setParameters([zeros, bad]),
        "ERR_INPUT",
        literal(first.name),
        /not finite/,
      );
    }
    expect(await model.parameters()).toEqual(before);
  });
});

describe("checkpoints", () => {
  it.each([
    ["a missing", "none.safetensors", "ERR_FILE_NOT_FOUND"],
    ["an empty", "empty.safetensors", "ERR_FILE_EMPTY"],
    ["a truncated", "cut.safetensors", "ERR_CHECKPOINT_CORRUPT"],
    ["a random", "random.safetensors", "ERR_CHECKPOINT_CORRUPT"],
    ["an image as", "good.jpg", "ERR_CHECKPOINT_CORRUPT"],
  ] as const)("rejects %s checkpoint and names the file", async (_, name, code) => {
    await expectFailure(() => Model.load(file(name)), code, literal(file(name)), fix);
    await expectFailure(() => model.loadImageWeights(file(name)), code, literal(file(name)), fix);
  });

  it("rejects every truncation of a checkpoint", async () => {
    const bytes = readFileSync(file("model.safetensors"));
    for (const length of [1, 7, 8, 9, 100, 2000, bytes.length >> 1, bytes.length - 1]) {
      const path = file("some.safetensors");
      writeFileSync(path, bytes.subarray(0, length));
      await expectFailure(() => Model.load(path), "ERR_CHECKPOINT_CORRUPT", literal(path), fix);
    }
  });

  it.each([
    ["other widths", { ...tiny, dim: 24 }],
    ["more stages", { ...tiny, imageStages: 3 }],
    ["fewer stages", { ...tiny, audioStages: 1 }],
    ["separate slots", { ...tiny, ...slots({ sharedSlots: false }) }],
  ])("rejects a checkpoint of another configuration: %s", async (_, config) => {
    const path = file("model.safetensors");
    await expectFailure(
      () => Model.load(path, { config }),
      "ERR_CHECKPOINT_MISMATCH",
      literal(path),
      /configuration/,
      fix,
    );
  });

  it("rejects a configuration whose tensors are not in the file before it takes memory for them", async () => {
    const path = file("boast.safetensors");
    const config = parseModelConfig({
      ...tiny,
      dim: 4096,
      ...slots({ decoderHidden: 16384, decoderLayers: 8 }),
    });
    writeSafetensors(path, [{ name: "x", shape: [1], data: new Float32Array(1) }], {
      "soundspot.config": JSON.stringify(config),
    });
    const before = process.memoryUsage().rss;
    await expectFailure(() => Model.load(path), "ERR_CHECKPOINT_MISMATCH", literal(path), fix);
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  });

  it("rejects the training state of another model, or none, and keeps its own", async () => {
    const batch = [good, { ...good, audio: { samples: tone.map((v) => -v), sampleRate: rate } }];
    const run = async (state?: string) => {
      using fresh = await Model.create(tiny, { seed: 2 });
      const trainer = new Trainer(fresh, { learningRate: 0.01 });
      await trainer.step(batch);
      if (state) {
        await expectFailure(() => trainer.restore(state), "ERR_CHECKPOINT_MISMATCH", literal(state), fix);
      }
      await trainer.step(batch);
      return (await fresh.parameters()).map(({ data }) => [...data]);
    };
    const wide = file("wide.safetensors");
    using other = await Model.create({ ...tiny, dim: 24 });
    const trainer = new Trainer(other);
    await trainer.step(batch);
    await trainer.save(wide);
    const plain = await run();
    expect(await run(wide)).toEqual(plain);
    expect(await run(file("model.safetensors"))).toEqual(plain);
  });

  it("makes the folder of a checkpoint, and reports a file in its place", async () => {
    const deep = join(folder, "made", "for", "model.safetensors");
    await model.save(deep);
    expect(readFileSync(deep)).toEqual(readFileSync(file("model.safetensors")));
    await expectFailure(
      () => model.save(join(file("model.safetensors"), "below", "model.safetensors")),
      "ERR_FILE_WRITE",
      /below/,
    );
  });
});

describe("memory that the caller transfers", () => {
  /** Transfers the memory, and overwrites it at its new owner. */
  const handOn = (values: Float32Array | Uint8Array): void => {
    const kept = structuredClone(values, { transfer: [values.buffer as ArrayBuffer] });
    kept.fill(99);
    expect(values.length).toBe(0);
  };

  it("is read before: an image and audio", async () => {
    const { heatmap } = await model.localize(good);
    const [data, samples] = [image.data.slice(), tone.slice()];
    const running = model.localize({ image: { ...image, data }, audio: { samples, sampleRate: rate } });
    handOn(data);
    handOn(samples);
    expect((await running).heatmap).toEqual(heatmap);
    await expectFailure(() => model.localize({ ...good, image: { ...image, data } }), "ERR_INPUT");
    const audio = { samples, sampleRate: rate };
    await expectFailure(() => model.localize({ image, audio }), "ERR_AUDIO_EMPTY");
  });

  it("is read before: parameters", async () => {
    const [first] = await model.parameters();
    const { name, shape, data } = first as NamedTensor;
    const given = data.slice();
    const running = model.setParameters([{ name, shape, data: given }]);
    handOn(given);
    await running;
    expect(((await model.parameters())[0] as NamedTensor).data).toEqual(data);
  });
});

describe("use", () => {
  it("rejects a disposed model", async () => {
    const gone = await Model.create(tiny);
    const trainer = new Trainer(gone);
    gone.dispose();
    gone.dispose();
    for (const work of [
      () => gone.localize(good),
      () => gone.encode([good]),
      () => gone.parameters(),
      () => gone.setParameters([]),
      () => gone.save(file("gone.safetensors")),
      () => gone.loadImageWeights(file("model.safetensors")),
      () => new Trainer(gone),
      () => trainer.step([good, good]),
      () => trainer.save(file("gone.safetensors")),
    ]) {
      await expectFailure(work, "ERR_DISPOSED", fix);
    }
    expect(existsSync(file("gone.safetensors"))).toBe(false);
  });

  it("finishes running work when the model is disposed", async () => {
    const gone = await Model.create(tiny);
    const running = gone.parameters();
    gone.dispose();
    expect((await running).length).toBeGreaterThan(10);
  });

  it("rejects an aborted signal with its reason", async () => {
    const signal = AbortSignal.abort("enough");
    const data = { name: "none", length: 8, load: async () => expect.fail("it was loaded") };
    for (const work of [
      () => model.localize(good, { signal }),
      () => model.localize([good], { signal }),
      () => model.encode([good], { signal }),
      () => Model.load(file("model.safetensors"), { signal }),
      () => train({ data, model: tiny, batchSize: 2, signal }),
    ]) {
      const error = await expectFailure(work, "ERR_ABORTED");
      expect(error.cause).toBe("enough");
    }
  });

  it("rejects a signal that fires while it works", async () => {
    const control = new AbortController();
    const running = model.localize(good, { signal: control.signal });
    control.abort();
    await expectFailure(() => running, "ERR_ABORTED");
  });

  it.each([
    ["threshold", { threshold: 2 }],
    ["alpha", { alpha: -1, refine: "iqr" }],
    ["sharpening", { sharpening: 0 }],
    ["sharpening", { sharpening: Number.NaN }],
  ] as const)("rejects %s out of its range: %o", async (name, options) => {
    await expectFailure(() => model.localize(good, options), "ERR_INPUT", literal(name));
  });
});

describe("configuration", () => {
  it.each([
    ["model.dim", () => Model.create({ dim: 15 })],
    ["model.imageStride", () => Model.create({ imageStages: 1, imageStride: 32 })],
    ["model.audio.sampleRate", () => Model.create({ audio: { sampleRate: 1 } })],
    ["model.colour", () => Model.create({ colour: 3 } as ModelOptions)],
    ["model.audio.pitch", () => parseModelConfig({ audio: { pitch: 3 } } as ModelOptions)],
    ["train.epochs", () => parseTrainConfig({ epochs: 0 })],
    ["train.learningRate", () => new Trainer(model, { learningRate: Number.NaN })],
    ["train.losses.matching.weight", () => parseTrainConfig({ losses: { matching: { weight: -1 } } })],
    ["train.augment.hue", () => parseTrainConfig({ augment: { hue: 3 } })],
  ])("rejects %s and names its path", async (path, work) => {
    await expectFailure(work, "ERR_CONFIG", literal(path));
  });

  it("names an unknown loss, and the known ones", async () => {
    const losses = { matchng: { weight: 0 } };
    await expectFailure(
      () => new Trainer(model, { losses }),
      "ERR_CONFIG",
      /train\.losses\.matchng/,
      /matching/,
    );
  });

  it("rejects a batch that is larger than the dataset", async () => {
    const data = { name: "few", length: 3, load: async () => expect.fail("it was loaded") };
    await expectFailure(
      () => train({ data, model: tiny, batchSize: 4 }),
      "ERR_CONFIG",
      /train\.batchSize/,
      /few/,
      fix,
    );
  });
});

describe("a package without LibTorch", () => {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const built = ["dist/index.js", "build/Release/soundspot.node"].every((path) =>
    existsSync(join(root, path)),
  );
  const script = `
    const { Model } = await import(process.argv[1]);
    for (let i = 0; i < 2; i++) {
      const error = await Model.create().catch((error) => error);
      console.log(JSON.stringify({ name: error.name, code: error.code, message: error.message }));
    }`;
  const outcome = (place: string) => {
    const entry = pathToFileURL(join(place, "dist/index.js")).href;
    const { LD_LIBRARY_PATH, LIBTORCH, SOUNDSPOT_VARIANT, ...inherited } = process.env;
    const env = { ...inherited, SOUNDSPOT_HOME: join(place, "home") };
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      ["--input-type=module", "-e", script, entry],
      { env, encoding: "utf8" },
    );
    expect(status, stderr).toBe(0);
    const lines = stdout.trim().split("\n");
    expect(lines.length).toBe(2);
    expect(lines[1], "the second call fails alike").toBe(lines[0]);
    return JSON.parse(lines[0] as string) as { name: string; code: string; message: string };
  };

  it.skipIf(!built || process.env.SOUNDSPOT_SANITIZED !== undefined)(
    "says so (skipped without dist and build)",
    () => {
      const place = file("package");
      mkdirSync(join(place, "build/Release"), { recursive: true });
      for (const name of ["package.json", "CMakeLists.txt"])
        copyFileSync(join(root, name), join(place, name));
      symlinkSync(join(root, "node_modules"), join(place, "node_modules"), "junction");
      cpSync(join(root, "dist"), join(place, "dist"), { recursive: true });

      const without = outcome(place);
      expect(without.code, without.message).toBe("ERR_ADDON_MISSING");
      expect(without.message).toBe("The addon is not installed: run `npx soundspot setup`.");

      copyFileSync(join(root, "build/Release/soundspot.node"), join(place, "build/Release/soundspot.node"));
      const missing = outcome(place);
      expect(missing.name).toBe("SoundspotError");
      expect(missing.code, missing.message).toBe("ERR_LIBTORCH_MISSING");
      expect(missing.message).toBe("LibTorch 2.13.0 is not installed: run `npx soundspot setup`.");
    },
  );
});
