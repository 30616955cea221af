/** Composites of cut-outs, on a small library in the layout of Tux Paint's packages. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Dataset, datasets } from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-stamps-"));
const place = (name: string) => {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  return path;
};

const colours = {
  "animals/amphibians/frog": [0, 255, 0],
  "animals/birds/rooster": [255, 0, 0],
  "animals/birds/owl": [0, 0, 255],
} as const;
const looks = { frog: [0, 255, 0], rooster: [255, 0, 0], owl: [0, 0, 255] } as const;

/** A rectangle of one colour, 60 × 40, in a transparent margin of 10. */
async function cutout([r, g, b]: readonly [number, number, number]): Promise<Buffer> {
  const inner = {
    create: { width: 60, height: 40, channels: 4, background: { r, g, b, alpha: 1 } },
  } as const;
  const clear = { r: 0, g: 0, b: 0, alpha: 0 };
  return sharp(inner)
    .extend({ top: 10, bottom: 10, left: 10, right: 10, background: clear })
    .png()
    .toBuffer();
}

beforeAll(async () => {
  for (const [i, [name, colour]] of Object.entries(colours).entries()) {
    writeFileSync(place(`stamps/${name}.png`), await cutout(colour));
    const tone = Float32Array.from({ length: 8000 }, (_, t) => 0.5 * Math.sin(t * 0.05 * (i + 1)));
    writeFileSync(place(`stamps/${name}.ogg`), encodeWav({ samples: tone, sampleRate: 16_000 }));
  }
  writeFileSync(place("stamps/household/dishes/mug.png"), await cutout([255, 255, 255]));
  const grey = (value: number) =>
    sharp({ create: { width: 300, height: 200, channels: 3, background: { r: value, g: value, b: value } } })
      .jpeg()
      .toBuffer();
  writeFileSync(place("templates/rocks.jpg"), await grey(40));
  writeFileSync(place("templates/cliff.jpg"), await grey(120));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const opened: Dataset[] = [];
async function open(options: Parameters<typeof datasets.stamps>[0] = {}): Promise<Dataset> {
  const data = await datasets.stamps({
    root: folder,
    backgrounds: folder,
    size: 96,
    seconds: 1,
    length: 20,
    ...options,
  });
  opened.push(data);
  return data;
}
afterAll(() => Promise.all(opened.map((data) => data.close?.())));

/** Mean colour inside a mask. */
function meanColour({ data }: { data: Uint8Array }, mask: Uint8Array): number[] {
  const sum = [0, 0, 0];
  let area = 0;
  mask.forEach((inside, i) => {
    if (!inside) return;
    area++;
    for (const c of [0, 1, 2]) sum[c] = (sum[c] as number) + (data[3 * i + c] as number);
  });
  return sum.map((value) => value / area);
}

describe("stamps", () => {
  it("draws what sounds where its mask is, and notes what is not installed", async () => {
    const data = await open();
    expect(data.classes).toEqual(["frog", "rooster", "owl"]);
    expect(data.missing?.length).toBeGreaterThan(30);
    expect(data.missing?.every(({ files }) => files[0]?.startsWith(folder))).toBe(true);
    const seen = new Set<string>();
    for (let i = 0; i < data.length; i++) {
      const { image, mask, boxes, label, audio } = await data.load(i);
      seen.add(label as string);
      const area = mask?.data.reduce((a, b) => a + b, 0) as number;
      expect(area / 96 ** 2).toBeGreaterThan(0.04);
      expect(area / 96 ** 2).toBeLessThan(0.21);
      const [box] = boxes ?? [];
      expect(box && box.width * box.height).toBeGreaterThanOrEqual(area);
      const look = looks[label as keyof typeof looks];
      for (const [c, value] of meanColour(image, mask?.data as Uint8Array).entries()) {
        if (look[c]) expect(value).toBeGreaterThan(170);
        else expect(value).toBeLessThan(25);
      }
      expect(audio.samples).toHaveLength(16_000);
      expect(Math.max(...audio.samples.map(Math.abs))).toBeLessThanOrEqual(1);
    }
    expect([...seen].sort()).toEqual(["frog", "owl", "rooster"]);
  });

  it("depends on seed, split and index alone, and keeps the test's backgrounds apart", async () => {
    const one = await (await open()).load(3);
    expect(await (await open({ workers: 2, keep: true })).load(3, { epoch: 4 })).toEqual(one);
    expect((await (await open({ seed: 1 })).load(3)).image.data).not.toEqual(one.image.data);
    const outside = async (split: "train" | "test") => {
      const { image, mask } = await (await open({ split, props: 0 })).load(0);
      return meanColour(
        image,
        Uint8Array.from(mask?.data as Uint8Array, (inside) => (inside ? 0 : 1)),
      )[1] as number;
    };
    expect(await outside("train")).toBeLessThan(75);
    expect(await outside("test")).toBeGreaterThan(85);
  });

  it("has a second object that could sound, or a sound of nothing in view", async () => {
    const two = await open({ sources: 2, split: "test" });
    for (let i = 0; i < 8; i++) {
      const { mask, silentMasks, sounding } = await two.load(i);
      expect(sounding).toBeUndefined();
      const overlap = mask?.data.filter((inside, at) => inside && silentMasks?.[0]?.data[at]).length;
      expect(overlap).toBe(0);
      expect(silentMasks?.[0]?.data.includes(1)).toBe(true);
    }
    const unrelated = await open({ unrelated: 1 });
    const { sounding, mask, label, image } = await unrelated.load(0);
    expect([sounding, mask]).toEqual([false, undefined]);
    // No pixel has the colour of the class that sounds.
    const at = looks[label as keyof typeof looks].indexOf(255);
    const others = [0, 1, 2].filter((c) => c !== at);
    const own = Array.from({ length: 96 ** 2 }, (_, i) => i).filter(
      (i) =>
        (image.data[3 * i + at] as number) > 150 &&
        others.every((c) => (image.data[3 * i + c] as number) < 60),
    );
    expect(own).toHaveLength(0);
  });

  it("says what to install, and rejects options out of range", async () => {
    await expect(open({ root: join(folder, "nowhere") })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringContaining("tuxpaint-stamps-default") as string,
    });
    for (const options of [
      { size: 8 },
      { sources: 3 as 2 },
      { unrelated: 2 },
      { length: 0 },
      { seed: 0.5 },
    ]) {
      await expect(open(options)).rejects.toMatchObject({ code: "ERR_CONFIG" });
    }
  });
});
