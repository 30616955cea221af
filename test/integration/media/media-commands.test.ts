/** Media on the command line, and which ffmpeg reads it. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { diagnose } from "../../../src/cli/doctor.js";
import { Model, openMedia } from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { ffmpeg, fixture } from "../../support/media.js";
import { tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-commands-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);
let source = "";
const checkpoint = file("model.safetensors");

beforeAll(async () => {
  source = transpilePackage(file("package"));
  using model = await Model.create({ ...tiny, audio: { seconds: 3 } }, { seed: 3 });
  await model.save(checkpoint);
});

const soundspot = (...args: string[]) =>
  execFileSync(process.execPath, [join(source, "cli/main.js"), ...args], { encoding: "utf8" });

describe("soundspot info", () => {
  it("lists the streams of media, and the parts of a checkpoint under any name", () => {
    const text = soundspot("info", fixture("two_tracks.mp4"));
    expect(text).toMatch(/^duration {2}6\.0\d\d s$/m);
    expect(text).toMatch(/^ {2}0 {2}video, h264, 320 × 240, 10 frames per second, .*used$/m);
    expect(text).toMatch(/^ {2}1 {2}audio, aac, 44100 Hz, 1 channels, .*--audio-track 0$/m);
    expect(text).toMatch(/^ {2}2 {2}audio, aac, .*--audio-track 1, default, used$/m);
    const { streams } = JSON.parse(soundspot("info", fixture("cover_udta_first.mp4"), "--json")) as {
      streams: { attachedPicture?: boolean; used: boolean }[];
    };
    expect(streams.map(({ attachedPicture, used }) => [attachedPicture, used])).toEqual([
      [true, false],
      [false, true],
      [undefined, true],
    ]);
    const renamed = file("model.mp4");
    writeFileSync(renamed, readFileSync(checkpoint));
    expect(soundspot("info", renamed)).toMatch(/^parameters +\d/m);
    writeFileSync(file("junk.safetensors"), "no checkpoint and no media");
    expect(() => soundspot("info", file("junk.safetensors"))).toThrow(/ERR_CHECKPOINT|junk\.safetensors/);
  });
});

describe("soundspot localize", () => {
  it("takes an audio track, and says where the audio is silent", async () => {
    const silent = file("silent.mkv");
    await ffmpeg(
      ...["-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=12", "-f", "lavfi", "-i", "sine=440:d=4", silent],
    );
    expect(soundspot("localize", silent, "--at", "2", "--model", checkpoint)).not.toMatch(/silent/);
    expect(soundspot("localize", silent, "--at", "10", "--model", checkpoint)).toMatch(
      /the audio is silent there/,
    );
    const json = JSON.parse(
      soundspot("localize", silent, "--at", "10.05", "--model", checkpoint, "--json"),
    ) as { silent: boolean; time: number };
    expect(json.silent).toBe(true);
    expect(Math.round(10 * json.time)).toBe(100);
    const tracks = fixture("two_tracks.mp4");
    const confidence = (...args: string[]) =>
      (
        JSON.parse(soundspot("localize", tracks, "--at", "3", "--model", checkpoint, "--json", ...args)) as {
          confidence: number;
        }
      ).confidence;
    expect(confidence("--audio-track", "1")).toBe(confidence());
    expect(confidence("--audio-track", "0")).not.toBe(confidence());
    expect(() => soundspot("localize", tracks, "--model", checkpoint, "--audio-track", "2")).toThrow(
      /audio tracks 0 to 1/,
    );
  });
});

describe.skipIf(process.platform === "win32")("of several programs", () => {
  const program = (name: string, libavutil: string) => {
    const path = file(`${name}/ffmpeg`);
    mkdirSync(file(name), { recursive: true });
    writeFileSync(
      path,
      `#!/bin/sh\necho "ffmpeg version ${name} Copyright"\necho "libavutil      ${libavutil} / ${libavutil}"\n`,
    );
    chmodSync(path, 0o755);
    return path;
  };
  const [path, explicit] = [process.env.PATH, process.env.FFMPEG_PATH];
  afterAll(() => {
    process.env.PATH = path;
    if (explicit === undefined) delete process.env.FFMPEG_PATH;
    else process.env.FFMPEG_PATH = explicit;
  });

  it("the newest is taken, unless one is named; doctor warns of an old one", async () => {
    const newest = program("newest", "99.  1.100");
    const old = program("old", "56. 24.101");
    delete process.env.FFMPEG_PATH;
    process.env.PATH = file("newest");
    expect(await findFfmpeg()).toMatchObject({ path: newest, source: "PATH", version: "newest" });
    process.env.PATH = file("old");
    expect((await findFfmpeg()).libavutil).toBeGreaterThanOrEqual(56.024);
    process.env.FFMPEG_PATH = old;
    expect(await findFfmpeg()).toMatchObject({ path: old, source: "FFMPEG_PATH" });
    const { findings } = await diagnose();
    expect(findings.find(({ name }) => name === "ffmpeg")).toMatchObject({
      status: "warning",
      fix: expect.stringContaining("older than 5.0"),
    });
    process.env.FFMPEG_PATH = newest;
    const again = await diagnose();
    expect(again.findings.find(({ name }) => name === "ffmpeg")).toMatchObject({ status: "ok" });
  });
});

describe("what ffmpeg does not know", () => {
  it("is an error with a code", async () => {
    const bytes = readFileSync(fixture("good.mp4"));
    // Another name of the codec, in the description of the samples.
    const path = file("unknown.mp4");
    bytes.write("zzzz", bytes.lastIndexOf("avc1", undefined, "latin1"), "latin1");
    writeFileSync(path, bytes);
    const reading = async () => {
      await using media = await openMedia(path);
      return media.frameAt(1);
    };
    await expect(reading()).rejects.toMatchObject({ name: "SoundspotError", code: "ERR_MEDIA_DECODE" });
  });
});
