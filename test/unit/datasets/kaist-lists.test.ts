/** Lists of the KAIST evaluation suite on made-up folders in its layout, and hostile lists. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GroundTruthMap, RawImage } from "../../../src/core/types.js";
import { readKaistList } from "../../../src/datasets/benchmarks/kaist-lists.js";
import { kaistList, openDataset } from "../../../src/datasets/index.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { encodeWav } from "../../../src/media/wav.js";

let folder: string;
let jpeg: Uint8Array;
const wav = encodeWav({ samples: new Float32Array(70), sampleRate: 100 });

const put = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const list = (items: unknown) => put("list.json", JSON.stringify(items));
const sum = (groundTruth: GroundTruthMap | undefined) =>
  groundTruth?.data.reduce((total, value) => total + value, 0);

/** Grey, brighter on the right of `from`. */
const halves = (from: number, low: number, high: number): RawImage => ({
  data: Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => (Math.floor(i / 3) % 8 >= from ? high : low)),
  width: 8,
  height: 8,
});

beforeAll(async () => {
  jpeg = await encodeImage(halves(8, 0, 0), { format: "jpeg" });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "soundspot-kaist-"));
  return () => rmSync(folder, { recursive: true, force: true });
});

const far = "/mnt/disk/datasets/COCO_AV_MS";
const source = (name: string, annotation: unknown, audio = name) => ({
  image: `${far}/visual_frames/${name}.jpg`,
  audio: `${far}/audio_wav/${audio}.wav`,
  gt_box: annotation,
});
const putPair = (name: string, audio = name) => {
  put(`visual_frames/${name}.jpg`, jpeg);
  put(`audio_wav/${audio}.wav`, wav);
};

describe("kaistList", () => {
  it("takes boxes in pixels of 224, and an empty ground truth where nothing sounds", async () => {
    for (const name of ["0012_7", "0012_8", "0013_9"]) putPair(name);
    const path = put(
      "lists/vpo_ms_bbox.json",
      JSON.stringify([
        source("0012_7", [10.9, 20, 30.2, 224]),
        source("0012_8", [0, 0, 0, 0]),
        { ...source("0013_9", [5, 5, 5, 9]), offset: 1 },
        source("0014_1", [0, 0, 1, 1]),
      ]),
    );
    const data = await kaistList({ root: folder, list: path });
    expect(data).toMatchObject({ name: "vpo_ms_bbox", length: 3, files: [path] });
    expect(data.classes).toBeUndefined();
    expect(data.missing).toEqual([
      {
        id: "0014_1",
        files: ["visual_frames/0014_1.jpg", "audio_wav/0014_1.wav"].map((file) => resolve(folder, file)),
      },
    ]);
    const [first, second, third] = await Promise.all([0, 1, 2].map((i) => data.load(i)));
    expect(first).toMatchObject({ id: "0012_7", imageId: "0012", sources: 2 });
    expect([first?.clip, first?.label, first?.sounding]).toEqual([undefined, undefined, undefined]);
    expect(sum(first?.groundTruth)).toBe((30 - 10) * (224 - 20));
    expect(first?.groundTruth?.data[20 * 224 + 10]).toBe(1);
    expect(first?.groundTruth?.data[20 * 224 + 30]).toBe(0);
    expect(second).toMatchObject({ id: "0012_8", imageId: "0012", sources: 2 });
    expect(sum(second?.groundTruth)).toBe(0);
    expect(third).toMatchObject({ imageId: "0013", sources: 1 });
    expect(sum(third?.groundTruth)).toBe(0);
    const opened = await openDataset(`kaist:root=${folder},list=${path},name=mine`);
    expect(opened).toMatchObject({ name: "mine", length: 3 });
  });

  it("takes grey masks, of IS3 from gt_masks, with the class at the end of the name", async () => {
    for (const name of ["cat_dog_1_cat", "cat_dog_1_dog"]) putPair(name);
    put("gray_masks/cat_dog_1_cat.jpg", await encodeImage(halves(2, 127, 128), { format: "png" }));
    put("gt_masks/cat_dog_1_dog.jpg", jpeg);
    const data = await kaistList({
      root: folder,
      list: list([
        source("cat_dog_1_cat", `${far}/gray_masks/cat_dog_1_cat.jpg`),
        source("cat_dog_1_dog", "/elsewhere/masks/cat_dog_1_dog.jpg"),
      ]),
    });
    const [cat, dog] = await Promise.all([data.load(0), data.load(1)]);
    expect(cat).toMatchObject({ id: "cat_dog_1_cat", imageId: "cat_dog_1", label: "cat", sources: 2 });
    expect(sum(cat?.groundTruth)).toBe(224 * 224 * (6 / 8));
    expect(cat?.groundTruth?.data[56]).toBe(1);
    expect(cat?.groundTruth?.data[55]).toBe(0);
    expect(dog).toMatchObject({ label: "dog", imageId: "cat_dog_1" });
    expect(sum(dog?.groundTruth)).toBe(0);
    expect(data.classes).toEqual(["cat", "dog"]);
  });

  it("takes AVSBench's frames with the audio of their clip, in its own folders or in one", async () => {
    const frames = "/far/s4_data/visual_frames/test/dog/Ab_c-1";
    put("visual_frames/test/dog/Ab_c-1/Ab_c-1_1.png", jpeg);
    put("visual_frames/Ab_c-1_2.jpg", jpeg);
    put("audio_wav/test/dog/Ab_c-1.wav", wav);
    put("visual_frames/x/x.mp4_3.png", jpeg);
    put("audio_wav/x.wav", wav);
    const data = await kaistList({
      root: folder,
      list: list([
        ...[1, 2].map((k) => ({
          image: `${frames}/Ab_c-1_${k}.png`,
          audio: "/far/s4_data/audio_wav/test/dog/Ab_c-1.wav",
          gt_box: [k, k, 10, 10],
        })),
        {
          image: "/far/visual_frames/x/x.mp4_3.png",
          audio: "/far/audio_wav/test/x.wav",
          gt_box: [0, 0, 9, 9],
        },
      ]),
    });
    const samples = await Promise.all([0, 1, 2].map((i) => data.load(i)));
    expect(samples.map(({ id, clip, imageId, label }) => [id, clip, imageId, label])).toEqual([
      ["Ab_c-1_1", "Ab_c-1", undefined, undefined],
      ["Ab_c-1_2", "Ab_c-1", undefined, undefined],
      ["x.mp4_3", "x", undefined, undefined],
    ]);
    expect(samples.map(({ groundTruth }) => sum(groundTruth))).toEqual([81, 64, 81]);
  });

  it("tells samples of one image apart by their audio", async () => {
    putPair("0012_7", "0012_8");
    putPair("0012_7");
    const data = await kaistList({
      root: folder,
      list: list([source("0012_7", [0, 0, 1, 1]), source("0012_7", [0, 0, 2, 2], "0012_8")]),
    });
    const ids = await Promise.all([0, 1].map(async (i) => (await data.load(i)).id));
    expect(ids).toEqual(["0012_7", "0012_7+0012_8"]);
  });

  it.each([
    ["no JSON", "[{", /list\.json is not JSON/],
    ["NaN", '[{"image": "a.jpg", "audio": "a.wav", "gt_box": [NaN, 0, 0, 0]}]', /list\.json is not JSON/],
    ["no list", "{}", /must be a list of \{ image, audio, gt_box \}/],
    ["an empty list", "[]", /with one at least/],
    ["a text", '["a"]', /sample 1: /],
    ["no image", JSON.stringify([{ audio: "a.wav", gt_box: "a.jpg" }]), /sample 1, field "image"/],
    ["no audio", JSON.stringify([{ image: "a.jpg", gt_box: "a.jpg" }]), /sample 1, field "audio"/],
    ["no annotation", JSON.stringify([{ image: "a", audio: "a" }]), /field "gt_box": must be \[left, top/],
    ["three corners", JSON.stringify([source("a", [0, 0, 1])]), /sample 1, field "gt_box"/],
    ["null", JSON.stringify([source("a", [0, 0, 1, Number.NaN])]), /sample 1, field "gt_box"/],
    [
      "a box outside",
      JSON.stringify([source("a", [0, 0, 225, 1])]),
      /\[0, 0, 225, 1\] must be .* in 0 … 224/,
    ],
    ["a box below 0", JSON.stringify([source("a", [-1, 0, 5, 1])]), /\[-1, 0, 5, 1\] must be/],
    ["a box turned round", JSON.stringify([source("a", [9, 0, 5, 1])]), /\[9, 0, 5, 1\] must be/],
    [
      "a path out of the root",
      JSON.stringify([source("../../a", [0, 0, 1, 1])]),
      /is not the path of a file/,
    ],
    ["a folder", JSON.stringify([{ ...source("a", "/"), image: "/" }]), /"\/" is not the path of a file/],
    [
      "one twice",
      JSON.stringify([source("a", [0, 0, 1, 1]), source("a", [0, 0, 1, 1])]),
      /sample 2: a is listed already/,
    ],
  ])("rejects %s, naming the place", async (_, content, message) => {
    const path = put("list.json", content);
    await expect(kaistList({ root: folder, list: path })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(message),
    });
  });

  it("rejects options of a wrong type, an empty list and a root without files", async () => {
    await expect(kaistList({ root: folder } as never)).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(kaistList({ root: folder, list: join(folder, "no.json") })).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
    });
    await expect(kaistList({ root: folder, list: put("list.json", "") })).rejects.toMatchObject({
      code: "ERR_FILE_EMPTY",
    });
    await expect(
      kaistList({ root: folder, list: list([source("a_1", [0, 0, 1, 1])]) }),
    ).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringContaining(resolve(folder, "visual_frames/a_1.jpg")),
    });
    await expect(openDataset(`kaist:root=${folder}`)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(/^kaist: list: /),
    });
  });

  it("reads any list or rejects it with ERR_DATASET, and looks for no file outside the root", async () => {
    const name = fc.oneof(
      fc.string(),
      fc.constantFrom("..", "a/../b", "visual_frames", "/", "a_", "_a", ".jpg"),
    );
    const path = fc.array(name, { maxLength: 4 }).map((parts) => parts.join("/"));
    const box = fc.array(fc.oneof(fc.double(), fc.integer({ min: -1, max: 225 })), { maxLength: 5 });
    const item = fc.oneof(
      fc.record({ image: path, audio: path, gt_box: fc.oneof(path, box) }),
      fc.record({ image: path, audio: path, gt_box: fc.constant([0, 0, 9, 9]) }),
      fc.jsonValue(),
    );
    let read = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 3 }), async (items) => {
        try {
          for (const entry of await readKaistList(list(items))) {
            read++;
            for (const place of [entry.image, entry.audio, entry.annotation ?? []].flat()) {
              expect(resolve(folder, place).startsWith(`${folder}/`), place).toBe(true);
            }
          }
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_DATASET" });
        }
      }),
      { numRuns: 400 },
    );
    expect(read).toBeGreaterThan(5);
  });
});
