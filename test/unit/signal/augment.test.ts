/** Augmentations: functions of input and seed, within the ranges of their options. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type ModelOptions, parseModelConfig } from "../../../src/config/model.js";
import { type AugmentConfig, parseTrainConfig, type TrainOptions } from "../../../src/config/train.js";
import type { RawAudio, RawImage } from "../../../src/core/types.js";
import { prepareSample } from "../../../src/model/inputs.js";
import { preprocess } from "../../../src/model/preprocess.js";
import { native } from "../../../src/native.js";
import { root } from "../../support/docs/samples.js";
import { SplitMix } from "../../support/splitmix.js";

type Augment = Exclude<TrainOptions["augment"], false | undefined>;

/** Changes nothing. */
const nothing: Augment = {
  crop: false,
  blurProbability: 0,
  flipProbability: 0,
  jitterProbability: 0,
  greyProbability: 0,
  frequencyMask: 0,
  timeMask: 0,
};
const augmentOf = (options: Augment) => parseTrainConfig({ augment: options }).augment as AugmentConfig;

const hashed = (i: number) => Math.imul(i, 2654435761) >>> 24;
const noisy = (width: number, height: number): RawImage => ({
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => hashed(i)),
  width,
  height,
});
const silence: RawAudio = { samples: new Float32Array(1), sampleRate: 16_000 };
const [mean, deviation] = [
  [0.485, 0.456, 0.406],
  [0.229, 0.224, 0.225],
];

/** The 8-bit pixels [size, size, 3] that the model's input was made of. */
async function pixels(image: RawImage, size: number, options: Augment, seed: bigint): Promise<Uint8Array> {
  const config = parseModelConfig({ imageSize: size, imageStages: 1, imageStride: 4 });
  const augment = { options: augmentOf(options), seed };
  const handle = await prepareSample({ image, audio: silence }, config, augment);
  const { data } = native().tensors(handle).image as { data: Float32Array };
  const area = size * size;
  return Uint8Array.from({ length: 3 * area }, (_, i) => {
    const channel = i % 3;
    const value = data[channel * area + Math.floor(i / 3)] as number;
    return Math.round(255 * (value * (deviation?.[channel] as number) + (mean?.[channel] as number)));
  });
}

async function spectrogram(
  audio: RawAudio,
  model: ModelOptions["audio"],
  options: Augment,
  seed: bigint,
): Promise<{ readonly data: Float32Array; readonly rows: number; readonly frames: number }> {
  const config = parseModelConfig({ imageSize: 32, audio: model });
  const augment = { options: augmentOf(options), seed };
  const handle = await prepareSample({ image: noisy(4, 4), audio }, config, augment);
  const { data, shape } = native().tensors(handle).spectrogram as { data: Float32Array; shape: number[] };
  return { data, rows: shape[1] as number, frames: shape[2] as number };
}

const sha256 = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
const seeds = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

interface Pillow {
  readonly crops: readonly {
    width: number;
    height: number;
    size: number;
    seed: number;
    part: readonly number[];
    sha256: string;
  }[];
  readonly blurs: readonly { size: number; seed: number; radius: number; sha256: string }[];
}
let pillow: Pillow;
beforeAll(() => {
  pillow = JSON.parse(readFileSync(join(root, "test", "fixtures", "pillow.json"), "utf8")) as Pillow;
});

describe('the crop "resized"', () => {
  const crop: Augment = { ...nothing, crop: "resized" };

  it("gives the pixels of torchvision's draw and Pillow's bilinear resizing, bit for bit", async () => {
    for (const { width, height, size, seed, part, sha256: expected } of pillow.crops) {
      const ours = await pixels(noisy(width, height), size, crop, BigInt(seed));
      expect(sha256(ours), `${width} × ${height}, seed ${seed}, part ${part}`).toBe(expected);
    }
  });

  it("takes a part whose area and ratio are in their ranges, anywhere in the image", async () => {
    // Red is the column and green the row, so that the result tells where it comes from.
    const [width, height, size] = [250, 200, 50];
    const image: RawImage = {
      data: Uint8Array.from({ length: width * height * 3 }, (_, i) => {
        const pixel = Math.floor(i / 3);
        return [pixel % width, Math.floor(pixel / width), 0][i % 3] as number;
      }),
      width,
      height,
    };
    const found: { area: number; ratio: number; x?: number; y?: number }[] = [];
    for (let seed = 0; seed < 300; seed++) {
      const result = await pixels(
        image,
        size,
        { ...crop, cropScale: [0.2, 0.6], cropRatio: [0.5, 2] },
        BigInt(seed),
      );
      const at = (x: number, y: number, channel: number) => result[3 * (y * size + x) + channel] as number;
      const [left, right] = [at(10, 25, 0), at(40, 25, 0)];
      const [top, bottom] = [at(25, 10, 1), at(25, 40, 1)];
      const [w, h] = [((right - left) * size) / 30, ((bottom - top) * size) / 30];
      found.push({
        area: (w * h) / (width * height),
        ratio: w / h,
        // Where there is little room, the place cannot be measured.
        ...(width - w > 50 ? { x: (left + 0.5 - (w * 10.5) / size) / (width - w) } : {}),
        ...(height - h > 50 ? { y: (top + 0.5 - (h * 10.5) / size) / (height - h) } : {}),
      });
    }
    const all = (name: "area" | "ratio" | "x" | "y") =>
      found.flatMap((each) => each[name] ?? []).sort((a, b) => a - b);
    const spread = (name: "area" | "ratio" | "x" | "y") =>
      [all(name).at(0), all(name).at(-1)] as [number, number];
    const [[least, most], [narrow, wide]] = [spread("area"), spread("ratio")];
    expect(least).toBeGreaterThan(0.185);
    expect(least).toBeLessThan(0.23);
    expect(most).toBeLessThan(0.62);
    expect(most).toBeGreaterThan(0.55);
    expect(narrow).toBeGreaterThan(0.46);
    expect(narrow).toBeLessThan(0.6);
    expect(wide).toBeLessThan(2.15);
    expect(wide).toBeGreaterThan(1.6);
    for (const name of ["x", "y"] as const) {
      const [first, last] = spread(name);
      expect(first).toBeLessThan(0.06);
      expect(last).toBeGreaterThan(0.94);
      expect(all(name).length).toBeGreaterThan(100);
      const middle = all(name)[Math.floor(all(name).length / 2)] as number;
      expect(Math.abs(middle - 0.5)).toBeLessThan(0.12);
    }
  });

  it("is the whole image where its area and its ratio are asked for", async () => {
    const image = noisy(40, 40);
    const whole = { ...crop, cropScale: [1, 1], cropRatio: [1, 1] } as Augment;
    expect(await pixels(image, 40, whole, 3n)).toEqual(new Uint8Array(image.data));
  });

  it("is made of every image, whatever its sides", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 300 }),
        seeds,
        async (width, height, seed) => {
          const image = noisy(width, height);
          const first = await pixels(image, 32, crop, seed);
          expect(first.length).toBe(32 * 32 * 3);
          expect(await pixels(image, 32, crop, seed)).toEqual(first);
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each([
    [{ cropScale: [0, 1] }, /train\.augment\.cropScale/],
    [{ cropScale: [0.5, 0.4] }, /train\.augment\.cropScale.*the smaller first/],
    [{ cropScale: [0.5, 1.5] }, /train\.augment\.cropScale/],
    [{ cropRatio: [2, 1] }, /train\.augment\.cropRatio/],
    [{ crop: "square" }, /train\.augment/],
    [{ blurKind: "box" }, /train\.augment/],
    [{ translate: 1.5 }, /train\.augment\.translate/],
    [{ hideProbability: -0.1 }, /train\.augment\.hideProbability/],
    [{ hideGrid: 0 }, /train\.augment\.hideGrid/],
    [{ hideGrid: 17 }, /train\.augment\.hideGrid/],
    [{ hideGrid: 2.5 }, /train\.augment\.hideGrid/],
    [{ maskProbability: 2 }, /train\.augment\.maskProbability/],
    [{ maskValue: "one" }, /train\.augment\.maskValue/],
    [{ audioRange: [3, 1] }, /train\.augment\.audioRange/],
  ])("%o is rejected", (options, message) => {
    expect(() => parseTrainConfig({ augment: options as Augment })).toThrowError(
      expect.objectContaining({ code: "ERR_CONFIG", message: expect.stringMatching(message) }),
    );
  });
});

describe("blur", () => {
  const blur: Augment = { ...nothing, blurProbability: 1, blurKind: "pillow" };

  it('of the kind "pillow" is Pillow\'s, bit for bit', async () => {
    for (const { size, seed, radius, sha256: expected } of pillow.blurs) {
      const ours = await pixels(noisy(size, size), size, blur, BigInt(seed));
      expect(sha256(ours), `${size} pixels, seed ${seed}, radius ${radius}`).toBe(expected);
    }
  });

  it("has the radius as its standard deviation, which 5 × 5 pixels cannot have", async () => {
    const size = 65;
    const point: RawImage = { data: new Uint8Array(size * size * 3), width: size, height: size };
    // A line, so that 8 bits hold its profile.
    for (let y = 0; y < size; y++) point.data.fill(255, 3 * (y * size + 32), 3 * (y * size + 33));
    const deviationOf = async (kind: "kernel" | "pillow", seed: bigint) => {
      const result = await pixels(point, size, { ...blur, blurKind: kind }, seed);
      let [sum, squares] = [0, 0];
      for (let x = 0; x < size; x++) {
        const value = result[3 * (32 * size + x)] as number;
        sum += value;
        squares += value * (x - 32) ** 2;
      }
      return Math.sqrt(squares / sum);
    };
    for (let seed = 0n; seed < 40n; seed++) {
      const random = new SplitMix(seed);
      random.uniform();
      const radius = random.uniform(0.1, 2);
      const ours = await deviationOf("pillow", seed);
      if (radius > 0.6) expect(Math.abs(ours / radius - 1)).toBeLessThan(0.12);
      if (radius > 1.8) expect(await deviationOf("kernel", seed)).toBeLessThan(1.35);
    }
  });
});

describe("translate", () => {
  it("moves the image by at most that share of its side, and what enters is black", async () => {
    const size = 32;
    const image = noisy(size, size);
    const shifts: [number, number][] = [];
    await fc.assert(
      fc.asyncProperty(seeds, fc.double({ min: 0.01, max: 1, noNaN: true }), async (seed, share) => {
        const ours = await pixels(image, size, { ...nothing, translate: share }, seed);
        const random = new SplitMix(seed);
        for (let i = 0; i < 5; i++) random.bits(); // the five chances of other changes
        const draw = () => {
          const value = random.uniform(-share * size, share * size);
          const near = Math.round(value);
          return Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : near;
        };
        const [right, down] = [draw(), draw()];
        shifts.push([right / (share * size), down / (share * size)]);
        const expected = new Uint8Array(size * size * 3);
        for (let y = 0; y < size; y++) {
          for (let x = 0; x < size; x++) {
            const [fromX, fromY] = [x - right, y - down];
            if (fromX < 0 || fromY < 0 || fromX >= size || fromY >= size) continue;
            for (let c = 0; c < 3; c++)
              expected[3 * (y * size + x) + c] = image.data[3 * (fromY * size + fromX) + c] as number;
          }
        }
        expect(ours).toEqual(expected);
        expect(Math.max(Math.abs(right), Math.abs(down))).toBeLessThanOrEqual(Math.round(share * size));
      }),
      { numRuns: 150 },
    );
    for (const axis of [0, 1] as const) {
      expect(Math.min(...shifts.map((shift) => shift[axis]))).toBeLessThan(-0.7);
      expect(Math.max(...shifts.map((shift) => shift[axis]))).toBeGreaterThan(0.7);
    }
  });
});

describe("hidden patches", () => {
  const meanColour = [124, 116, 104];

  it("show the mean colour, cover whole patches of the grid, and leave the rest as it was", async () => {
    const shares: { readonly asked: number; readonly hidden: number; readonly patches: number }[] = [];
    await fc.assert(
      fc.asyncProperty(
        seeds,
        fc.integer({ min: 32, max: 60 }),
        fc.integer({ min: 1, max: 16 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        fc.boolean(),
        async (seed, size, grid, share, flipped) => {
          // No pixel has the mean colour.
          const image = noisy(size, size);
          for (let i = 0; i < image.data.length; i += 3) image.data[i] = (image.data[i] as number) | 1;
          const other = flipped ? { ...nothing, flipProbability: 1 } : nothing;
          const before = await pixels(image, size, other, seed);
          const hide = { ...other, hideProbability: share, hideGrid: grid };
          const ours = await pixels(image, size, hide, seed);
          expect(await pixels(image, size, hide, seed)).toEqual(ours);
          const hidden = new Map<number, boolean>();
          for (let y = 0; y < size; y++) {
            for (let x = 0; x < size; x++) {
              const at = 3 * (y * size + x);
              const pixel = [...ours.subarray(at, at + 3)];
              const patch = Math.floor((y * grid) / size) * grid + Math.floor((x * grid) / size);
              if (!hidden.has(patch)) hidden.set(patch, String(pixel) === String(meanColour));
              expect(pixel).toEqual(hidden.get(patch) ? meanColour : [...before.subarray(at, at + 3)]);
            }
          }
          const count = [...hidden.values()].filter(Boolean).length;
          shares.push({ asked: share, hidden: count, patches: hidden.size });
          if (share === 1) expect(count).toBe(hidden.size);
        },
      ),
      { numRuns: 150 },
    );
    const sum = (of: (each: (typeof shares)[number]) => number) =>
      shares.reduce((a, each) => a + of(each), 0);
    const expected = sum((each) => each.asked * each.patches);
    const spread = Math.sqrt(sum((each) => each.asked * (1 - each.asked) * each.patches));
    expect(Math.abs(sum((each) => each.hidden) - expected)).toBeLessThan(5 * spread + 1);
  });

  it("are none by default", async () => {
    const image = noisy(40, 40);
    expect(await pixels(image, 40, nothing, 5n)).toEqual(new Uint8Array(image.data));
    expect(augmentOf({})).toMatchObject({ hideProbability: 0, hideGrid: 7 });
  });
});

describe("spectrogram masks", () => {
  const audio: RawAudio = {
    samples: Float32Array.from({ length: 160_000 }, (_, i) => (hashed(i) - 128) / 300),
    sampleRate: 16_000,
  };
  const masks: Augment = { ...nothing, timeMask: 180, frequencyMask: 35 };
  const mel = { frontEnd: "mel", seconds: 2 } as const;

  /** Rows and frames that differ from those without masks, and what is there. */
  async function masked(model: ModelOptions["audio"], options: Augment, seed: bigint) {
    const [before, after] = [
      await spectrogram(audio, model, nothing, seed),
      await spectrogram(audio, model, options, seed),
    ];
    const { rows, frames } = before;
    const changed = (row: number, frame: number) =>
      before.data[row * frames + frame] !== after.data[row * frames + frame];
    const values = new Set<number>();
    for (const [i, value] of after.data.entries()) if (value !== before.data[i]) values.add(value);
    // The highest rows have power in every frame, also of the mel scale.
    const columns = Array.from({ length: frames }, (_, t) => t).filter(
      (t) => changed(rows - 1, t) && changed(rows - 40, t) && changed(rows - 90, t),
    );
    const lines = Array.from({ length: rows }, (_, f) => f).filter((f) =>
      Array.from({ length: frames }, (_, t) => t).every((t) => changed(f, t)),
    );
    return { values: [...values], columns, lines };
  }

  it.each([
    ["stft", "zero", 0],
    ["stft", "floor", Math.log(1e-7) / 12],
    ["scipy", "floor", Math.log(1e-7) / 12],
    ["mel", "zero", 0],
    ["mel", "floor", -100],
  ] as const)('of "%s" set to "%s" give %d', async (frontEnd, maskValue, value) => {
    let columns = 0;
    for (let seed = 0n; seed < 12n; seed++) {
      const found = await masked({ frontEnd, seconds: 2 }, { ...masks, maskValue }, seed);
      for (const each of found.values) expect(each).toBeCloseTo(value, 5);
      columns += found.columns.length;
    }
    expect(columns).toBeGreaterThan(100);
  });

  it("cover at most their widths, in one piece", async () => {
    const widths: [number, number][] = [];
    for (let seed = 0n; seed < 60n; seed++) {
      const { columns, lines } = await masked({ seconds: 2 }, masks, seed);
      for (const places of [columns, lines]) {
        const [first = 0] = places;
        expect(places).toEqual(places.map((_, i) => first + i));
      }
      widths.push([columns.length, lines.length]);
    }
    const most = (axis: 0 | 1) => Math.max(...widths.map((width) => width[axis]));
    expect(most(0)).toBeLessThanOrEqual(180);
    expect(most(0)).toBeGreaterThan(140);
    expect(most(1)).toBeLessThanOrEqual(35);
    expect(most(1)).toBeGreaterThan(27);
  });

  it("come with their probability, and are then those of the probability 1", async () => {
    let count = 0;
    const total = 300;
    const short = { seconds: 0.2, window: 64, hop: 64 };
    const wide = { ...nothing, timeMask: 20, frequencyMask: 20 };
    for (let seed = 0n; seed < total; seed++) {
      const [plain, always, sometimes] = [
        await spectrogram(audio, short, nothing, seed),
        await spectrogram(audio, short, wide, seed),
        await spectrogram(audio, short, { ...wide, maskProbability: 0.8 }, seed),
      ];
      const unchanged =
        Buffer.compare(Buffer.from(sometimes.data.buffer), Buffer.from(plain.data.buffer)) === 0;
      expect(sometimes.data).toEqual(unchanged ? plain.data : always.data);
      if (!unchanged) count++;
    }
    // 0.8, less the share of masks of width 0; 4.5 standard deviations.
    expect(count / total).toBeGreaterThan(0.69);
    expect(count / total).toBeLessThan(0.9);
    const never = await spectrogram(audio, mel, { ...masks, maskProbability: 0 }, 5n);
    expect(never).toEqual(await spectrogram(audio, mel, nothing, 5n));
  });
});

describe("audioRange", () => {
  const sampleRate = 8000;
  const model = { seconds: 0.5, sampleRate, frontEnd: "scipy" } as const;

  it("draws a window inside the range, of audio that is repeated where it ends before", async () => {
    await fc.assert(
      fc.asyncProperty(
        seeds,
        fc.double({ min: 0, max: 2, noNaN: true }),
        fc.double({ min: 0.5, max: 3, noNaN: true }),
        fc.integer({ min: 2000, max: 40_000 }),
        async (seed, from, length, count) => {
          const samples = Float32Array.from({ length: count }, (_, i) => (hashed(i) - 128) / 300);
          const audioRange: [number, number] = [from, from + length];
          const ours = await spectrogram({ samples, sampleRate }, model, { ...nothing, audioRange }, seed);
          const [first, last] = [
            Math.round(from * sampleRate),
            Math.round((from + length) * sampleRate) - 4000,
          ];
          const drawn = new SplitMix(seed ^ 0xd1b54a32d192ed03n).integer(last - first + 1);
          const window = Float32Array.from(
            { length: 4000 },
            (_, i) => samples[(first + drawn + i) % count] as number,
          );
          const config = parseModelConfig({ audio: model });
          expect(ours.data).toEqual((await preprocess.audio({ samples: window, sampleRate }, config)).data);
        },
      ),
      { numRuns: 100 },
    );
    const audio: RawAudio = {
      samples: Float32Array.from({ length: 24_000 }, (_, i) => hashed(i) / 300),
      sampleRate,
    };
    const options: Augment = { ...nothing, audioRange: [0, 3] };
    const results = new Set<string>();
    for (let seed = 0n; seed < 60n; seed++) {
      const { data } = await spectrogram(audio, model, options, seed);
      results.add(sha256(new Uint8Array(data.buffer)));
      expect((await spectrogram(audio, model, options, seed)).data).toEqual(data);
    }
    expect(results.size).toBeGreaterThan(57);
  });

  it("has no sample from outside", async () => {
    const floor = Math.fround(Math.log(1e-7) / 12);
    for (let seed = 0n; seed < 40n; seed++) {
      const outside = Float32Array.from({ length: 24_000 }, (_, i) =>
        i < 6000 || i >= 14_000 ? hashed(i) / 300 : 0,
      );
      const options = { ...nothing, audioRange: [0.75, 1.75] as [number, number] };
      const { data } = await spectrogram({ samples: outside, sampleRate }, model, options, seed);
      for (const value of data) expect(value).toBeCloseTo(floor, 6);
      const inside = outside.map((sample, i) => (sample === 0 ? (hashed(i) - 128) / 300 : 0));
      const { data: full, frames } = await spectrogram({ samples: inside, sampleRate }, model, options, seed);
      for (let t = 0; t < frames; t++) {
        const column = Array.from({ length: 257 }, (_, f) => full[f * frames + t] as number);
        expect(column.reduce((sum, value) => sum + value, 0) / 257).toBeGreaterThan(floor + 0.1);
      }
    }
  });

  it("that is shorter than the window is rejected by its name", async () => {
    const audio: RawAudio = { samples: new Float32Array(9000), sampleRate };
    await expect(spectrogram(audio, model, { audioRange: [0, 0.4] }, 1n)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("audioRange must be at least as long as the audio window"),
    });
  });
});

describe("the defaults of training", () => {
  // Other processors may round a product and a sum at once.
  it.runIf(process.arch === "x64")("give the pixels that they always gave", async () => {
    const results: string[] = [];
    for (let seed = 0; seed < 40; seed++) {
      const image = noisy(20 + ((seed * 37) % 90), 20 + ((seed * 53) % 70));
      results.push(sha256(await pixels(image, 32, {}, BigInt(seed) * 0x9e3779b97f4a7n)));
    }
    expect(sha256(Buffer.from(results.join("\n")))).toBe(
      "e953a23c057147e6ecef12fd50cb2be56944cd006c87d4fdd1ec246930589784",
    );
  });
});
