import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GroundTruthMap, RawImage } from "../../../src/core/types.js";
import { readAvsbench } from "../../../src/datasets/benchmarks/avsbench.js";
import { flickrBoxes } from "../../../src/datasets/benchmarks/flickr-soundnet.js";
import { groundTruthFromMask } from "../../../src/datasets/benchmarks/grid.js";
import { readIds, readSilent } from "../../../src/datasets/benchmarks/lists.js";
import { readVggss } from "../../../src/datasets/benchmarks/vggss.js";
import { parseXml } from "../../../src/datasets/benchmarks/xml.js";
import { avsbench, flickrSoundNet, is3, vggClasses, vggSound, vggss } from "../../../src/datasets/index.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { encodeWav } from "../../../src/media/wav.js";

let folder: string;
let jpeg: Uint8Array;
const wav = encodeWav({ samples: Float32Array.from({ length: 70 }, (_, i) => i / 128), sampleRate: 100 });

/** An image that is black but for these pixels: [x, y, red, green, blue]. */
const black = (width: number, height: number, ...lit: number[][]): RawImage => {
  const data = new Uint8Array(width * height * 3);
  for (const [x = 0, y = 0, ...rgb] of lit) data.set(rgb, (y * width + x) * 3);
  return { data, width, height };
};
const png = (image: RawImage) => encodeImage(image, { format: "png" });

const put = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const putPair = (image: string, audio: string) => {
  put(image, jpeg);
  put(audio, wav);
};
const at = (groundTruth: GroundTruthMap | undefined, x: number, y: number) => groundTruth?.data[y * 224 + x];
const sum = (groundTruth: GroundTruthMap | undefined) =>
  groundTruth?.data.reduce((total, value) => total + value, 0);

beforeAll(async () => {
  jpeg = await encodeImage(black(8, 6), { format: "jpeg" });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "soundspot-test-"));
  return () => rmSync(folder, { recursive: true, force: true });
});

describe("flickrSoundNet", () => {
  it.each([
    ["flickr_144k.txt", "11\n12\n13\n"],
    ["flickr_144k.txt", "11\r\n12\r\n13"],
    ["flickr_test_SLAVC.csv", "11,202\r\n12,0\r\n13,917"],
    ["flickr_test_SLAVC.csv", "11,202\n12,0\n13,917\n\n"],
  ])("reads the list %s %j, which has no header", async (name, content) => {
    const root = join(folder, "lists");
    for (const id of ["11", "12"]) putPair(`lists/frames/${id}.jpg`, `lists/audio/${id}.wav`);
    const data = await flickrSoundNet({ root, list: put(`lists/${name}`, content), annotations: false });
    expect([data.length, data.missing?.map(({ id }) => id)]).toEqual([2, ["13"]]);
    expect([(await data.load(0)).id, (await data.load(1)).id]).toEqual(["11", "12"]);
  });

  const box = (...corners: number[]) =>
    `<bbox><annotator>a &amp; b</annotator>${corners.map((v, i) => `<${tags[i]}>${v}</${tags[i]}>`).join("")}</bbox>`;
  const tags = ["xmin", "ymin", "xmax", "ymax"];
  const annotation = (...boxes: string[]) =>
    `<?xml version="1.0"?>\n<!-- three people -->\n<annotation><object>\n${boxes.join("\n")}</object></annotation>\n`;

  it("takes the consensus of the annotators' boxes", async () => {
    putPair("frames/7.jpg", "audio/7.wav");
    put(
      "Annotations/7.xml",
      annotation(box(64, 64, 192, 192), box(0, 128, 128, 256), box(64, 128, 128, 192), box(10, 10, 20, 20)),
    );
    const list = put("list.csv", "7,202\r\n");
    const data = await flickrSoundNet({ root: folder, list });
    expect(data).toMatchObject({ name: "flickr-soundnet", length: 1, missing: [] });
    const { id, image, audio, groundTruth, sounding } = await data.load(0);
    expect([id, image.width, audio.samples.length, sounding]).toEqual(["7", 8, 70, undefined]);
    // On the grid: [56, 56, 168, 168], [0, 112, 112, 224], [56, 112, 112, 168] and [8, 8, 17, 17].
    const cells = [
      [55, 56, 0],
      [56, 56, 0.5],
      [167, 111, 0.5],
      [168, 111, 0],
      [56, 111, 0.5],
      [56, 112, 1],
      [111, 167, 1],
      [112, 167, 0.5],
      [0, 223, 0.5],
      [8, 8, 0.5],
      [17, 16, 0],
    ];
    expect(cells.map(([x = 0, y = 0]) => at(groundTruth, x, y))).toEqual(cells.map(([, , value]) => value));
    expect(sum(groundTruth)).toBe(0.5 * (2 * (112 * 112 - 56 * 56) + 9 * 9) + 56 * 56);
  });

  it("reads corners by their place when they have other names, and those of VOC", () => {
    const corners = "<x0>64</x0><y0>0</y0><x1>256</x1><y1>300</y1>";
    const grid = [[56, 0, 224, 262]];
    expect(flickrBoxes(`<a><b><bbox><who/>${corners}</bbox></b></a>`, "a.xml")).toEqual(grid);
    const voc = "<bndbox><XMAX>256</XMAX><ymax>300</ymax><xmin> 64 </xmin><ymin>0</ymin></bndbox>";
    expect(flickrBoxes(`<annotation><object id="1">${voc}</object></annotation>`, "a.xml")).toEqual(grid);
  });

  it("takes ids without annotations for training", async () => {
    putPair("frames/7.jpg", "audio/7.wav");
    const data = await flickrSoundNet({
      root: folder,
      list: ["7", "8", "7"],
      annotations: false,
      name: "mine",
    });
    expect(data).toMatchObject({ name: "mine", length: 1, missing: [{ id: "8" }] });
    expect("groundTruth" in (await data.load(0))).toBe(false);
  });

  it("appends pairs whose sound source is not in the image", async () => {
    putPair("frames/7.jpg", "audio/7.wav");
    putPair("frames/8.jpg", "audio/8.wav");
    put("sets/7.xml", annotation(box(0, 0, 256, 256)));
    const silent = put(
      "silent.csv",
      "video,audio,label\r\n7,8,non-sounding\r\n8,8,non-sounding\r\n7,9,non-sounding",
    );
    const data = await flickrSoundNet({
      root: folder,
      list: ["7"],
      annotations: join(folder, "sets"),
      silent,
    });
    expect(data.length).toBe(3);
    expect(data.missing).toEqual([{ id: "7+9", files: [resolve(folder, "audio/9.wav")] }]);
    const [normal, pair, own] = await Promise.all([0, 1, 2].map((index) => data.load(index)));
    expect(sum(normal?.groundTruth)).toBe((224 * 224) / 2);
    expect(pair).toMatchObject({ id: "7+8", sounding: false });
    expect(own?.id).toBe("8+8");
    expect([pair, own].some((sample) => sample && "groundTruth" in sample)).toBe(false);
    put("silent.csv", "video,audio,label\n7,8,sounding\n");
    await expect(flickrSoundNet({ root: folder, list: ["7"], silent })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/silent\.csv, line 2, field "label"/),
    });
  });

  it("lists what is missing, and rejects a root without any sample", async () => {
    putPair("frames/7.jpg", "audio/7.wav");
    put("Annotations/7.xml", annotation(box(0, 0, 1, 1)));
    put("frames/8.jpg", jpeg);
    mkdirSync(join(folder, "audio/9.wav"));
    const list = put("list.csv", "8\n7\n9\n");
    const data = await flickrSoundNet({ root: folder, list });
    expect(data.length).toBe(1);
    const files = (id: string, ...names: string[]) => ({
      id,
      files: names.map((name) => resolve(folder, name)),
    });
    expect(data.missing).toEqual([
      files("8", "audio/8.wav", "Annotations/8.xml"),
      files("9", "frames/9.jpg", "audio/9.wav", "Annotations/9.xml"),
    ]);
    const elsewhere = join(folder, "elsewhere");
    await expect(flickrSoundNet({ root: elsewhere, list })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringContaining(resolve(elsewhere, "frames/8.jpg")),
    });
    await expect(flickrSoundNet({ root: folder, list, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ERR_ABORTED",
    });
    await expect(flickrSoundNet({ root: folder, list: "no.csv" })).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
    });
    await expect(data.load(1)).rejects.toMatchObject({ code: "ERR_INPUT" });
  });

  it.each([
    ["<a><bbox><w/><xmin>1</xmin></a>", /line 1: is not XML: <\/a> closes no <a>/],
    ["<a>\n<b>", /line 2: is not XML: <b> is not closed/],
    ["<a></a><b/>", /must be one element/],
    ["<a>\n<b", /line 2: is not XML: a tag is broken off/],
    ["<a>1 < 2</a>", /is not XML: a tag is broken off/],
    ["<a></a>", /has no <bbox>/],
    [`${"<a>".repeat(65)}${"</a>".repeat(65)}`, /has elements more than 64 deep/],
    ["<a><bbox><w/><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax></bbox></a>", /field "ymax": is missing/],
    ["<a><bbox><w/><p>1</p><p>1</p></bbox></a>", /field "xmin": is missing/],
    [annotation(box(1, 2, 3, Number.NaN)), /line 4, field "ymax": must be a number of pixels, got "NaN"/],
  ])("rejects the annotation %j, naming file and place", async (xml, message) => {
    putPair("frames/7.jpg", "audio/7.wav");
    put("Annotations/7.xml", xml);
    const data = await flickrSoundNet({ root: folder, list: ["7"] });
    const error = await data.load(0).catch((cause: unknown) => cause);
    expect(error).toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/^flickr-soundnet, sample 7: .*7\.xml/),
      cause: { code: "ERR_DATASET", message: expect.stringMatching(message) },
    });
  });

  it("names the sample and the file of media that cannot be read", async () => {
    putPair("frames/7.jpg", "audio/7.wav");
    put("frames/7.jpg", "no image");
    const data = await flickrSoundNet({ root: folder, list: ["7"], annotations: false });
    await expect(data.load(0)).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/sample 7: .*7\.jpg cannot be decoded/),
      cause: { code: "ERR_MEDIA_DECODE" },
    });
    await expect(data.load(0, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ERR_ABORTED",
    });
  });
});

describe("vggss", () => {
  const clips = [
    {
      file: "-a_000001",
      class: "dog, barking",
      bbox: [
        [0.1, 0.2, 0.5, 0.6],
        [-0.2, 0.5, 1.3, 0.55],
      ],
    },
    { file: "b_000020", class: "cat", bbox: [[0.4, 0.3, -2.8823037615171176e16, 0.9]] },
  ];

  it("takes the union of the boxes, clipped and truncated", async () => {
    for (const { file } of clips) putPair(`frames/${file}.jpg`, `audio/${file}.wav`);
    const annotations = put("vggss.json", JSON.stringify(clips));
    const data = await vggss({ root: folder, annotations });
    expect(data).toMatchObject({ name: "vgg-ss", length: 2, classes: ["cat", "dog, barking"] });
    const { id, label, groundTruth } = await data.load(0);
    expect([id, label]).toEqual(["-a_000001", "dog, barking"]);
    // On the grid: [22, 44, 112, 134] and [0, 112, 224, 123], which share 90 × 11 cells.
    const cells = [
      [22, 44, 1],
      [21, 44, 0],
      [111, 133, 1],
      [112, 133, 0],
      [0, 112, 1],
      [223, 122, 1],
      [223, 123, 0],
    ];
    expect(cells.map(([x = 0, y = 0]) => at(groundTruth, x, y))).toEqual(cells.map(([, , value]) => value));
    expect(sum(groundTruth)).toBe(90 * 90 + 224 * 11 - 90 * 11);
    const empty = await data.load(1);
    expect(sum(empty.groundTruth)).toBe(0);
  });

  it("restricts itself to a list and appends silent pairs", async () => {
    for (const { file } of clips) putPair(`frames/${file}.jpg`, `audio/${file}.wav`);
    const annotations = put("vggss.json", JSON.stringify(clips));
    const silent = put("silent.csv", "video,audio,label\n-a_000001,b_000020,non-sounding\n");
    const data = await vggss({ root: folder, annotations, list: put("list.csv", "b_000020\n"), silent });
    expect(data).toMatchObject({ length: 2, classes: ["cat"] });
    expect((await data.load(0)).id).toBe("b_000020");
    const pair = await data.load(1);
    expect(pair).toMatchObject({ id: "-a_000001+b_000020", sounding: false });
    expect("groundTruth" in pair || "label" in pair).toBe(false);
    await expect(vggss({ root: folder, annotations, list: ["b_000020", "c"] })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/list, line 2: c is not in .*vggss\.json/),
    });
  });

  it.each([
    ['[{"file":', /vggss\.json is not JSON/],
    ["{}", /must be a list/],
    ['[{"file":"a","class":"b","bbox":[[1,2,3]]}]', /clip 1, field "bbox\.0/],
    ['[{"file":"a","bbox":[]}]', /clip 1, field "class"/],
    [
      '[{"file":"a","class":"b","bbox":[]},{"file":"a","class":"b","bbox":[]}]',
      /clip 2: a is listed already/,
    ],
  ])("rejects the annotations %j", async (text, message) => {
    await expect(vggss({ root: folder, annotations: put("vggss.json", text) })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(message),
    });
  });
});

describe("vggSound", () => {
  const labels =
    '---g-f_I2yQ,1,"people marching",test\n--0PQM4-hqg,30,"waterfall, burbling",train\n--56QUhyDQM,185,"people marching",train\n';
  const ids = ["---g-f_I2yQ_000001", "--0PQM4-hqg_000030", "--56QUhyDQM_000185"];

  it("takes ids alone, or with labels and only some classes", async () => {
    for (const id of ids) putPair(`frames/${id}.jpg`, `audio/${id}.wav`);
    const list = put("train.csv", ids.map((id) => `${id},x`).join("\n"));
    const plain = await vggSound({ root: folder, list });
    expect(plain).toMatchObject({ name: "vgg-sound", length: 3 });
    expect(plain.classes).toBeUndefined();
    const csv = put("vggsound.csv", labels);
    const labelled = await vggSound({ root: folder, list, labels: csv });
    expect(labelled.classes).toEqual(["people marching", "waterfall, burbling"]);
    const heard = await vggClasses({ list: [ids[0] ?? ""], labels: csv });
    expect(heard).toEqual(["people marching"]);
    const some = await vggSound({ root: folder, list, labels: csv, classes: new Set(heard) });
    expect(some).toMatchObject({ length: 2, classes: heard });
    const sample = await some.load(1);
    expect(sample).toMatchObject({ id: ids[2], label: "people marching" });
    expect("groundTruth" in sample).toBe(false);
  });

  it("rejects classes without labels, unknown classes and ids, and a damaged CSV", async () => {
    const csv = put("vggsound.csv", labels);
    const rejected = (options: object, code: string, message: RegExp) =>
      expect(vggSound({ root: folder, list: ids, ...options })).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
    await rejected({ classes: ["dog"] }, "ERR_CONFIG", /classes needs labels/);
    await rejected({ labels: csv, classes: ["dog"] }, "ERR_DATASET", /no clip of the class "dog"/);
    await rejected({ labels: csv, list: ["a_000001"] }, "ERR_DATASET", /list: a_000001 has no class/);
    const other = { labels: csv, list: [ids[1]], classes: ["people marching"] };
    await rejected(other, "ERR_DATASET", /list has no clip of the 1 classes/);
    await rejected({ list: [] }, "ERR_DATASET", /lists no samples/);
    await rejected({ list: put("list.csv", "a\n,b\n") }, "ERR_DATASET", /list\.csv, line 2: has no id/);
    await rejected({ labels: put("bad.csv", "a,soon,b,test\n") }, "ERR_DATASET", /bad\.csv, line 1: start/);
  });
});

describe("avsbench", () => {
  const s4 = "name,start,category,split\nx_1,0,helicopter,test\ny,5,dog_barking,train\nz,0,dog_barking,val\n";
  /** The frames of a clip, and masks for some of them. */
  const putClip = async (name: string, masks: readonly number[], mask: RawImage) => {
    put(`audio_wav/${name}.wav`, wav);
    for (const k of [1, 2, 3, 4, 5]) put(`visual_frames/${name}_${k}.png`, await png(black(8, 6)));
    for (const k of masks) put(`gt_masks/${name}_${k}.png`, await png(mask));
  };

  it("takes five frames a clip, which share its audio", async () => {
    // Any channel counts: the mask has 4 × 2 pixels, a pixel 56 × 112 cells.
    await putClip("x_1", [1, 2, 3, 4, 5], black(4, 2, [0, 0, 0, 0, 1], [3, 1, 128, 0, 0]));
    const metadata = put("s4.csv", s4);
    const data = await avsbench({ root: folder, metadata, subset: "s4" });
    expect(data).toMatchObject({ name: "avsbench-s4", length: 5, classes: ["helicopter"] });
    const samples = await Promise.all([0, 1, 2, 3, 4].map((index) => data.load(index)));
    expect(samples.map(({ id }) => id)).toEqual(["x_1_1", "x_1_2", "x_1_3", "x_1_4", "x_1_5"]);
    expect(new Set(samples.map(({ audio }) => audio)).size).toBe(1);
    const [{ groundTruth, label, clip }] = samples as [(typeof samples)[0]];
    expect([label, clip]).toEqual(["helicopter", "x_1"]);
    expect([at(groundTruth, 55, 111), at(groundTruth, 56, 0), at(groundTruth, 0, 112)]).toEqual([1, 0, 0]);
    expect([at(groundTruth, 168, 112), at(groundTruth, 167, 112), at(groundTruth, 223, 223)]).toEqual([
      1, 0, 1,
    ]);
    expect(sum(groundTruth)).toBe(2 * 56 * 112);
  });

  it("resizes masks as Pillow's nearest does", () => {
    const lit: number[][] = [];
    for (let y = 0; y < 512; y += 3) for (let x = 0; x < 512; x += 8) lit.push([x, y, 255, 255, 255]);
    expect(sum(groundTruthFromMask(black(512, 512, ...lit), 0))).toBe(525);
  });

  it("needs masks for test and validation, not for training", async () => {
    await putClip("y", [1], black(1, 1, [0, 0, 9, 0, 0]));
    await putClip("z", [1, 2, 3, 4], black(1, 1));
    const metadata = put("s4.csv", s4);
    const training = await avsbench({ root: folder, metadata, subset: "s4", split: "train" });
    const scored = await avsbench({
      root: folder,
      metadata,
      subset: "s4",
      split: "train",
      frames: "annotated",
    });
    expect([scored.length, (await scored.load(0)).id]).toEqual([1, "y_1"]);
    expect(training).toMatchObject({ length: 5, missing: [] });
    expect(sum((await training.load(0)).groundTruth)).toBe(224 * 224);
    expect("groundTruth" in (await training.load(1))).toBe(false);
    const all = await avsbench({ root: folder, metadata, subset: "s4", split: "all" });
    expect(all.length).toBe(5); // of y the one frame that has a mask
    expect("groundTruth" in (await all.load(0))).toBe(true);
    expect(all.missing?.map(({ id }) => id)).toEqual(["x_1_1", "x_1_2", "x_1_3", "x_1_4", "x_1_5", "z_5"]);
    expect(all.missing?.[5]?.files).toEqual([resolve(folder, "gt_masks/z_5.png")]);
    await expect(avsbench({ root: folder, metadata, subset: "s4" })).rejects.toMatchObject({
      code: "ERR_DATASET",
    });
  });

  it("reads the folders of AVSBench's own download", async () => {
    const frame = await png(black(8, 6));
    for (const k of [1, 2, 3, 4, 5]) {
      put(`visual_frames/test/helicopter/x_1/x_1_${k}.png`, frame);
      put(`gt_masks/test/helicopter/x_1/x_1_${k}.png`, frame);
      put(`visual_frames/m_1/m_1.mp4_${k}.png`, frame);
      put(`gt_masks/test/m_1/m_1_${k}.png`, frame);
    }
    put("audio_wav/test/helicopter/x_1.wav", wav);
    put("audio_wav/test/m_1.wav", wav);
    const single = await avsbench({ root: folder, metadata: put("s4.csv", s4), subset: "s4" });
    expect((await single.load(4)).id).toBe("x_1_5");
    const metadata = put("ms3.csv", "video_id,split\nm_1,test\n");
    const several = await avsbench({ root: folder, metadata, subset: "ms3" });
    expect(several).toMatchObject({ name: "avsbench-ms3", length: 5 });
    const sample = await several.load(4);
    expect(sum(sample.groundTruth)).toBe(0);
    expect("label" in sample).toBe(false);
  });

  it("rejects damaged metadata, naming line and field", async () => {
    const rejected = (text: string, message: RegExp) =>
      expect(readAvsbench(put("s4.csv", text), "s4")).rejects.toMatchObject({
        code: "ERR_DATASET",
        message: expect.stringMatching(message),
      });
    await rejected("video_id,split\na,test\n", /s4\.csv, line 2, field "name": is missing/);
    await rejected("name,category,split\na,b,all\n", /line 2, field "split": must be train, val or test/);
    await rejected("name,category,split\na,b,test\na,b,test\n", /line 3: a is listed already/);
    const options = { root: folder, metadata: put("s4.csv", s4) };
    await expect(avsbench({ ...options, subset: "v2" as "s4" })).rejects.toMatchObject({
      code: "ERR_CONFIG",
    });
  });
});

describe("is3", () => {
  const source = (name: string) => ({ image: `/data/${name}.jpg`, audio: `/data/${name}.wav` });

  it("takes a sample a source, with ground truth from mask or box", async () => {
    const root = folder;
    putPair("images/cat_dog_1_cat.jpg", "audio_wav/cat_dog_1_cat.wav");
    // The other layout: one image for both sources. JPEG blurs masks, so half bright is the border.
    putPair("images/cat_dog_1.jpg", "audio_wav/cat_dog_1_dog.wav");
    put(
      "gt_segmentation/cat_dog_1_cat.png",
      await png(black(2, 2, [1, 0, 128, 128, 128], [0, 0, 127, 127, 127])),
    );
    put("gt_segmentation/cat_dog_1_dog.jpg", jpeg);
    put(
      "IS3_annotation.json",
      JSON.stringify([
        { ...source("cat_dog_1_cat"), gt_box: [1.9, 2, 3, 224], category: "cat meowing" },
        { ...source("cat_dog_1_dog"), gt_box: [[0, 0, 1, 1]] },
        { ...source("fox_2_fox"), gt_box: [0, 0, 1, 1] },
      ]),
    );
    const data = await is3({ root });
    expect(data).toMatchObject({ name: "is3", length: 2, classes: ["cat meowing", "dog", "fox"] });
    expect(data.missing?.map(({ id }) => id)).toEqual(["fox_2_fox"]);
    const [cat, dog] = await Promise.all([data.load(0), data.load(1)]);
    expect(cat).toMatchObject({ id: "cat_dog_1_cat", imageId: "cat_dog_1", label: "cat meowing" });
    expect(dog).toMatchObject({ id: "cat_dog_1_dog", imageId: "cat_dog_1", label: "dog" });
    expect([at(cat.groundTruth, 112, 0), at(cat.groundTruth, 111, 0), sum(cat.groundTruth)]).toEqual([
      1,
      0,
      112 * 112,
    ]);
    const boxed = await is3({ root, groundTruthFrom: "box" });
    expect(sum((await boxed.load(0)).groundTruth)).toBe(2 * 222);
    expect(sum((await boxed.load(1)).groundTruth)).toBe(1);
  });

  it("tolerates an object by id and other field names", async () => {
    putPair("images/cat_dog_1_cat.jpg", "audio_wav/cat_dog_1_cat.wav");
    const annotations = put(
      "other.json",
      JSON.stringify({ cat_dog_1_cat: { bbox: [0, 0, 2, 2], class: "cat" } }),
    );
    const data = await is3({ root: folder, annotations, groundTruthFrom: "box" });
    expect(await data.load(0)).toMatchObject({ id: "cat_dog_1_cat", label: "cat" });
  });

  it.each([
    [[{ gt_box: [0, 0, 1, 1] }], /source 1 has no name/],
    [[{ audio: "a_b.wav", gt_box: [0, 1] }], /source 1, field "gt_box"/],
    [[{ audio: "a_b.wav" }], /a_b has no box/],
    [[{ audio: "a_b.wav", gt_box: [0, 0, 400, 1] }], /box of a_b, \[0,0,400,1\], must lie in 0 … 224/],
    [[{ audio: "a_b.wav" }, { image: "a_b.jpg" }], /source 2: a_b is listed already/],
    [[], /with one at least/],
    [["a"], /source 1/],
  ])("rejects the annotations %j", async (content, message) => {
    const annotations = put("IS3_annotation.json", JSON.stringify(content));
    await expect(is3({ root: folder, annotations, groundTruthFrom: "box" })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(message),
    });
  });
});

describe("parseXml", () => {
  it("reads elements, text, CDATA, comments, attributes and empty elements", () => {
    const root = parseXml(
      `<!DOCTYPE a><a k="1>"><b x='2' y="3"/> t <!-- <c> --><b><![CDATA[<d>]]></b></a>`,
      "a.xml",
    );
    expect(root).toMatchObject({
      name: "a",
      text: "t",
      children: [{ name: "b", text: "" }, { text: "<d>" }],
    });
  });
});

const published = resolve(import.meta.dirname, "../../../../shared/annotations");
describe.skipIf(!existsSync(published))("the published lists", () => {
  const file = (name: string) => join(published, name);
  const count = async (name: string) => (await readIds(file(name))).length;

  it("have the published numbers of samples", async () => {
    expect(await count("flickr_test.csv")).toBe(249);
    expect(await count("flickr_test_SLAVC.csv")).toBe(250);
    expect((await readSilent(file("flickr_test_plus_silent.csv"))).length).toBe(250);
    expect((await readSilent(file("vggss_test_plus_silent.csv"))).length).toBe(5158);
    expect([await count("vggss_heard_test.csv"), await count("vggss_unheard_test.csv")]).toEqual([
      2564, 2575,
    ]);
  });

  it("have the published VGG-SS clips and classes", async () => {
    const clips = await readVggss(file("vggss.json"));
    expect([clips.size, new Set([...clips.values()].map(({ label }) => label)).size]).toEqual([5158, 221]);
    expect((await readIds(file("vggss_test.csv"))).map(({ id }) => id)).toEqual([...clips.keys()]);
    const annotations = file("vggss.json");
    const heard = await vggClasses({ list: file("vggss_heard_test.csv"), annotations });
    const unheard = await vggClasses({ list: file("vggss_unheard_test.csv"), annotations });
    expect([heard.length, unheard.length, new Set([...heard, ...unheard]).size]).toEqual([110, 110, 220]);
  });

  it("have the published AVSBench clips", async () => {
    const s4 = await readAvsbench(file("s4_meta_data.csv"), "s4");
    const ms3 = await readAvsbench(file("ms3_meta_data.csv"), "ms3");
    const tested = (clips: typeof s4) => clips.filter(({ split }) => split === "test").length;
    expect([s4.length, tested(s4), ms3.length, tested(ms3)]).toEqual([4932, 740, 424, 64]);
  });
});
