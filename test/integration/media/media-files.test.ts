/** Files that are put together unusually, made here: fragments, seams, wrong headers, large files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, openMedia, type VideoSpot } from "../../../src/index.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { Media } from "../../../src/media/media.js";
import { encodeWav } from "../../../src/media/wav.js";
import { ffmpeg, firstAbove, fixture, level, part, peak, toneOf, usedBy } from "../../support/media.js";
import {
  frameShownAt,
  type MediaSpec,
  makeMedia,
  numberIn,
  wrongInAudio,
} from "../../support/random-media.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);
let model: Model;
beforeAll(async () => {
  model = await Model.create({ ...tiny, audio: { seconds: 3 } }, { seed: 3 });
});

const plain = (container: string, seconds: number, rate = 25): MediaSpec => ({
  ...{ seed: 0, container, rate, seconds, offset: 0, rotation: 0, reordered: false, audio: 0 },
  frames: Array.from({ length: seconds * rate }, (_, i) => i),
});

async function used(video: string, at: number) {
  const [sample] = await usedBy(() => model.localize({ video, at }));
  if (!sample?.audio) throw new Error("nothing was used");
  return { ...sample, audio: sample.audio };
}

/** Boxes of MP4, at any depth of those that contain others. */
function* boxes(
  bytes: Buffer,
  from = 0,
  to = bytes.length,
): Generator<{ type: string; at: number; end: number }> {
  for (let at = from; at + 8 <= to; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString("latin1", at + 4, at + 8);
    yield { type, at: at + 8, end: at + length };
    if (["moov", "trak", "mdia", "moof", "traf"].includes(type)) yield* boxes(bytes, at + 8, at + length);
    at += length;
  }
}

/** Moves the fragments from a moment on by seconds. */
function moveFragments(path: string, from: number, seconds: number): void {
  const bytes = readFileSync(path);
  const scales: number[] = [];
  let track = 0;
  for (const { type, at } of boxes(bytes)) {
    if (type === "mdhd") scales.push(bytes.readUInt32BE(at + (bytes[at] === 1 ? 20 : 12)));
    if (type === "tfhd") track = bytes.readUInt32BE(at + 4);
    if (type !== "tfdt") continue;
    const scale = scales[track - 1] as number;
    const long = bytes[at] === 1;
    const begin = long ? Number(bytes.readBigUInt64BE(at + 4)) : bytes.readUInt32BE(at + 4);
    if (begin / scale < from) continue;
    const moved = begin + Math.round(seconds * scale);
    if (long) bytes.writeBigUInt64BE(BigInt(moved), at + 4);
    else bytes.writeUInt32BE(moved, at + 4);
  }
  writeFileSync(path, bytes);
}

describe("a fragmented MP4 with a gap between fragments", () => {
  it("keeps its time after the gap", async () => {
    const path = file("gap.mp4");
    const spec = { ...plain("fragmented mp4", 8), audio: 1 };
    await makeMedia(spec, path);
    // A fragment every two seconds.
    moveFragments(path, 3.9, 0.136);
    await using media = await openMedia(path);
    expect(Math.abs(media.duration - 8.136)).toBeLessThan(0.05);
    for (const at of [1.31, 3.9, 4.05, 5.5, 7.9]) {
      const sample = await used(path, at);
      const own = at < 4 ? at : Math.max(4 - 0.04, at - 0.136);
      expect([at, numberIn(sample.image, 0)]).toEqual([at, frameShownAt(spec, own)]);
    }
    const { audio, from } = await used(path, 5.5);
    expect(from).toBe(4);
    // The fragment before may end with a packet that reaches over 4 s.
    const rest = { ...audio, samples: part(audio, 0.04, 5) };
    expect(Math.abs(firstAbove(rest) + 0.04 - 0.136)).toBeLessThan(0.025);
    expect(peak(part(audio, 0.04, 0.1))).toBeLessThan(0.02);
    expect(toneOf(part(audio, 0.2, 1.1), audio.sampleRate)).toBeCloseTo(500 + 150 * 4, -1);
    expect(toneOf(part(audio, 1.17, 2.1), audio.sampleRate)).toBeCloseTo(500 + 150 * 5, -1);
  });
});

describe("two transport streams in one file", () => {
  it("are one after the other", async () => {
    const [one, other, both] = [file("one.ts"), file("other.ts"), file("both.ts")];
    const spec = plain("ts", 6);
    await makeMedia(spec, one);
    await makeMedia(plain("ts", 6, 12.5), other);
    writeFileSync(both, Buffer.concat([readFileSync(one), readFileSync(other)]));
    await using media = await openMedia(both);
    expect(Math.abs(media.duration - 12)).toBeLessThan(0.15);
    for (const at of [0.5, 5.5, 6.7, 8.03, 11.6]) {
      const { image } = await used(both, at);
      const [early, late] = [at - 0.1, at + 0.02].map((moment) =>
        moment < 6 ? Math.floor(moment * 25) : Math.floor((moment - 6) * 12.5),
      );
      const number = numberIn(image, 0);
      expect([at, number >= (early as number) && number <= (late as number)]).toEqual([at, true]);
    }
    const { audio, from } = await used(both, 9);
    expect(from).toBe(7.5);
    // Two of three seconds, whole: a shift of the seam is below 0.1 s.
    expect(toneOf(part(audio, 0.6, 1.4), audio.sampleRate)).toBeCloseTo(500 + 150 * 2, -1);
    expect(toneOf(part(audio, 1.6, 2.4), audio.sampleRate)).toBeCloseTo(500 + 150 * 3, -1);
    const spots: VideoSpot[] = [];
    for await (const spot of model.localizeVideo(both, { every: 25 })) spots.push(spot);
    expect(Math.abs((spots.at(-1)?.time ?? 0) - 12)).toBeLessThan(0.2);
  });
});

describe("a wrong declared frame rate", () => {
  it("is not believed", async () => {
    const path = file("rate.mkv");
    const spec = plain("mkv", 5, 10);
    await makeMedia(spec, path);
    const bytes = readFileSync(path);
    // DefaultDuration of 0.1 s, in nanoseconds, becomes 1 ms.
    const at = bytes.indexOf(Buffer.from([0x23, 0xe3, 0x83, 0x84]));
    expect(at).toBeGreaterThan(0);
    expect(bytes.readUInt32BE(at + 4)).toBe(100_000_000);
    bytes.writeUInt32BE(1_000_000, at + 4);
    writeFileSync(path, bytes);
    await using media = await openMedia(path);
    expect(media.streams[0]?.frameRate).toBeCloseTo(10, 1);
    expect(media.duration).toBeCloseTo(5, 1);
    expect(numberIn((await used(path, 3.33)).image, 0)).toBe(33);
    let count = 0;
    for await (const _ of model.localizeVideo(path)) count++;
    expect(count).toBe(50);
  });
});

describe("a large file", () => {
  it.each(["good.mp4", "gap2.mkv", "live.mkv", "vfr.mp4"])(
    "like %s is read by its ends as by all of it",
    async (name) => {
      const path = fixture(name);
      await using whole = await Media.open(path, { name: path });
      await using ends = await Media.open(path, { name: path, wholeBytes: 1 });
      expect(ends.duration).toBeCloseTo(whole.duration, 3);
      for (const at of [0, 2.17, 5, 6.95, 11.9]) {
        const [one, other] = [await whole.frameAt(at), await ends.frameAt(at)];
        expect([at, other.time]).toEqual([at, one.time]);
        expect(level(other.image)).toBe(level(one.image));
      }
      const range = { from: 3.5, to: 8.5 };
      const [one, other] = [await whole.audio(range), await ends.audio(range)];
      expect(other.samples.length).toBe(one.samples.length);
      expect(other.samples.findIndex((value, i) => Math.abs(value - (one.samples[i] as number)) > 1e-3)).toBe(
        -1,
      );
      const times = async (media: Media) => {
        const found: number[] = [];
        for await (const { time } of media.frames({ from: 5.05, to: 8 })) found.push(time);
        return found;
      };
      expect(await times(ends)).toEqual(await times(whole));
    },
  );
});

describe("a file of audio alone", () => {
  it.each(["mp3", "ogg", "opus", "flac", "m4a"])("as %s begins with its first sample", async (ending) => {
    const path = file(`click.${ending}`);
    const codec = ending === "ogg" ? ["-c:a", "libvorbis"] : [];
    await ffmpeg(
      "-f",
      "lavfi",
      "-i",
      "aevalsrc='if(lt(t,0.5),0,0.5*sin(2*PI*700*t))':s=48000:d=3",
      ...codec,
      path,
    );
    const audio = await decodeAudio(path);
    expect(firstAbove(audio, 0.1)).toBeCloseTo(0.5, 2);
    expect(Math.abs(audio.samples.length / audio.sampleRate - 3)).toBeLessThan(0.06);
    expect(firstAbove(await decodeAudio(path, { start: 0.25, duration: 1 }), 0.1)).toBeCloseTo(0.25, 2);
    // One pass, and the reader of all files.
    await using media = await openMedia(path);
    const other = await media.audio();
    expect(firstAbove(other, 0.1)).toBeCloseTo(firstAbove(audio, 0.1), 3);
    expect(Math.abs(other.samples.length - audio.samples.length) / 48_000).toBeLessThan(0.06);
  });
});

describe("openMedia", () => {
  it("takes bytes, and removes what it made of them", async () => {
    const media = await openMedia(readFileSync(fixture("late.mp4")));
    expect(firstAbove(await media.audio())).toBeCloseTo(5, 2);
    await media.close();
    await expect(media.frameAt(1)).rejects.toMatchObject({ code: "ERR_DISPOSED" });
    await expect(openMedia(new Uint8Array(0))).rejects.toMatchObject({ code: "ERR_FILE_EMPTY" });
    await expect(openMedia(new Uint8Array(1000))).rejects.toMatchObject({ code: "ERR_MEDIA_DECODE" });
  });

  it("gives audio in the requested rate and channels", async () => {
    await using media = await openMedia(fixture("two_tracks.mp4"), { audioTrack: 0 });
    const audio = await media.audio({ from: 1, to: 2.5, sampleRate: 8000, channels: 2 });
    expect(audio).toMatchObject({ sampleRate: 8000, channels: 2 });
    expect(audio.samples.length).toBe(2 * 12_000);
    expect(toneOf(part(audio, 0.1, 1.4), 8000)).toBeCloseTo(440, -1);
    const outside = await media.audio({ from: -1, to: 0 });
    expect(peak(outside.samples)).toBe(0);
    await expect(media.audio({ from: 2, to: 1 })).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(media.audio({ channels: 3 })).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(media.frameAt(99)).rejects.toMatchObject({ code: "ERR_INPUT" });
  });

  it("says what a file has not", async () => {
    const tone = file("tone.wav");
    writeFileSync(tone, encodeWav({ samples: new Float32Array(16_000).fill(0.1), sampleRate: 16_000 }));
    await using media = await openMedia(tone);
    expect(media.duration).toBe(1);
    await expect(media.frameAt(0)).rejects.toMatchObject({ code: "ERR_MEDIA_DECODE" });
    const mute = file("mute.mp4");
    await ffmpeg("-i", fixture("good.mp4"), "-c", "copy", "-an", mute);
    await using silent = await openMedia(mute);
    await expect(silent.audio()).rejects.toMatchObject({ code: "ERR_NO_AUDIO" });
    await expect(openMedia(fixture("good.mp4"), { audioTrack: -1 })).rejects.toMatchObject({
      code: "ERR_INPUT",
    });
  });
});

describe("silence", () => {
  it("is reported for audio, a spot and the frames of a video", async () => {
    const image = { data: new Uint8Array(3 * 32 * 32).fill(90), width: 32, height: 32 };
    const tone = (gain: number) => ({
      samples: Float32Array.from({ length: 80_000 }, (_, i) => gain * Math.sin(i / 5)),
      sampleRate: 16_000,
    });
    expect((await model.localize({ image, audio: tone(0.0009) })).silent).toBe(true);
    expect((await model.localize({ image, audio: tone(0.0011) })).silent).toBe(false);
    // Loud, but not in the middle three seconds.
    const edges = tone(0.5);
    edges.samples.fill(0, 15_000, 65_000);
    expect((await model.localize({ image, audio: edges })).silent).toBe(true);
    const path = file("half.mkv");
    await ffmpeg(
      ...["-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=10", "-f", "lavfi", "-i", "sine=440:d=4", path],
    );
    expect((await model.localize({ video: path, at: 9 })).silent).toBe(true);
    const found = async (includeSilent: boolean) => {
      const spots: VideoSpot[] = [];
      for await (const spot of model.localizeVideo(path, {
        minConfidence: -1,
        from: 8,
        every: 5,
        includeSilent,
      }))
        spots.push(spot);
      return spots;
    };
    const [left, asked] = [await found(false), await found(true)];
    expect(left.map(({ silent, boxes }) => [silent, boxes.length])).toEqual(left.map(() => [true, 0]));
    expect(asked.map(({ silent, source }) => [silent, source])).toEqual(asked.map(() => [true, true]));
    expect(asked.some(({ boxes }) => boxes.length > 0)).toBe(true);
  });
});

it("checks the audio of a plain file at all moments", async () => {
  const path = file("all.mkv");
  const spec = plain("mkv", 5);
  await makeMedia(spec, path);
  await using media = await openMedia(path);
  expect(wrongInAudio(spec, await media.audio(), 0)).toEqual([]);
  // The check itself finds a shift.
  expect(wrongInAudio(spec, await media.audio({ from: 0.06, to: 5 }), 0).length).toBeGreaterThan(3);
});
