/** Audio and frames of real files on one clock. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  datasets,
  Model,
  openMedia,
  prepareVideos,
  type RawAudio,
  type RawImage,
  SearchIndex,
  serve,
  type VideoSpot,
} from "../../../src/index.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { decodeImage } from "../../../src/media/image.js";
import { firstAbove, fixture, level, part, peak, toneOf, usedBy } from "../../support/media.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-time-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let model: Model;

beforeAll(async () => {
  // Five seconds of audio, as the paper has.
  model = await Model.create({ ...tiny, audio: { seconds: 5 } }, { seed: 3 });
});

/** The audio and the frame that `localize` used at a moment. */
async function used(video: string, at?: number) {
  const [sample] = await usedBy(() => model.localize({ video, ...(at === undefined ? {} : { at }) }));
  if (!sample?.audio) throw new Error("nothing was used");
  return { ...sample, audio: sample.audio };
}

async function spotsOf(video: string, options = {}): Promise<VideoSpot[]> {
  const spots: VideoSpot[] = [];
  for await (const spot of model.localizeVideo(video, { minConfidence: -1, every: 10, ...options }))
    spots.push(spot);
  return spots;
}

describe("audio that begins late", () => {
  const late = fixture("late.mp4");

  it("has its audio at the time when it sounds", async () => {
    const { audio, from } = await used(late, 5);
    expect(from).toBe(2.5);
    expect(audio.samples.length).toBe(5 * audio.sampleRate);
    expect(firstAbove(audio)).toBeCloseTo(2.5, 2);
    expect(toneOf(part(audio, 2.53, 2.67), audio.sampleRate)).toBeCloseTo(1000, -1);
    expect(peak(part(audio, 2.75, 5))).toBeLessThan(0.01);
  });

  it("is silence before", async () => {
    const { audio } = await used(late, 2);
    expect(audio.samples.length).toBe(5 * audio.sampleRate);
    // The coded beep begins with a trace of itself, just before 5 s.
    expect(peak(part(audio, 0, 4.95))).toBe(0);
    expect(peak(audio.samples)).toBeLessThan(0.01);
  });

  it("lasts as long as the file", async () => {
    const whole = await decodeAudio(late);
    expect(whole.samples.length / whole.sampleRate).toBeCloseTo(12, 1);
    expect(firstAbove(whole)).toBeCloseTo(5, 2);
    const bytes = await decodeAudio(readFileSync(late));
    expect(firstAbove(bytes)).toBeCloseTo(5, 2);
    const { output } = await prepared(late);
    const wav = await decodeAudio(join(output, "audio", "late.wav"));
    expect(wav.samples.length / wav.sampleRate).toBeCloseTo(12, 1);
    expect(firstAbove(wav)).toBeCloseTo(5, 2);
  });
});

/** Prepares one video; gives the folder. */
async function prepared(
  video: string,
  options = {},
): Promise<{ readonly output: string; readonly manifest: string }> {
  const output = mkdtempSync(join(folder, "prepared-"));
  const { manifest, failed } = await prepareVideos({ input: video, output, ...options });
  expect(failed).toEqual([]);
  return { output, manifest };
}

describe("the service and the index", () => {
  it("use the same frame and audio", async () => {
    const { server, url } = await serve({ model, port: 0 });
    try {
      const form = new FormData();
      form.append("video", new Blob([new Uint8Array(readFileSync(fixture("vfr.mp4")))]), "vfr.mp4");
      form.append("at", "5");
      const [sample] = await usedBy(async () => {
        const response = await fetch(`${url}/v1/localize`, { method: "POST", body: form });
        expect(await response.json()).toMatchObject({ time: 3 });
      });
      expect(Math.abs(level(sample?.image as RawImage) - 56)).toBeLessThan(6);
    } finally {
      await server.close();
    }
    const videos = mkdtempSync(join(folder, "videos-"));
    // Its middle, 6 s, has audio after a silence; the frame there is the control's.
    for (const name of ["late.mp4", "gap2.mkv"]) copyFileSync(fixture(name), join(videos, name));
    using index = await SearchIndex.create(join(folder, "index"), { model });
    const samples = await usedBy(() => index.update({ folder: videos, model }));
    expect(samples.map(({ at, from }) => [at, from])).toEqual([
      [expect.closeTo(6, 1), expect.closeTo(3.5, 1)],
      [expect.closeTo(6, 1), expect.closeTo(3.5, 1)],
    ]);
    const of = (name: string) => samples.find(({ video }) => video.endsWith(name))?.audio as RawAudio;
    expect(firstAbove(of("late.mp4"))).toBeCloseTo(1.5, 1);
    expect(firstAbove(of("gap2.mkv"))).toBeCloseTo(5.056 - 3.5, 1);
  });
});

/** A gap is read as silence of its length; the tones after it stay where they are. */
describe("audio with a gap", () => {
  const gap = fixture("gap2.mkv");

  it("is silent in the gap and in time after it", async () => {
    const { audio, from } = await used(gap, 6);
    expect(from).toBe(3.5);
    expect(firstAbove(audio)).toBeCloseTo(5.056 - 3.5, 2);
    const tone = (at: number) => toneOf(part(audio, at - 3.5, at - 3.5 + 0.8), audio.sampleRate);
    expect(tone(5.1)).toBeCloseTo(1400, -1);
    expect(tone(6.1)).toBeCloseTo(1600, -1);
    expect(tone(7.1)).toBeCloseTo(1800, -1);
    expect(toneOf(part(audio, 8.05 - 3.5, 5), audio.sampleRate)).toBeCloseTo(2000, -1);
  });

  it("is the same to the whole video", async () => {
    const spots = await spotsOf(gap);
    expect(spots.map(({ silent }) => silent)).toEqual(spots.map(() => false));
    const short = await Model.create({ ...tiny, audio: { seconds: 1 } }, { seed: 3 });
    const silent: number[] = [];
    for await (const spot of short.localizeVideo(gap, { every: 1, smoothing: 0 })) {
      if (spot.silent) silent.push(Math.round(10 * spot.time));
    }
    // A second around the moment lies in the gap.
    expect(silent).toEqual(Array.from({ length: 11 }, (_, i) => 35 + i).filter((at) => at >= 36 && at <= 45));
  });
});

describe("frames at uneven times", () => {
  const vfr = fixture("vfr.mp4");

  it("are shown till the next begins", async () => {
    const spot = await used(vfr, 5);
    expect(Math.abs(level(spot.image) - 56)).toBeLessThan(6);
    expect(spot.time).toBeCloseTo(3, 3);
    expect((await model.localize({ video: vfr, at: 5 })).time).toBeCloseTo(3, 3);
    expect(Math.abs(level((await used(vfr, 7)).image) - 90)).toBeLessThan(6);
  });

  it("are the same whatever part is read", async () => {
    const whole = await spotsOf(vfr);
    const part = await spotsOf(vfr, { from: 4 });
    const key = ({ time, image }: VideoSpot) => [Math.round(1000 * time), level(image)];
    expect(part.map(key)).toEqual(whole.filter(({ time }) => time >= 4 - 1e-6).map(key));
    for (const { time, image } of part.filter(({ time }) => time < 6.9)) {
      expect([time, Math.abs(level(image) - 56) < 6]).toEqual([time, true]);
    }
  });

  it("are the same to prepare, manifests and shards", async () => {
    const { output, manifest } = await prepared(vfr, { frameAt: 5 });
    const frame = await decodeImage(join(output, "frames", "vfr.jpg"));
    expect(Math.abs(level(frame) - 56)).toBeLessThan(6);
    const [sample] = [await (await datasets.manifest({ path: manifest })).load(0)];
    expect(Math.abs(level(sample.image) - 56)).toBeLessThan(6);
  });

  it("are given with their times", async () => {
    await using media = await openMedia(vfr);
    const times: number[] = [];
    for await (const { time } of media.frames({ from: 2.75, to: 7.15 })) times.push(Math.round(1000 * time));
    expect(times).toEqual([2700, 2800, 2900, 3000, 7000, 7100]);
    const moments: number[][] = [];
    for await (const { at, time } of media.frames({ from: 2.75, to: 7.15, rate: 1 })) {
      moments.push([at, Math.round(1000 * time)]);
    }
    expect(moments).toEqual([
      [2.75, 2700],
      [3.75, 3000],
      [4.75, 3000],
      [5.75, 3000],
      [6.75, 3000],
    ]);
  });
});

describe("a browser's recording", () => {
  it("has the frames that it has", async () => {
    await using media = await openMedia(fixture("rec2.webm"));
    expect(media.duration).toBeCloseTo(6, 1);
    const { frameRate } = media.streams[0] as { frameRate: number };
    expect(Math.abs(frameRate - 50)).toBeLessThan(3);
    let count = 0;
    for await (const _ of media.frames()) count++;
    expect(count).toBe(306);
    const spots = await spotsOf(fixture("rec2.webm"));
    expect(Math.abs(spots.length - 306)).toBeLessThan(10);
  });
});

describe("a recording whose clock runs already", () => {
  const live = fixture("live.mkv");

  it("begins at 0", async () => {
    await using media = await openMedia(live);
    expect(Math.abs(media.duration - 12)).toBeLessThan(0.1);
    await using good = await openMedia(fixture("good.mp4"));
    for (const at of [0, 3.34, 11.9]) {
      expect(Math.abs((await media.frameAt(at)).time - at)).toBeLessThan(0.17);
      expect(level((await media.frameAt(at)).image)).toBe(level((await good.frameAt(at)).image));
    }
    const times = (await spotsOf(live, { from: 4, to: 5 })).map(({ time }) => time);
    expect(times.length).toBe(10);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(4);
    expect(Math.max(...times)).toBeLessThan(5);
    const beep = await media.audio();
    expect(firstAbove(beep)).toBeCloseTo(5.064, 2);
  });
});
