import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RawImage } from "../../../src/core/types.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { decodeImage } from "../../../src/media/image.js";
import { decodeFrame, decodeFrames, decodeVideoAudio, probeVideo } from "../../../src/media/video.js";
import { encodeWav, parseWav } from "../../../src/media/wav.js";
import { turnsDuring } from "../../support/event-loop.js";

let folder: string;
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "soundspot-test-"));
  const { path } = await findFfmpeg();
  const ffmpeg = (...args: string[]) => execFileSync(path, ["-v", "error", "-y", ...args]);
  // Frame n has the grey level 8n + 4, so a frame shows its number.
  const counter = ["-f", "lavfi", "-i", "color=black:s=64x48:r=10:d=3,format=gray,geq=lum='8*N+4'"];
  const tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=22050:duration=3"];
  ffmpeg(
    ...counter,
    ...tone,
    "-pix_fmt",
    "yuv444p",
    "-c:v",
    "libx264",
    "-qp",
    "0",
    "-c:a",
    "aac",
    file("clip.mp4"),
  );
  ffmpeg("-i", file("clip.mp4"), "-c", "copy", "-an", file("silent.mp4"));
  ffmpeg("-i", file("clip.mp4"), "-c", "copy", "-metadata:s:v:0", "rotate=90", file("turned.mp4"));
  ffmpeg(
    "-f",
    "lavfi",
    "-i",
    "color=red:s=32x32:r=10:d=1",
    ...tone,
    "-c:v",
    "libx264",
    file("short-video.mp4"),
  );
  ffmpeg(...tone, "-ac", "2", file("tone.ogg"));
  ffmpeg(...tone, "-c:a", "adpcm_ms", file("adpcm.wav"));
  ffmpeg(...tone, "-c:a", "pcm_s24le", file("tone24.wav"));
  const cover = ["-f", "lavfi", "-i", "color=red:s=32x32:d=0.04", "-map", "0", "-map", "1", "-c:v", "png"];
  ffmpeg(...tone, ...cover, "-disposition:v", "attached_pic", file("cover.mp3"));
  writeFileSync(file("empty.bin"), "");
  writeFileSync(file("notes.txt"), "not media at all\n".repeat(50));
  writeFileSync(file("junk.mp3"), Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 251)));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const frameNumber = (image: RawImage) => Math.abs(Math.round(((image.data[0] ?? 0) - 4) / 8));

describe("images", () => {
  const pixel = (image: RawImage, x: number, y: number) => {
    const at = (y * image.width + x) * 3;
    return [...image.data.subarray(at, at + 3)];
  };

  it("applies EXIF orientation", async () => {
    const jpeg = await sharp({ create: { width: 20, height: 10, channels: 3, background: "red" } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    expect(await decodeImage(jpeg)).toMatchObject({ width: 10, height: 20 });
  });

  it.each(["grey", "grey with alpha", "16 bit", "CMYK", "palette"] as const)(
    "makes %s into 8-bit RGB",
    async (kind) => {
      const base = sharp({
        create: { width: 6, height: 5, channels: 4, background: { r: 128, g: 128, b: 128, alpha: 1 } },
      });
      const encoded = await {
        grey: () => base.removeAlpha().toColourspace("b-w").png(),
        "grey with alpha": () => base.toColourspace("b-w").png(),
        "16 bit": () => base.toColourspace("rgb16").png(),
        CMYK: () => base.removeAlpha().toColourspace("cmyk").jpeg(),
        palette: () => base.png({ palette: true }),
      }
        [kind]()
        .toBuffer();
      const image = await decodeImage(encoded);
      expect(image.data.length).toBe(6 * 5 * 3);
      for (const value of pixel(image, 2, 2)) expect(Math.abs(value - 128)).toBeLessThan(16);
    },
  );

  it("lays transparency over white", async () => {
    const png = await sharp({
      create: { width: 2, height: 2, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
    })
      .png()
      .toBuffer();
    expect(pixel(await decodeImage(png), 0, 0)).toEqual([255, 255, 255]);
  });

  it("gives raw pixels back after PNG", async () => {
    const image = { data: Uint8Array.from({ length: 36 }, (_, i) => i * 7), width: 4, height: 3 };
    expect(await decodeImage(await encodeImage(image, { format: "png" }))).toEqual(image);
    expect((await encodeImage(image, { format: "jpeg", quality: 80 })).subarray(0, 2)).toEqual(
      Buffer.from([0xff, 0xd8]),
    );
  });

  it("rejects missing, empty, junk, cut-off and ill-sized images by code", async () => {
    const noise = {
      data: Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251),
      width: 64,
      height: 64,
    };
    await expect(decodeImage(file("none.jpg"))).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringContaining("none.jpg"),
    });
    await expect(decodeImage(file("empty.bin"))).rejects.toMatchObject({ code: "ERR_FILE_EMPTY" });
    await expect(decodeImage(new Uint8Array(0))).rejects.toMatchObject({ code: "ERR_FILE_EMPTY" });
    await expect(decodeImage(file("notes.txt"))).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringContaining("notes.txt"),
    });
    for (const format of ["jpeg", "png"] as const) {
      const whole = await encodeImage(noise, { format });
      await expect(decodeImage(whole.subarray(0, whole.length * 0.6)), format).rejects.toMatchObject({
        code: "ERR_MEDIA_DECODE",
      });
    }
    await expect(decodeImage({ ...noise, width: 65 })).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(decodeImage(folder)).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
    await expect(decodeImage(noise, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ERR_ABORTED",
    });
  });
});

describe("WAV", () => {
  const chunk = (id: string, body: Buffer) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(body.length);
    return Buffer.concat([Buffer.from(id), size, body, Buffer.alloc(body.length % 2)]);
  };
  const wav = (tag: number, bits: number, channels: number, data: Buffer, before: Buffer[] = []) => {
    const format = Buffer.alloc(16);
    format.writeUInt16LE(tag, 0);
    format.writeUInt16LE(channels, 2);
    format.writeUInt32LE(8000, 4);
    format.writeUInt32LE((8000 * channels * bits) / 8, 8);
    format.writeUInt16LE((channels * bits) / 8, 12);
    format.writeUInt16LE(bits, 14);
    return chunk(
      "RIFF",
      Buffer.concat([Buffer.from("WAVE"), chunk("fmt ", format), ...before, chunk("data", data)]),
    );
  };
  const write = (bytes: number, values: number[], put: (b: Buffer, v: number, at: number) => void) => {
    const buffer = Buffer.alloc(bytes * values.length);
    for (const [i, v] of values.entries()) put(buffer, v, i * bytes);
    return buffer;
  };

  it.each([
    [1, 8, Buffer.from([0, 128, 192])],
    [1, 16, write(2, [-32768, 0, 16384], (b, v, at) => b.writeInt16LE(v, at))],
    [1, 24, write(3, [-8388608, 0, 4194304], (b, v, at) => b.writeIntLE(v, at, 3))],
    [1, 32, write(4, [-(2 ** 31), 0, 2 ** 30], (b, v, at) => b.writeInt32LE(v, at))],
    [3, 32, write(4, [-1, 0, 0.5], (b, v, at) => b.writeFloatLE(v, at))],
    [3, 64, write(8, [-1, 0, 0.5], (b, v, at) => b.writeDoubleLE(v, at))],
  ])("reads format %i with %i bits", async (tag, bits, data) => {
    const audio = await parseWav(wav(tag, bits, 1, data));
    expect([...audio.samples]).toEqual([-1, 0, 0.5]);
    expect(audio).toMatchObject({ sampleRate: 8000, channels: 1 });
  });

  it("makes interleaved channels planar and gives back what encodeWav wrote", async () => {
    const audio = {
      samples: Float32Array.from([0, 0.25, 0.5, -1, -0.5, -0.25]),
      sampleRate: 44100,
      channels: 2,
    };
    expect(await parseWav(encodeWav(audio))).toEqual(audio);
  });

  it("skips odd chunks, padded or not", async () => {
    const data = Buffer.from([0, 128, 192]);
    const padded = chunk("LIST", Buffer.from("abc"));
    for (const before of [padded, padded.subarray(0, padded.length - 1)]) {
      expect((await parseWav(wav(1, 8, 1, data, [before]))).samples.length).toBe(3);
    }
  });

  it("takes a size past the end, and an open one, as the rest of the file", async () => {
    const bytes = encodeWav({ samples: new Float32Array(100), sampleRate: 8000 });
    expect((await parseWav(bytes.subarray(0, 144))).samples.length).toBe(50);
    new DataView(bytes.buffer).setUint32(40, 0xffffffff, true);
    expect((await parseWav(bytes.subarray(0, 144))).samples.length).toBe(50);
  });

  it("leaves the event loop free while it converts ten minutes", async () => {
    const bytes = encodeWav({ samples: new Float32Array(2 * 600 * 44100), sampleRate: 44100, channels: 2 });
    const turns = await turnsDuring(() => parseWav(bytes));
    // A turn at least every million samples.
    expect(turns).toBeGreaterThan((2 * 600 * 44100) / 2 ** 20);
  });
});

describe("audio", () => {
  it("decodes compressed audio at its own rate and channels", async () => {
    const audio = await decodeAudio(file("tone.ogg"));
    expect(audio).toMatchObject({ sampleRate: 22050, channels: 2 });
    expect(audio.samples.length / 2 / 22050).toBeCloseTo(3, 1);
    expect(Math.max(...audio.samples.subarray(0, 22050))).toBeGreaterThan(0.05);
  });

  it("decodes ADPCM in WAV through ffmpeg, and 24-bit by itself the same as ffmpeg", async () => {
    expect((await decodeAudio(file("adpcm.wav"))).samples.length / 22050).toBeCloseTo(3, 1);
    expect((await decodeAudio(file("tone24.wav"), { ffmpeg: "/nowhere" })).samples.length).toBe(3 * 22050);
  });

  it("cuts a range the same way from a path, a buffer and raw samples", async () => {
    const raw = {
      samples: Float32Array.from({ length: 800 }, (_, i) => i / 1024),
      sampleRate: 100,
      channels: 2,
    };
    const range = { start: 1, duration: 0.5 };
    const cut = await decodeAudio(raw, range);
    expect(cut.samples.length).toBe(100);
    expect([cut.samples[0], cut.samples[50]]).toEqual([100 / 1024, 500 / 1024]);
    expect(await decodeAudio(encodeWav(raw), range)).toEqual(cut);
    expect((await decodeAudio(file("tone.ogg"), range)).samples.length).toBe(22050);
    await expect(decodeAudio(raw, { start: 9 })).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(decodeAudio(file("tone.ogg"), { start: 9 })).rejects.toMatchObject({ code: "ERR_INPUT" });
  });

  it("decodes an MP4 from a buffer", async () => {
    const { readFile } = await import("node:fs/promises");
    expect((await decodeAudio(await readFile(file("clip.mp4")))).sampleRate).toBe(22050);
  });

  it.each([
    ["none.wav", "ERR_FILE_NOT_FOUND"],
    ["empty.bin", "ERR_FILE_EMPTY"],
    ["notes.txt", "ERR_MEDIA_DECODE"],
    ["junk.mp3", "ERR_MEDIA_DECODE"],
    ["silent.mp4", "ERR_NO_AUDIO"],
  ])("rejects %s with %s", async (name, code) => {
    await expect(decodeAudio(file(name))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(name),
    });
  });

  it("rejects empty and non-finite samples", async () => {
    const sampleRate = 8000;
    await expect(decodeAudio({ samples: new Float32Array(0), sampleRate })).rejects.toMatchObject({
      code: "ERR_AUDIO_EMPTY",
    });
    await expect(decodeAudio(encodeWav({ samples: new Float32Array(0), sampleRate }))).rejects.toMatchObject({
      code: "ERR_AUDIO_EMPTY",
    });
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(decodeAudio({ samples: Float32Array.from([0, bad]), sampleRate })).rejects.toMatchObject({
        code: "ERR_AUDIO_NOT_FINITE",
      });
    }
  });
});

describe("ffmpeg", () => {
  it("rejects a program that was named and does not run, and remembers one that does", async () => {
    await expect(findFfmpeg("/nowhere/ffmpeg")).rejects.toMatchObject({
      code: "ERR_FFMPEG_MISSING",
      message: expect.stringContaining("/nowhere/ffmpeg"),
    });
    const ffmpeg = await findFfmpeg();
    expect(ffmpeg.version).toMatch(/\S/);
    expect(await findFfmpeg()).toBe(ffmpeg);
    expect(await findFfmpeg(ffmpeg.path)).toMatchObject({ path: ffmpeg.path, source: "option" });
  });
});

describe("video", () => {
  it("tells duration, size, rate and audio", async () => {
    const info = await probeVideo(file("clip.mp4"));
    expect(info).toMatchObject({ width: 64, height: 48, frameRate: 10, hasAudio: true });
    expect(info.duration).toBeCloseTo(3, 0);
    expect(await probeVideo(file("silent.mp4"))).toMatchObject({ hasAudio: false });
  });

  it("decodes the frame that is shown at a moment", async () => {
    const info = await probeVideo(file("silent.mp4"));
    for (const [at, n] of [
      [0, 0],
      [0.05, 0],
      [0.1, 1],
      [1.29, 12],
      [1.3, 13],
      [2.95, 29],
      [info.duration, 29],
    ] as const) {
      expect([at, frameNumber(await decodeFrame(file("silent.mp4"), at))]).toEqual([at, n]);
    }
  });

  it("decodes frames at even moments, from any start", async () => {
    const frames: [number, number][] = [];
    for await (const { time, image } of decodeFrames(file("silent.mp4"), {
      every: 0.25,
      start: 0.35,
      end: 2,
    })) {
      frames.push([Number(time.toFixed(3)), frameNumber(image)]);
    }
    expect(frames).toEqual([
      [0.35, 3],
      [0.6, 6],
      [0.85, 8],
      [1.1, 11],
      [1.35, 13],
      [1.6, 16],
      [1.85, 18],
    ]);
    const all: number[] = [];
    for await (const { image } of decodeFrames(file("silent.mp4"), { every: 0.1 }))
      all.push(frameNumber(image));
    expect(all).toEqual(Array.from({ length: 30 }, (_, i) => i));
  });

  it("applies rotation to size and pixels", async () => {
    expect(await probeVideo(file("turned.mp4"))).toMatchObject({ width: 48, height: 64 });
    expect(await decodeFrame(file("turned.mp4"), 1)).toMatchObject({ width: 48, height: 64 });
  });

  it("keeps the last frame where the audio outlasts the frames", async () => {
    expect((await decodeFrame(file("short-video.mp4"), 2.5)).data[0]).toBeGreaterThan(240);
    let count = 0;
    for await (const _ of decodeFrames(file("short-video.mp4"), { every: 0.5 })) count++;
    expect(count).toBeGreaterThanOrEqual(6);
  });

  it("takes a window of audio, moved inside at the ends", async () => {
    for (const at of [0, 1.5, 2.9]) {
      const audio = await decodeVideoAudio(file("clip.mp4"), { at, window: 1 });
      expect(audio.samples.length / 22050).toBeCloseTo(1, 1);
    }
    await expect(decodeVideoAudio(file("silent.mp4"), { at: 1 })).rejects.toMatchObject({
      code: "ERR_NO_AUDIO",
    });
  });

  it("rejects moments outside the video, naming the range, and files that are no video", async () => {
    await expect(decodeFrame(file("clip.mp4"), 30)).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(/\[0, 3/),
    });
    await expect(probeVideo(file("tone.ogg"))).rejects.toMatchObject({ code: "ERR_MEDIA_DECODE" });
    await expect(probeVideo(file("cover.mp3"))).rejects.toMatchObject({ code: "ERR_MEDIA_DECODE" });
    await expect(probeVideo(file("notes.txt"))).rejects.toMatchObject({ code: "ERR_MEDIA_DECODE" });
  });

  it("stops when its signal fires", async () => {
    const controller = new AbortController();
    const run = async () => {
      for await (const _ of decodeFrames(file("clip.mp4"), { every: 0.01, signal: controller.signal }))
        controller.abort();
    };
    await expect(run()).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });
});
