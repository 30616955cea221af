import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { manifest } from "../../../src/datasets/manifest.js";
import { openDataset } from "../../../src/datasets/registry.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";

let folder: string;
const list = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "soundspot-test-"));
  mkdirSync(join(folder, "media, all"));
  const at = (name: string) => join(folder, "media, all", name);
  await sharp({ create: { width: 8, height: 6, channels: 3, background: "red" } })
    .png()
    .toFile(at("a.png"));
  const mask = Buffer.alloc(48);
  mask.set([127, 128, 255]);
  await sharp(mask, { raw: { width: 8, height: 6, channels: 1 } })
    .png()
    .toFile(at("mask.png"));
  writeFileSync(
    at("a.wav"),
    encodeWav({ samples: Float32Array.from({ length: 700 }, (_, i) => i / 1024), sampleRate: 100 }),
  );
  const { path } = await findFfmpeg();
  const inputs =
    "-v error -f lavfi -i color=blue:s=32x16:r=10:d=8 -f lavfi -i sine=sample_rate=8000:duration=8".split(
      " ",
    );
  execFileSync(path, [...inputs, "-c:v", "libx264", "-c:a", "aac", at("a.mp4")]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("manifest", () => {
  it("reads pairs from JSONL, with boxes, mask and label", async () => {
    const row = {
      image: "media, all/a.png",
      audio: "media, all/a.wav",
      label: "dog",
      boxes: [[1, 2, 3, 4]],
      mask: "media, all/mask.png",
    };
    const data = await manifest({
      path: list(
        "pairs.jsonl",
        `\ufeff${JSON.stringify(row)}\r\n\n${JSON.stringify({ ...row, label: "cat", start: 1 })}\n`,
      ),
    });
    expect(data).toMatchObject({ name: "pairs", length: 2, classes: ["cat", "dog"] });
    const sample = await data.load(0);
    expect(sample).toMatchObject({
      id: row.image,
      label: "dog",
      boxes: [{ x: 1, y: 2, width: 3, height: 4 }],
    });
    expect(sample.image).toMatchObject({ width: 8, height: 6 });
    expect([...(sample.mask?.data.subarray(0, 4) ?? [])]).toEqual([0, 1, 1, 0]);
    expect(sample.audio.samples.length).toBe(700);
    const later = await data.load(1);
    expect([later.audio.samples.length, later.audio.samples[0]]).toEqual([500, 100 / 1024]);
    expect(later.id).not.toBe(sample.id);
  });

  it("reads the same from CSV with quotes, commas and line breaks in cells", async () => {
    const path = list(
      "pairs.csv",
      'image,audio,label,boxes,start,camera\r\n"media, all/a.png","media, all/a.wav","a ""big""\r\ndog","[[1,2,3,4]]",0.5,x\r\n"media, all/a.png","media, all/a.wav",,,,',
    );
    const data = await manifest({ path });
    expect(data.length).toBe(2);
    const sample = await data.load(0);
    expect(sample).toMatchObject({ label: 'a "big"\r\ndog', boxes: [{ x: 1, y: 2, width: 3, height: 4 }] });
    expect(sample.audio.samples[0]).toBe(50 / 1024);
    const plain = await data.load(1);
    expect(plain.id).toBe("media, all/a.png");
    expect("label" in plain).toBe(false);
  });

  it("takes as much audio from a moment on or around it as it is asked for", async () => {
    const rows = [
      { video: "media, all/a.mp4" },
      { image: "media, all/a.png", audio: "media, all/a.wav", start: 1 },
      { image: "media, all/a.png", audio: "media, all/a.wav" },
    ];
    const path = list("seconds.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
    for (const data of [
      await manifest({ path, seconds: 2 }),
      await openDataset(`manifest:path=${path},seconds=2`),
    ]) {
      const lengths: number[] = [];
      for await (const { audio } of data) lengths.push(audio.samples.length / audio.sampleRate);
      expect(lengths.map((length) => Math.round(10 * length) / 10)).toEqual([2, 2, 7]);
    }
    await expect(manifest({ path, seconds: 0 })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("seconds must be a number of seconds from 0.1 to 600"),
    });
  });

  it("takes frame and audio from a video", async () => {
    const data = await manifest({
      path: list("video.jsonl", '{"video":"media, all/a.mp4"}\n{"video":"media, all/a.mp4","start":1}'),
    });
    for (const index of [0, 1]) {
      const sample = await data.load(index);
      expect(sample.image).toMatchObject({ width: 32, height: 16 });
      expect(sample.audio.samples.length / sample.audio.sampleRate).toBeCloseTo(5, 1);
    }
  });

  it.each([
    ["bad.jsonl", '{"image":"a","audio":"b"}\n{"image":', /bad\.jsonl, line 2: is not JSON/],
    ["type.jsonl", '{"image":"a","audio":3}', /line 1, field "audio"/],
    ["none.jsonl", '{"image":"a"}', /line 1, field "audio": is missing/],
    ["box.jsonl", '{"image":"a","audio":"b","boxes":[[1,2,3]]}', /line 1, field "boxes": each box/],
    ["start.csv", "video,start\na.mp4,soon", /line 2, field "start"/],
    ["cells.csv", 'video,label\n"a\n.mp4",x\nb.mp4', /line 4: has 1 cells/],
    ["quote.csv", 'video,label\n"a.mp4,x', /line 2: has a stray or unclosed quote/],
    ["ids.jsonl", '{"id":"a","video":"a"}\n{"id":"a","video":"b"}', /line 2, field "id"/],
    ["head.csv", "video,label\n", /lists no samples/],
    ["list.txt", "video", /is not a manifest/],
  ])("rejects %s, naming file, line and field", async (name, text, message) => {
    await expect(manifest({ path: list(name, text) })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(message),
    });
  });

  it("names line, field and file of media that cannot be loaded", async () => {
    const path = list("gone.jsonl", '{"image":"gone.png","audio":"media, all/a.wav"}');
    await expect((await manifest({ path })).load(0)).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/gone\.jsonl, line 1, field "image": .*gone\.png/),
      cause: { code: "ERR_FILE_NOT_FOUND" },
    });
    await expect((await manifest({ path })).load(7)).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(manifest({ path: join(folder, "absent.csv") })).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
    });
  });
});
