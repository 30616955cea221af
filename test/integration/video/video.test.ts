/** Localization over whole videos, and what is written of it. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LocalizeVideoOptions, Model, renderVideo, type VideoSpot } from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { openMedia } from "../../../src/media/media.js";
import { probeVideo } from "../../../src/media/video.js";
import { AudioWindows } from "../../../src/video/audio-windows.js";
import { reachOf, smoothed } from "../../../src/video/tracking.js";
import { slots, tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-video-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const clip = join(folder, "clip.mp4");
const mute = join(folder, "mute.mp4");
const long = join(folder, "long.mp4");
let program = "";
let model: Model;

const run = (...args: string[]) => execFileSync(program, ["-nostdin", "-v", "error", "-y", ...args]);

beforeAll(async () => {
  program = (await findFfmpeg()).path;
  model = await Model.create(tiny, { seed: 5 });
  const frames = ["-f", "lavfi", "-i", "testsrc2=size=98x62:rate=10"];
  const coded = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
  // Two seconds of a tone, then two of silence.
  const tone = ["-f", "lavfi", "-i", "aevalsrc='if(lt(t,2),0.3*sin(880*PI*t),0)':s=16000"];
  run(...frames, ...tone, "-t", "4", ...coded, "-c:a", "aac", clip);
  run(...frames, "-t", "1", ...coded, mute);
  const sweep = ["-f", "lavfi", "-i", "aevalsrc='0.3*sin(2*PI*(200*t+5*t*t))':s=8000"];
  run("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=1", ...sweep, "-t", "90", ...coded, "-c:a", "aac", long);
});

async function all(path: string, options: LocalizeVideoOptions = {}): Promise<VideoSpot[]> {
  const spots: VideoSpot[] = [];
  for await (const spot of model.localizeVideo(path, {
    precision: "float32",
    minConfidence: -1,
    ...options,
  })) {
    spots.push(spot);
  }
  return spots;
}

const greatest = (a: Float32Array, b: Float32Array) =>
  a.reduce((high, value, i) => Math.max(high, Math.abs(value - (b[i] as number))), 0);

describe("localizeVideo", () => {
  it("gives every frame in order, and looks at every nth", async () => {
    const spots = await all(clip, { every: 4 });
    // The audio's last packet makes the clip a frame longer than its frames: the last one stays.
    const { duration } = await probeVideo(clip);
    const count = Math.ceil(10 * duration - 1e-6);
    expect(spots.map(({ index }) => index)).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(spots.map(({ time }) => Math.round(10 * time))).toEqual(spots.map(({ index }) => index));
    expect(spots.filter(({ localized }) => localized).map(({ index }) => index)).toEqual(
      Array.from({ length: Math.ceil(count / 4) }, (_, i) => 4 * i),
    );
    expect(spots[0]?.image).toMatchObject({ width: 98, height: 62 });
  });

  it("finds in a frame what localize finds there, without smoothing", async () => {
    for (const refine of ["none", "iqr"] as const) {
      const spots = await all(clip, { every: 5, smoothing: 0, refine });
      for (const index of [0, 5, 10]) {
        const spot = spots[index] as VideoSpot;
        const alone = await model.localize({ video: clip, at: spot.time }, { precision: "float32", refine });
        expect(greatest(await spot.heatmap(), alone.heatmap), `${refine} ${index}`).toBeLessThan(1e-4);
        expect(spot.confidence).toBeCloseTo(alone.confidence, 5);
      }
    }
  });

  it("interpolates between the frames that it looks at", async () => {
    const spots = await all(clip, { every: 4, smoothing: 0 });
    const [before, between, after] = [4, 5, 8].map((index) => spots[index] as VideoSpot);
    const middle = 0.75 * (before?.confidence ?? 0) + 0.25 * (after?.confidence ?? 0);
    expect(between?.confidence).toBeCloseTo(middle, 6);
    expect(between?.localized).toBe(false);
  });

  it("has no source where the audio is silent, or the confidence is low", async () => {
    const spots = await all(clip, { every: 1 });
    // The model hears half a second: the last quarter is silent around 2.5 s and later.
    expect(spots[5]?.source).toBe(true);
    for (const { source, boxes } of spots.slice(25)) {
      expect(source).toBe(false);
      expect(boxes).toEqual([]);
    }
    const strict = await all(clip, { minConfidence: 1 });
    expect(strict.some(({ source }) => source)).toBe(false);
    const overlay = await (strict[3] as VideoSpot).overlay();
    const original = (strict[3] as VideoSpot).image.data;
    const changed = overlay.data.reduce((count, value, i) => count + (value === original[i] ? 0 : 1), 0);
    expect(changed).toBeGreaterThan(100); // the words
    expect(changed).toBeLessThan(original.length / 3);
  });

  it("takes a range, the same frames as of the whole", async () => {
    const whole = await all(clip, { every: 5, smoothing: 0 });
    const part = await all(clip, { every: 5, smoothing: 0, from: 1, to: 2 });
    expect(part.map(({ time }) => Math.round(10 * time))).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    for (const [i, spot] of part.entries()) {
      const same = whole[10 + i] as VideoSpot;
      expect([...spot.image.data.subarray(0, 3000)]).toEqual([...same.image.data.subarray(0, 3000)]);
    }
    expect(greatest(await (part[0] as VideoSpot).heatmap(), await (whole[10] as VideoSpot).heatmap())).toBe(
      0,
    );
  });

  it("draws several target slots, each in its colour and with its boxes", async () => {
    const several = await Model.create({ ...tiny, ...slots({ targetSlots: 2 }) }, { seed: 1 });
    for await (const spot of several.localizeVideo(clip, { to: 0.2, minConfidence: -1 })) {
      const maps = await spot.slotHeatmaps();
      expect(maps.map((map) => map.length)).toEqual([98 * 62, 98 * 62]);
      expect(maps.every((map) => map.every((x) => x >= 0 && x <= 1))).toBe(true);
      expect(new Set(spot.boxes.map(({ slot }) => slot))).toEqual(new Set([0, 1]));
      for (const { x, y, width, height } of spot.boxes) {
        expect(x + width).toBeLessThanOrEqual(98);
        expect(y + height).toBeLessThanOrEqual(62);
      }
      const whole = await spot.heatmap();
      expect(
        greatest(
          whole,
          Float32Array.from(whole, (_, i) => Math.max(maps[0]?.[i] ?? 0, maps[1]?.[i] ?? 0)),
        ),
      ).toBe(0);
    }
  });

  it.each([
    [{ every: 0 }, /every must be a whole number of frames of at least 1, got 0/],
    [{ from: 9 }, /from must be in \[0, 4/],
    [{ from: 2, to: 1 }, /to must be after from/],
    [{ smoothing: Number.NaN }, /smoothing must be a number from 0 to 10/],
    [{ minConfidence: 2 }, /minConfidence must be a number from -1 to 1/],
    [{ threshold: -1 }, /threshold must be/],
    [{ refine: "ogl" as "iqr" }, /refine must be none or iqr/],
  ])("rejects %o", async (options, message) => {
    await expect(all(clip, options)).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(message),
    });
  });

  it("rejects a video without audio, and stops on abort", async () => {
    await expect(all(mute)).rejects.toMatchObject({ code: "ERR_NO_AUDIO" });
    const stop = new AbortController();
    const spots = model.localizeVideo(clip, { signal: stop.signal });
    await spots.next();
    stop.abort();
    await expect(all(clip, { signal: stop.signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
    await expect(
      (async () => {
        for await (const _ of spots);
      })(),
    ).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("can be left at any frame", async () => {
    for await (const { index } of model.localizeVideo(clip)) if (index === 2) break;
    expect((await all(clip, { to: 0.3 })).length).toBe(3);
  });
});

describe("the audio of a video", () => {
  it("is read in parts whose seams nobody hears", async () => {
    const media = await openMedia(long);
    const windows = new AudioWindows(media, 2);
    const again = new AudioWindows(media, 2);
    await again.around(20); // its parts begin elsewhere
    for (const time of [0, 1, 29.5, 31, 33.25, 62, 65.5, 89, 90]) {
      const [one, other] = [await windows.around(time), await again.around(time)];
      expect(one.audio.samples.length).toBe(16_000);
      expect(one.silent).toBe(false);
      expect(greatest(one.audio.samples, other.audio.samples), String(time)).toBeLessThan(1e-6);
    }
  });
});

describe("smoothing over time", () => {
  const at = (value: number) => {
    const map = { data: Float32Array.of(value), shape: [1, 1, 1] };
    return { audio: map, image: map, confidence: value };
  };

  it("keeps what does not change, and spreads what does", () => {
    const still = Array.from({ length: 9 }, () => at(3));
    expect(smoothed(still, 0, 0.4, 0.2).confidence).toBeCloseTo(3, 9);
    const jump = Array.from({ length: 9 }, (_, i) => at(i < 4 ? 0 : 1));
    const values = jump.map((_, i) => smoothed(jump, i, 0.2, 0.2).confidence);
    expect(values).toEqual(values.toSorted((a, b) => a - b));
    expect(values[0]).toBe(0);
    expect(values[3]).toBeGreaterThan(0.2);
    expect(values[3]).toBeLessThan(0.5);
    expect(reachOf(0, 0.2)).toBe(0);
    expect(smoothed(jump, 4, 0, 0.2).confidence).toBe(1);
  });
});

describe("renderVideo", () => {
  it("writes a video with the original's audio, and a line for each frame", async () => {
    const [output, track] = [join(folder, "where.mp4"), join(folder, "where.jsonl")];
    const seen: number[] = [];
    const done = await renderVideo(model, clip, {
      output,
      track,
      from: 1,
      to: 3,
      minConfidence: -1,
      onFrame: (_, count, total) => seen.push(count / total),
    });
    expect(done).toMatchObject({ frames: 20, duration: 2 });
    expect(seen.at(-1)).toBe(1);
    const info = await probeVideo(output);
    expect(info).toMatchObject({ width: 98, height: 62, hasAudio: true, frameRate: 10 });
    expect(info.duration).toBeCloseTo(2, 0);
    const lines = readFileSync(track, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { index: number; time: number; source: boolean; boxes: unknown[] });
    expect(lines.map(({ index }) => index)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(lines.filter(({ source }) => source).length).toBe(done.framesWithSource);
    expect(lines[0]?.time).toBe(1);
    expect(lines[0]?.boxes.length).toBeGreaterThan(0);
  });

  it("leaves nothing behind when it fails or is stopped", async () => {
    const before = readdirSync(folder).toSorted();
    const stop = new AbortController();
    const stopped = renderVideo(model, clip, {
      output: join(folder, "stopped.mp4"),
      track: join(folder, "stopped.jsonl"),
      signal: stop.signal,
      onFrame: (_, done) => done === 5 && stop.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: "ERR_ABORTED" });
    const nowhere = join(clip, "no", "where.mp4");
    for (const output of [nowhere, join(clip, "where.mp4")]) {
      await expect(renderVideo(model, clip, { output })).rejects.toMatchObject({ code: "ERR_FILE_WRITE" });
    }
    const made = new AbortController();
    const unmade = renderVideo(model, clip, {
      output: join(folder, "no", "a", "where.mp4"),
      track: join(folder, "no", "b", "where.jsonl"),
      signal: made.signal,
      onFrame: () => {
        if (!made.signal.aborted) expect(readdirSync(join(folder, "no")).toSorted()).toEqual(["a", "b"]);
        made.abort();
      },
    });
    await expect(unmade).rejects.toMatchObject({ code: "ERR_ABORTED" });
    await expect(renderVideo(model, clip, { output: join(folder, "where.avi") })).rejects.toMatchObject({
      code: "ERR_INPUT",
    });
    expect(readdirSync(folder).toSorted()).toEqual(before);
    expect(existsSync(nowhere)).toBe(false);
  });
});
