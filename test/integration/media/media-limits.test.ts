/** Limits of decoding: what is rejected, with which message, and how the limit is changed; and numbers that are unusual. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Model, type RawAudio } from "../../../src/index.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { findFfmpeg, inputArgs, runFfmpeg } from "../../../src/media/ffmpeg.js";
import { decodeImage } from "../../../src/media/image.js";
import { decodeFrame, decodeFrames, probeVideo } from "../../../src/media/video.js";
import { encodeWav } from "../../../src/media/wav.js";
import { safeName } from "../../../src/preparation/sample-ids.js";
import { isSample } from "../../../src/preparation/sample-store.js";
import { patience } from "../../support/patience.js";
import { tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-limits-"));
const file = (name: string) => join(folder, name);
const rate = 16_000;
const tone = Float32Array.from({ length: rate }, (_, i) => 0.5 * Math.sin(i / 5));

beforeAll(async () => {
  const { path } = await findFfmpeg();
  const run = (...args: string[]) => execFileSync(path, ["-v", "error", "-y", ...args]);
  writeFileSync(file("tone.wav"), encodeWav({ samples: tone, sampleRate: rate }));
  run("-i", file("tone.wav"), file("tone.flac"));
  run("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=2", "-i", file("tone.wav"), file("clip.mp4"));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  for (const name of Object.keys(process.env))
    if (name.startsWith("SOUNDSPOT_MAX_")) delete process.env[name];
});

describe("limits from the environment", () => {
  const png = () =>
    sharp({ create: { width: 40, height: 30, channels: 3, background: "red" } })
      .png()
      .toBuffer();

  it.each([
    ["SOUNDSPOT_MAX_PIXELS", 1200, async () => decodeImage(await png())],
    ["SOUNDSPOT_MAX_FRAME_PIXELS", 64 * 48, () => probeVideo(file("clip.mp4"))],
    ["SOUNDSPOT_MAX_VIDEO_SECONDS", 4, () => probeVideo(file("clip.mp4"))],
    ["SOUNDSPOT_MAX_SAMPLES", rate, () => decodeAudio(file("tone.wav"))],
    ["SOUNDSPOT_MAX_SAMPLES", 2 * rate, () => decodeAudio(file("tone.flac"))],
  ] as const)("%s of %s is enough, and less is rejected with its name", async (name, enough, work) => {
    process.env[name] = String(enough);
    await work();
    process.env[name] = String(Math.floor(enough / 4));
    await expect((async () => work())()).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringContaining(name),
    });
    for (const wrong of ["0", "many", "-1", "NaN"]) {
      process.env[name] = wrong;
      await expect((async () => work())()).rejects.toMatchObject({
        code: "ERR_CONFIG",
        message: expect.stringContaining(name),
      });
    }
  });

  it("hold ffmpeg itself to the pixels of a frame", async () => {
    const args = ["-f", "framecrc", "pipe:1"];
    const whole = await runFfmpeg([...inputArgs(file("clip.mp4")), ...args]);
    expect(whole.code).toBe(0);
    process.env.SOUNDSPOT_MAX_FRAME_PIXELS = "1000";
    const { stderr, code } = await runFfmpeg([...inputArgs(file("clip.mp4")), ...args]);
    expect(code, stderr).not.toBe(0);
  });
});

it.skipIf(!existsSync("/proc/self/fd"))(
  "a video that is left in its middle leaves no pipe open",
  async () => {
    const { path } = await findFfmpeg();
    const clip = file("wide.mp4");
    execFileSync(path, ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=640x480:r=5:d=2", clip]);
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const before = descriptors();
    for (let i = 0; i < 4; i++) {
      for await (const _ of decodeFrames(clip, { every: 0.2 })) {
        await sleep(100); // ffmpeg fills the pipe
        break;
      }
    }
    for (const end = performance.now() + patience(60); performance.now() < end && descriptors() > before; ) {
      await sleep(20);
    }
    expect(descriptors()).toBe(before);
  },
);

describe.skipIf(process.platform === "win32")("an ffmpeg that does not end", () => {
  const program = file("ffmpeg");
  const started = file("started");
  beforeAll(() => {
    // It starts another program, as wrappers do, and both wait.
    writeFileSync(
      program,
      `#!/bin/sh\ncase "$1" in -version) echo "ffmpeg version 1"; exit 0 ;; esac\nsleep 300 &\necho $! > ${started}.part\nmv ${started}.part ${started}\nwait\n`,
    );
    chmodSync(program, 0o755);
  });
  afterEach(() => rmSync(started, { force: true }));
  const alive = (pid: number) => {
    // A process that nobody has waited for yet has ended all the same.
    try {
      process.kill(pid, 0);
      const status = existsSync("/proc/self/stat") ? readFileSync(`/proc/${pid}/stat`, "utf8") : "";
      return !/\) [ZX] /.test(status);
    } catch {
      return false;
    }
  };
  const innerPid = async () => {
    while (!existsSync(started)) await sleep(20);
    return Number(readFileSync(started, "utf8"));
  };
  const gone = async (pid: number) => {
    for (const end = performance.now() + patience(60); performance.now() < end && alive(pid); )
      await sleep(20);
    expect(alive(pid)).toBe(false);
  };

  it("is ended with what it has started, by an error that states the limit", async () => {
    process.env.SOUNDSPOT_MAX_DECODE_SECONDS = "2";
    const work = decodeAudio(file("tone.flac"), { ffmpeg: program });
    const failure = expect(work).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringMatching(/tone\.flac.*limit is 2.*SOUNDSPOT_MAX_DECODE_SECONDS/),
    });
    const pid = await innerPid();
    await failure;
    await gone(pid);
  });

  it("is ended for a frame as well", async () => {
    process.env.SOUNDSPOT_MAX_DECODE_SECONDS = "1";
    await expect(decodeFrame(file("clip.mp4"), 1, { ffmpeg: program })).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringMatching(/clip\.mp4.*SOUNDSPOT_MAX_DECODE_SECONDS/),
    });
  });

  it("is ended with what it has started when the signal fires", async () => {
    const control = new AbortController();
    const work = decodeAudio(file("tone.flac"), { ffmpeg: program, signal: control.signal });
    const failure = expect(work).rejects.toMatchObject({ code: "ERR_ABORTED" });
    const pid = await innerPid();
    control.abort();
    await failure;
    await gone(pid);
  });

  it("is ended when the process exits", async () => {
    const source = transpilePackage(file("package"));
    const script = `
      const { decodeAudio } = await import(${JSON.stringify(pathToFileURL(join(source, "media", "audio.js")).href)});
      const { existsSync } = await import("node:fs");
      decodeAudio(${JSON.stringify(file("tone.flac"))}, { ffmpeg: ${JSON.stringify(program)} }).catch(() => undefined);
      while (!existsSync(${JSON.stringify(started)})) await new Promise((done) => setTimeout(done, 20));
      process.exit(0);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
    const [code] = await once(child, "exit");
    expect(code).toBe(0);
    await gone(await innerPid());
  });
});

describe("unusual numbers", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.create(tiny);
  });
  afterAll(() => model.dispose());
  const grey = { data: new Uint8Array(32 * 32 * 3).fill(128), width: 32, height: 32 };
  const varied = { ...grey, data: grey.data.map((_, i) => (i * 7919) % 251) };
  const audio = { samples: tone, sampleRate: rate };

  it.each<[string, RawAudio]>([
    ["silence", { samples: new Float32Array(rate), sampleRate: rate }],
    ["one sample", { samples: Float32Array.of(0.5), sampleRate: rate }],
    ["one sample a second", { samples: Float32Array.of(0.5, -0.5, 0.5), sampleRate: 1 }],
    ["768,000 samples a second", { samples: new Float32Array(1000).fill(0.1), sampleRate: 768_000 }],
    ["samples beyond [−1, 1]", { samples: tone.map((v) => 7 * v), sampleRate: rate }],
    ["denormal samples", { samples: tone.map((v) => 1e-42 * v), sampleRate: rate }],
    ["64 channels", { samples: new Float32Array(64 * 100).fill(0.1), sampleRate: rate, channels: 64 }],
  ])("hears %s as finite numbers", async (_, audio) => {
    const { heatmap, confidence } = await model.localize({ image: varied, audio });
    expect([...heatmap, confidence].every(Number.isFinite)).toBe(true);
  });

  it.each([
    ["of one grey", grey],
    ["of one pixel", { data: Uint8Array.of(1, 2, 3), width: 1, height: 1 }],
    ["of one row", { data: new Uint8Array(65_500 * 3).fill(9), width: 65_500, height: 1 }],
    ["of one column", { data: new Uint8Array(5000 * 3).fill(9), width: 1, height: 5000 }],
  ])("gives an image %s a map of its size in [0, 1]", async (_, image) => {
    const spot = await model.localize({ image, audio });
    expect([spot.width, spot.height]).toEqual([image.width, image.height]);
    expect(spot.heatmap.every((value) => value >= 0 && value <= 1)).toBe(true);
  });

  it.each([0, -1, 0.5, 1e9, Number.NaN, Number.POSITIVE_INFINITY])(
    "rejects a rate of %s",
    async (sampleRate) => {
      const audio = { samples: tone, sampleRate };
      await expect(model.localize({ image: grey, audio })).rejects.toMatchObject({
        code: "ERR_INPUT",
        message: expect.stringMatching(/sampleRate.*768000/),
      });
    },
  );

  it("rejects no samples, and those that are not finite", async () => {
    const localize = (samples: Float32Array) =>
      model.localize({ image: grey, audio: { samples, sampleRate: rate } });
    await expect(localize(new Float32Array(0))).rejects.toMatchObject({ code: "ERR_AUDIO_EMPTY" });
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      await expect(localize(Float32Array.of(0, value))).rejects.toMatchObject({
        code: "ERR_AUDIO_NOT_FINITE",
      });
    }
  });
});

describe("ids of samples", () => {
  it.each([
    "../../x",
    "/etc/passwd",
    "CON",
    "com1.mp4",
    "COM¹",
    "conout$",
    "nul",
    "a\0b",
    "a\nb",
    "\u202egpj.exe",
    "..",
    "",
    " x ",
    "a".repeat(300),
    "é".repeat(300),
  ])("makes %j the name of one file", (text) => {
    for (const dots of [true, false]) {
      const name = safeName(text, dots);
      expect(name).toMatch(/^[^\p{Cc}\p{Cf}/\\:]+$/u);
      expect(name).not.toMatch(/^\.|[. ]$|^(con|conout\$|nul|com[1¹])(\.|$)/i);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(181);
      expect(safeName(name, dots)).toBe(name);
    }
  });

  it("are not believed from a list where they could name another file", () => {
    const line = { source: "a/b.mp4", bytes: 7 };
    expect(isSample({ ...line, id: "b" })).toBe(true);
    for (const id of ["../../b", "/b", "con", "b\0", "", 7]) expect(isSample({ ...line, id })).toBe(false);
  });
});
