/** A public call works or fails with a SoundspotError, whatever its arguments, and the process stays alive. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CollapseMonitor,
  createServer,
  datasets,
  evaluate,
  falseNegatives,
  type LocalizeInput,
  localize,
  localizeVideo,
  Model,
  metrics,
  Objectness,
  ProcessGroup,
  parseModelConfig,
  parseTrainConfig,
  prepareVideos,
  preprocess,
  renderVideo,
  retrieve,
  SearchIndex,
  SoundspotError,
  type Spot,
  serve,
  Trainer,
  train,
} from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { bars } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

/** Codes of src/core/errors.ts and the README. */
const codes = new Set(
  [...readFileSync(new URL("../../../README.md", import.meta.url), "utf8").matchAll(/`(ERR_[A-Z_]+)`/g)].map(
    ([, code]) => code,
  ),
);

const folder = mkdtempSync(join(tmpdir(), "soundspot-properties-"));
const file = (name: string) => join(folder, name);
let model: Model;
let spot: Spot;
let video: string | undefined;

const audio = {
  samples: Float32Array.from({ length: 4000 }, (_, i) => Math.sin(i / 5)),
  sampleRate: 16_000,
  channels: 1,
};
const image = { data: new Uint8Array(24 * 16 * 3).map((_, i) => i % 251), width: 24, height: 16 };
const pair = (): LocalizeInput => ({ image: { ...image }, audio: { ...audio } });

beforeAll(async () => {
  model = await Model.create(tiny);
  await model.save(file("model.safetensors"));
  spot = await model.localize(pair());
  (await SearchIndex.create(file("index"), { model })).close();
  const ffmpeg = await findFfmpeg().catch(() => undefined);
  if (!ffmpeg) return;
  video = file("clip.mp4");
  const inputs = ["-f", "lavfi", "-i", "testsrc=s=32x32:r=5:d=1", "-f", "lavfi", "-i", "sine=d=1"];
  execFileSync(ffmpeg.path, ["-v", "error", ...inputs, video]);
});
afterAll(() => {
  model.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** Errors of a caller's own code pass through unchanged. */
class OwnError extends Error {}
const fail = (): never => {
  throw new OwnError("of the caller");
};
const failing = () =>
  new Proxy(
    {},
    Object.fromEntries(Reflect.ownKeys(Reflect).map((trap) => [trap, fail])) as ProxyHandler<object>,
  );
const cyclic = () => {
  const value: Record<string, unknown> = {};
  value.value = value;
  return value;
};
const detached = <T extends Float32Array | Uint8Array>(value: T): T => {
  structuredClone(value, { transfer: [value.buffer as ArrayBuffer] });
  return value;
};
const shared = (count: number) => new Float32Array(new SharedArrayBuffer(4 * count));

/** Wrong types and odd values, made anew each time. */
const hostile = fc.oneof(
  fc.constantFrom<() => unknown>(
    () => undefined,
    () => null,
    () => Number.NaN,
    () => Number.POSITIVE_INFINITY,
    () => Number.NEGATIVE_INFINITY,
    () => -0,
    () => -1,
    () => 0,
    () => 0.5,
    () => 1,
    () => 3,
    () => 2 ** 31,
    () => 2 ** 32 + 1,
    () => Number.MAX_SAFE_INTEGER,
    () => 1e300,
    () => "",
    () => "no such thing",
    () => "\0",
    () => "__proto__",
    () => "\ud800",
    () => true,
    () => false,
    () => Symbol("a symbol"),
    () => 10n,
    () => [],
    () => [undefined],
    () => new Array(3),
    () => [[]],
    () => ({}),
    () => Object.create(null),
    () => () => undefined,
    () => new Date(Number.NaN),
    () => new Map(),
    () => /x/,
    () => Promise.resolve(1),
    cyclic,
    failing,
    () => ({
      get [Symbol.toPrimitive]() {
        return fail();
      },
    }),
    () =>
      Object.create({
        data: new Uint8Array(3),
        width: 1,
        height: 1,
        samples: new Float32Array(1),
        sampleRate: 1,
      }),
    () => new Float32Array(0),
    () => new Float32Array(7).fill(Number.NaN),
    () => new Float64Array(4000),
    () => new Uint8Array(3),
    () => detached(new Float32Array(4000)),
    () => detached(new Uint8Array(24 * 16 * 3)),
    () => shared(4000),
    () => new Uint8Array(new SharedArrayBuffer(24 * 16 * 3)),
    () => new ArrayBuffer(8),
    () => new DataView(new ArrayBuffer(8)),
    () => AbortSignal.abort(),
  ),
  fc
    .anything({ withBigInt: true, withDate: true, withTypedArray: true, withNullPrototype: true })
    .map((value) => () => value),
);

/** Paths to everything in a value, itself first. */
function pathsOf(value: unknown, depth = 4): (string | number)[][] {
  const plain =
    Array.isArray(value) ||
    (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype);
  if (!plain || depth === 0) return [[]];
  const inside = Object.keys(value as object).flatMap((key) =>
    pathsOf((value as Record<string, unknown>)[key], depth - 1).map((path) => [key, ...path]),
  );
  return [[], ...inside];
}

/** A copy with another value at that place. */
function replaced(value: unknown, [key, ...rest]: readonly (string | number)[], by: unknown): unknown {
  if (key === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<
    string | number,
    unknown
  >;
  copy[key] = replaced(copy[key], rest, by);
  return copy;
}

/** Fails unless the outcome is allowed. */
function expectTyped(error: unknown): void {
  if (error instanceof OwnError) return;
  expect(error).toBeInstanceOf(SoundspotError);
  const { code, message } = error as SoundspotError;
  expect(codes.has(code), `the code ${code} is in the README`).toBe(true);
  expect(code, message).not.toBe("ERR_INTERNAL");
  expect(message.length).toBeGreaterThan(10);
}

interface Call {
  /** Good arguments. */
  readonly args: () => readonly unknown[];
  readonly call: (...args: never[]) => unknown;
  /** Names of fields that keep their value: changing them would take hours. */
  readonly keep?: RegExp;
  readonly runs?: number;
  /** Throws synchronously, not by a promise. */
  readonly synchronous?: boolean;
}

/** Number of runs: more of them for a longer search. */
const MORE = Number(process.env.PROPERTY_RUNS ?? 1);
/** Fixed, unless more runs search for new failures. */
const seed = process.env.PROPERTY_RUNS ? Date.now() % 2 ** 31 : 1;

/** Another path than a good one, in the folder of these tests: calls must not write elsewhere. */
const inside = (path: unknown): unknown =>
  typeof path === "string" && !path.startsWith(folder)
    ? join(folder, `odd-${path.replaceAll(/[/\\]/g, "-")}`)
    : path;

const soon = () => AbortSignal.timeout(200);

/** Gives `call` good arguments of which one place, or two, has another value. */
async function survive({ args, call, keep, runs = 60, synchronous = false }: Call): Promise<void> {
  const paths = pathsOf(args()).filter(
    (path) => path.length > 0 && !path.some((key) => keep?.test(String(key))),
  );
  const place = fc.tuple(fc.constantFrom(...paths), hostile);
  await fc.assert(
    fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 2 }), async (places) => {
      let given: unknown = args();
      for (const [path, value] of places) {
        try {
          given = replaced(given, path, value());
        } catch {
          return; // the place is gone, or cannot be copied
        }
      }
      let result: unknown;
      try {
        result = (call as (...values: unknown[]) => unknown)(...(given as unknown[]));
      } catch (error) {
        if (!synchronous) throw new Error(`it threw and gave no promise: ${String(error)}`, { cause: error });
        expectTyped(error);
        return;
      }
      try {
        const value: unknown = await result;
        if (typeof value === "object" && value !== null) {
          if (Symbol.asyncIterator in value) for await (const _ of value as AsyncIterable<unknown>) break;
          if ("dispose" in value && value !== model) (value as Model).dispose();
          if ("close" in value) await (value as { close(): Promise<void> }).close();
        }
      } catch (error) {
        expectTyped(error);
      }
    }),
    { numRuns: Math.ceil(runs * MORE), seed, verbose: 1 },
  );
  expect((await model.localize(pair())).heatmap.length, "a good input afterwards").toBe(24 * 16);
}

const data = bars(4);
const map = () => Float32Array.from({ length: 6 }, (_, i) => i / 6);

const calls: Record<string, Call> = {
  "Model.create": {
    args: () => [{ ...tiny, audio: { seconds: 0.5 } }, { seed: 1 }],
    call: Model.create.bind(Model) as never,
    keep: /imageSize|imageWidth|audioWidth|^dim$|imageStages|audioStages|imageStride/,
  },
  "Model.load": {
    args: () => [file("model.safetensors"), { config: undefined, signal: undefined }],
    call: Model.load.bind(Model) as never,
  },
  "model.localize": {
    args: () => [
      pair(),
      {
        refine: "none",
        alpha: 0.4,
        threshold: 0.6,
        sharpening: 1,
        precision: "float32",
        signal: undefined,
        objectness: undefined,
      },
    ],
    call: ((...a: [never]) => model.localize(...a)) as never,
    runs: 150,
  },
  "model.localize of tensors": {
    args: () => [
      [
        {
          image: { tensor: new Float32Array(3 * 32 * 32), shape: [3, 32, 32] },
          audio: { spectrogram: new Float32Array(257 * 51), shape: [1, 257, 51] },
        },
      ],
    ],
    call: ((...a: [never]) => model.localize(...a)) as never,
  },
  localize: { args: () => [pair(), { model }], call: localize as never },
  "model.encode": {
    args: () => [[pair()], { sharpening: 1, signal: undefined }],
    call: ((...a: [never]) => model.encode(...a)) as never,
  },
  "model.save": {
    args: () => [file("saved.safetensors"), { metadata: { a: "b" } }],
    call: ((path: never, ...rest: [never]) => model.save(inside(path) as never, ...rest)) as never,
  },
  "model.setParameters": {
    args: () => [[{ name: "audnet.proj.0.bias", shape: [16], data: new Float32Array(16) }]],
    call: ((...a: [never]) => model.setParameters(...a)) as never,
  },
  "model.loadWeights": {
    args: () => [file("model.safetensors"), { config: undefined, signal: undefined }],
    call: ((...a: [never]) => model.loadWeights(...a)) as never,
  },
  "model.loadImageWeights": {
    args: () => [file("model.safetensors")],
    call: ((...a: [never]) => model.loadImageWeights(...a)) as never,
    runs: 50,
  },
  "Objectness.load": {
    args: () => [file("model.safetensors")],
    call: Objectness.load.bind(Objectness) as never,
    runs: 30,
  },
  "spot.overlay": {
    args: () => [{ format: "png", opacity: 0.5, boxes: true, signal: undefined }],
    call: ((...a: [never]) => spot.overlay(...a)) as never,
  },
  "spot.panels": {
    args: () => [{ format: "png", signal: undefined }],
    call: ((...a: [never]) => spot.panels(...a)) as never,
    runs: 60,
  },
  "spot.spectrogram": {
    args: () => [{ format: "png", slots: "all", signal: undefined }],
    call: ((...a: [never]) => spot.spectrogram(...a)) as never,
    runs: 60,
  },
  "spot.grids": {
    args: () => [{ format: "png", title: "map", above: [{ title: "other", spot }], signal: undefined }],
    call: ((...a: [never]) => spot.grids(...a)) as never,
    runs: 60,
  },
  "preprocess.image": {
    args: () => [{ ...image }, model.config, { signal: undefined }],
    call: preprocess.image as never,
  },
  "preprocess.audio": {
    args: () => [{ ...audio }, model.config, { signal: undefined }],
    call: preprocess.audio as never,
  },
  "preprocess.resample": { args: () => [{ ...audio }, 8000], call: preprocess.resample as never },
  parseModelConfig: { args: () => [{ ...tiny }], call: parseModelConfig as never, synchronous: true },
  parseTrainConfig: {
    args: () => [
      {
        epochs: 1,
        batchSize: 2,
        losses: { contrastive: { weight: 1 } },
        schedule: { type: "one-cycle", warmup: 0.1 },
        falseNegatives: { k: 2 },
        augment: { crop: true },
      },
    ],
    call: parseTrainConfig as never,
    synchronous: true,
  },
  "new Trainer": {
    args: () => [model, { batchSize: 2 }],
    call: ((...a: [never]) => new Trainer(...a)) as never,
    synchronous: true,
  },
  "trainer.step": {
    args: () => [
      [pair(), pair()],
      { gradients: false, update: false, masking: true, at: { step: 0, total: 1, epoch: 0 } },
    ],
    call: ((...a: [never]) => new Trainer(model).step(...a)) as never,
  },
  "trainer.restore": {
    args: () => [file("model.safetensors")],
    call: ((...a: [never]) => new Trainer(model).restore(...a)) as never,
    runs: 50,
  },
  train: {
    args: () => [
      {
        data: { ...data },
        evaluation: undefined,
        model: { ...tiny },
        preset: "scratch",
        epochs: 1,
        batchSize: 2,
        resume: false,
        weights: undefined,
        imageWeights: undefined,
        augment: false,
        signal: soon(),
        onStep: undefined,
        onEpoch: undefined,
      },
    ],
    call: train as never,
    keep: /^(signal|model)$/,
  },
  evaluate: {
    args: () => [
      {
        model,
        data: { ...data },
        limit: 2,
        batchSize: 2,
        bootstrap: { resamples: 10, level: 0.9, seed: 1 },
        alpha: 0.4,
        threshold: 0.6,
        sharpening: 1,
        precision: "float32",
        audioShift: 0,
        unreadable: "throw",
        falseNegatives: { k: 1, batchSize: 2 },
        signal: soon(),
      },
    ],
    call: evaluate as never,
    keep: /^signal$/,
  },
  retrieve: {
    args: () => [
      {
        model,
        data: { ...data },
        limit: 2,
        batchSize: 2,
        bootstrap: { resamples: 10, level: 0.9, seed: 1 },
        unreadable: "throw",
        precision: "float32",
        signal: soon(),
      },
    ],
    call: retrieve as never,
    keep: /^signal$/,
  },
  falseNegatives: {
    args: () => [{ image: { data: map(), shape: [3, 2] }, audio: { data: map(), shape: [3, 2] } }, 1],
    call: falseNegatives as never,
    runs: 150,
  },
  "ProcessGroup.join": {
    args: () => [{ rank: 3, size: 2, address: "127.0.0.1", port: 1, timeout: 0.5 }],
    call: ProcessGroup.join.bind(ProcessGroup) as never,
    keep: /rank|size|timeout/,
  },
  "ProcessGroup.fromEnvironment": {
    args: () => [{ RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: "x", MASTER_PORT: "1" }],
    call: ProcessGroup.fromEnvironment.bind(ProcessGroup) as never,
    synchronous: true,
  },
  createServer: {
    args: () => [
      {
        model,
        concurrency: 1,
        queue: 1,
        uploadBytes: 10,
        pixels: 10,
        uploadTimeout: 1,
        timeout: 1,
        cors: ["http://a"],
        precision: "auto",
      },
    ],
    call: createServer as never,
    runs: 60,
  },
  serve: {
    args: () => [{ model, port: 0, host: "127.0.0.1" }],
    call: serve as never,
    keep: /^(port|host)$/,
    runs: 40,
  },
  "SearchIndex.create": {
    args: () => [join(folder, `index-${Math.random()}`), { model }],
    call: ((path: never, ...rest: [never]) => SearchIndex.create(inside(path) as never, ...rest)) as never,
    runs: 40,
  },
  "SearchIndex.open": {
    args: () => [file("no-index")],
    call: SearchIndex.open.bind(SearchIndex) as never,
    runs: 40,
  },
  "datasets.scenes": {
    args: () => [
      {
        size: 32,
        seconds: 1,
        sampleRate: 16_000,
        sources: 1,
        props: 1,
        offscreen: 0,
        length: 2,
        seed: 0,
        split: "test",
        workers: 1,
      },
    ],
    call: datasets.scenes as never,
    synchronous: true,
  },
  "datasets.stamps": {
    args: () => [
      {
        size: 64,
        seconds: 1,
        sources: 1,
        props: 1,
        length: 2,
        split: "test",
        workers: 1,
        root: undefined,
        signal: AbortSignal.abort(),
      },
    ],
    call: datasets.stamps as never,
    keep: /^signal$/,
    runs: 25,
  },
  "datasets.manifest": {
    args: () => [{ path: file("none.jsonl") }],
    call: datasets.manifest as never,
  },
  "datasets.shards": {
    args: () => [{ urls: file("none.tar"), index: undefined, readers: 1, buffer: 1, name: "x" }],
    call: datasets.shards as never,
  },
  "datasets.vggss": {
    args: () => [{ root: folder, annotations: file("none.json") }],
    call: datasets.vggss as never,
  },
  "datasets.vggSound": {
    args: () => [{ root: folder, list: file("none.csv"), labels: undefined, classes: undefined }],
    call: datasets.vggSound as never,
  },
  "datasets.flickrSoundNet": {
    args: () => [{ root: folder, list: ["a"], annotations: undefined, silent: undefined }],
    call: datasets.flickrSoundNet as never,
  },
  "datasets.avsbench": {
    args: () => [{ root: folder, metadata: file("none.csv"), subset: "s4", split: "test", frames: "all" }],
    call: datasets.avsbench as never,
  },
  "datasets.is3": {
    args: () => [{ root: folder, annotations: undefined, groundTruthFrom: "mask" }],
    call: datasets.is3 as never,
  },
  "datasets.openDataset": {
    args: () => ["scenes:size=32,length=2", undefined],
    call: datasets.openDataset as never,
  },
  prepareVideos: {
    args: () => [
      { input: file("none.mp4"), output: file("prepared"), workers: 1, shards: false, signal: soon() },
    ],
    call: prepareVideos as never,
    keep: /^(output|signal)$/,
    runs: 60,
  },
  "metrics.bootstrapInterval": {
    args: () => [[0, 1, 1], { resamples: 10, level: 0.9, seed: 1, groups: undefined }],
    call: metrics.bootstrapInterval as never,
    keep: /resamples/,
  },
  "metrics.nearestNeighbours": {
    args: () => [[map()], [map(), map()], 2],
    call: metrics.nearestNeighbours as never,
  },
  "metrics.recallAt": { args: () => [[map()], [map()], ["a"], [1]], call: metrics.recallAt as never },
  localizeVideo: {
    args: () => [
      model,
      video ?? "none.mp4",
      {
        from: 0,
        to: 0.4,
        every: 2,
        smoothing: 0,
        minConfidence: 0,
        alpha: 0.4,
        refine: "iqr",
        signal: soon(),
      },
    ],
    call: localizeVideo as never,
    keep: /^signal$/,
    runs: 40,
  },
  renderVideo: {
    args: () => [
      model,
      video ?? "none.mp4",
      { track: file("track.jsonl"), output: undefined, from: 0, to: 0.2, opacity: 0.5, signal: soon() },
    ],
    call: renderVideo as never,
    keep: /^(signal|output|track)$/,
    runs: 40,
  },
  "index.search": {
    args: () => [{ model, image: { ...image }, k: 2, label: "x", exact: true, localize: false }],
    call: (async (...given: [never]) => {
      using index = await SearchIndex.open(file("index"));
      return await index.search(...given);
    }) as never,
    runs: 60,
  },
  "index.update": {
    args: () => [{ model, folder, labels: "folder", approximateFrom: 100, signal: AbortSignal.abort() }],
    call: (async (...given: [never]) => {
      using index = await SearchIndex.open(file("index"));
      return await index.update(...given);
    }) as never,
    keep: /^(signal|folder)$/,
    runs: 40,
  },
  "monitor.observe": {
    args: () => [2],
    call: ((...a: [never]) => new CollapseMonitor(...a)) as never,
    synchronous: true,
    runs: 20,
  },
};

describe("odd arguments", () => {
  it.each(Object.entries(calls))("of %s are accepted or rejected", async (_, call) => survive(call));
});
