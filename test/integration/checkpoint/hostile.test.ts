/** Hostile and damaged files are rejected by code and name, soon, in little memory, and leave nothing behind. */
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chooseAddon, findLibTorch } from "../../../scripts/locate.mjs";
import { Model, SearchIndex } from "../../../src/index.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";
import { type HostileFile, makeHostileFiles } from "../../support/hostile.js";
import { patience } from "../../support/patience.js";
import { tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const MEBIBYTE = 2 ** 20;
const root = fileURLToPath(new URL("../../..", import.meta.url));
const worker = fileURLToPath(new URL("../../support/hostile-worker.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "soundspot-hostile-"));
const at = (...names: string[]) => join(folder, ...names);

interface Outcome extends HostileFile {
  readonly got?: string;
  readonly typed: boolean;
  readonly message: string;
  readonly seconds: number;
  readonly bytes: number;
}

let listener: Server;
let connections = 0;
let files: HostileFile[];
let outcomes: Outcome[];
let same: boolean;
/** Of the folders where something could be written, before and after. */
const listings: Record<"before" | "after", string[]> = { before: [], after: [] };

/** Every name below a folder with what it holds. */
function listing(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const info = lstatSync(join(path, name));
      if (info.isSymbolicLink()) return `${name} -> ${readlinkSync(join(path, name))}`;
      if (!info.isFile()) return `${name} ${info.mode}`;
      return `${name} ${createHash("sha256")
        .update(readFileSync(join(path, name)))
        .digest("hex")}`;
    });
}

beforeAll(async () => {
  for (const name of ["corpus", "good", "home", "temporary"]) mkdirSync(at(name));
  const { path: ffmpeg } = await findFfmpeg();
  listener = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((done) => listener.listen(0, "127.0.0.1", done));
  const { port } = listener.address() as { port: number };

  using model = await Model.create(tiny, { seed: 1 });
  const checkpoint = at("good", "model.safetensors");
  await model.save(checkpoint);
  (await SearchIndex.create(at("good", "index"), { model })).close();
  const samples = Float32Array.from({ length: 16_000 }, (_, i) => 0.5 * Math.sin(i / 5));
  writeFileSync(at("good", "tone.wav"), encodeWav({ samples, sampleRate: 16_000 }));
  writeFileSync(at("good", "secret.wav"), encodeWav({ samples, sampleRate: 16_000 }));
  const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251);
  await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
    .png()
    .toFile(at("good", "noise.png"));
  const run = (...args: string[]) => execFileSync(ffmpeg, ["-v", "error", "-y", ...args]);
  run("-i", at("good", "tone.wav"), at("good", "tone.mp3"));
  run("-f", "lavfi", "-i", "testsrc=s=64x64:r=5:d=1", "-i", at("good", "tone.wav"), at("good", "clip.mp4"));
  // Where annotations look for their samples.
  for (const [kind, ending, from] of [
    ["frames", "jpg", "noise.png"],
    ["audio", "wav", "tone.wav"],
  ] as const) {
    mkdirSync(at("good", "root", kind), { recursive: true });
    for (const id of ["broken", "crossed", "entity", "laughs", "no-corner", "mad-corner"]) {
      writeFileSync(at("good", "root", kind, `${id}.${ending}`), readFileSync(at("good", from)));
    }
  }

  files = await makeHostileFiles(at("corpus"), ffmpeg, {
    model: checkpoint,
    index: at("good", "index"),
    secret: at("good", "secret.wav"),
    url: `http://127.0.0.1:${port}`,
  });
  const job = at("job.json");
  const good = {
    image: at("good", "noise.png"),
    audio: at("good", "tone.wav"),
    encoded: at("good", "tone.mp3"),
    video: at("good", "clip.mp4"),
    root: at("good", "root"),
  };
  writeFileSync(job, JSON.stringify({ files, good, model: checkpoint, config: tiny }));
  const source = transpilePackage(at("package"));
  const watched = () => ["corpus", "good", "home", "temporary"].flatMap((name) => listing(at(name)));
  listings.before = watched();
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", worker, source, job], {
    cwd: at("home"),
    env: {
      ...process.env,
      TMPDIR: at("temporary"),
      TEMP: at("temporary"),
      TMP: at("temporary"),
      HOME: at("home"),
      // It may lie in the cache folder of the true home.
      LIBTORCH: findLibTorch({ root, ...chooseAddon({ root }) })?.folder,
    },
    maxBuffer: 2 ** 26,
  });
  listings.after = watched();
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Outcome & { same: boolean });
  same = lines.pop()?.same === true;
  outcomes = lines;
  if (process.env.SOUNDSPOT_TABLE) print();
});

afterAll(() => {
  listener?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The table that is printed when this is run by hand with SOUNDSPOT_TABLE=1. */
function print(): void {
  for (const { taker, path, got, seconds, bytes } of outcomes) {
    const figures = [
      `${seconds.toFixed(3)} s`.padStart(9),
      `${(bytes / MEBIBYTE).toFixed(0)} MiB`.padStart(8),
    ];
    console.log(taker.padEnd(13), basename(path).padEnd(28), String(got).padEnd(24), ...figures);
  }
}

const failing = (wrong: (outcome: Outcome) => boolean) =>
  outcomes.filter(wrong).map(({ taker, path, got, message, seconds, bytes }) => ({
    file: `${taker}/${basename(path)}`,
    got,
    message: message.replaceAll(folder, ""),
    seconds,
    mebibytes: bytes / MEBIBYTE,
  }));

describe("hostile and damaged files", () => {
  it("are many, and each has its outcome", () => {
    expect(files.length).toBeGreaterThanOrEqual(60);
    expect(outcomes.map(({ path }) => path)).toEqual(files.map(({ path }) => path));
  });

  it("are rejected with the right code", () => {
    expect(failing(({ typed, got, code }) => !typed || got !== code)).toEqual([]);
  });

  it("are named", () => {
    expect(failing(({ message, path, field }) => !message.includes(field ?? basename(path)))).toEqual([]);
  });

  it("keep no one waiting for good", () => {
    expect(failing(({ seconds }) => 1000 * seconds >= patience(20))).toEqual([]);
  });

  it("take less than 200 MiB", () => {
    expect(failing(({ bytes }) => bytes >= 200 * MEBIBYTE)).toEqual([]);
  });

  it("leave the process as it was: a good input gives the identical map", () => {
    expect(same).toBe(true);
  });

  it("write nothing", () => {
    expect(listings.before.length).toBeGreaterThan(files.length);
    expect(listings.after).toEqual(listings.before);
  });

  it("are no playlists that are followed, as ffmpeg by itself follows one", async () => {
    const list = at("corpus", "control.mp3");
    writeFileSync(list, "ffconcat version 1.0\nfile 'tone.wav'\n");
    const { path } = await findFfmpeg();
    const decoded = execFileSync(path, ["-v", "error", "-i", list, "-f", "f32le", "pipe:1"]);
    expect(decoded.length).toBeGreaterThan(1000);
    await expect(decodeAudio(list)).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringMatching(/control\.mp3.*format concat/),
    });
  });

  it("reach nobody on the network", () => {
    expect(connections).toBe(0);
  });
});
