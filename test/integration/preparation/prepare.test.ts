import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { manifest as readManifest } from "../../../src/datasets/manifest.js";
import { shards as readShards } from "../../../src/datasets/shards/dataset.js";
import { lockFolder } from "../../../src/files/folder-lock.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { decodeImage } from "../../../src/media/image.js";
import { readTar, tarEnd, tarEntry } from "../../../src/media/tar.js";
import { isWav, parseWav, readWavHeader } from "../../../src/media/wav.js";
import { preprocess } from "../../../src/model/preprocess.js";
import { type PrepareVideosOptions, prepareVideos } from "../../../src/preparation/prepare-videos.js";
import { assignIds, type NamedVideo, safeName } from "../../../src/preparation/sample-ids.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-prepare-"));
const at = (...names: string[]) => join(folder, ...names);
const children = new Set<ChildProcess>();
let src: string;

/** Puts the video `kind` where `names` says. */
function place(
  kind: "clip.mp4" | "silent.mp4" | "empty.mp4" | "broken.mp4" | "loud.mkv",
  ...names: string[]
) {
  mkdirSync(dirname(at(...names)), { recursive: true });
  copyFileSync(at("made", kind), at(...names));
}

let outputs = 0;
/** Into an output folder of its own, where none is given. */
const prepare = (options: Omit<PrepareVideosOptions, "output"> & { readonly output?: string }) =>
  prepareVideos({ output: at(`output-${outputs++}`), ...options });

const rowsOf = (path: string) =>
  readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, string>);
const idsIn = (output: string) => rowsOf(join(output, "manifest.jsonl")).map(({ id }) => id);
const system = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: "utf8" });

/** Corrects the checksum of a tar header that was changed. */
function sumAnew(header: Buffer) {
  header.write("        ", 148);
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
}

const gnuTar = /GNU tar/.test(system("tar", "--version"));
if (!gnuTar)
  console.warn(
    "test/integration/preparation/prepare.test.ts reads only ustar and pax and no sparse files: tar is not GNU tar.",
  );

beforeAll(async () => {
  const { path } = await findFfmpeg();
  mkdirSync(at("made"));
  const ffmpeg = (...args: string[]) => execFileSync(path, ["-v", "error", "-y", ...args]);
  // Frame n has the grey level 8n + 4, so a frame shows its number.
  const counter = ["-f", "lavfi", "-i", "color=black:s=64x48:r=10:d=2,format=gray,geq=lum='8*N+4'"];
  const lossless = ["-pix_fmt", "yuv444p", "-c:v", "libx264", "-qp", "0"];
  const sides = "sin(2*PI*440*t)|0.25*sin(2*PI*700*t)";
  const audio = (expression: string, rate: number) => [
    "-f",
    "lavfi",
    "-i",
    `aevalsrc=${expression}:s=${rate}:d=2`,
  ];
  ffmpeg(...counter, ...audio(`0.5*${sides}`, 44_100), ...lossless, "-c:a", "aac", at("made", "clip.mp4"));
  ffmpeg("-i", at("made", "clip.mp4"), "-c", "copy", "-an", at("made", "silent.mp4"));
  const float = [...lossless, "-c:a", "pcm_f32le"];
  ffmpeg(...counter, ...audio(`1.5*${sides}`, 16_000), ...float, at("made", "loud.mkv"));
  const centre = "0|0|0.5*sin(2*PI*440*t)|0|0|0";
  ffmpeg(...counter, ...audio(`${centre}:c=5.1`, 16_000), ...float, at("made", "surround.mkv"));
  writeFileSync(at("made", "empty.mp4"), "");
  writeFileSync(at("made", "broken.mp4"), readFileSync(at("made", "clip.mp4")).subarray(0, 3000));
  src = transpilePackage(at("package"));
});

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs the command line in a process of its own. */
function soundspot(args: readonly string[], started: (child: ChildProcess) => void = () => undefined) {
  const child = spawn(process.execPath, [join(src, "cli/main.js"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: folder,
  });
  children.add(child);
  started(child);
  const said = { output: "", errors: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.errors += text;
  });
  return new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      children.delete(child);
      resolve({ code, ...said });
    });
  });
}

describe("prepareVideos", () => {
  it("takes the middle frame and the audio of every video below a folder, and lists them", async () => {
    for (const name of ["cats/a.mp4", "dogs/b.mp4", "dogs/deep/c.mp4"]) {
      place("clip.mp4", "videos", ...name.split("/"));
    }
    writeFileSync(at("videos", "dogs", "notes.md"), "no video");
    place("clip.mp4", "videos", ".hidden", "x.mp4");
    const steps: number[][] = [];
    const result = await prepare({
      input: at("videos"),
      labels: "folder",
      onProgress: (...step) => steps.push(step),
    });
    expect(result).toMatchObject({ prepared: 3, skipped: 0, failed: [], clipped: 0 });
    expect(steps).toEqual([0, 1, 2, 3].map((done) => [done, 3, 0]));
    const output = dirname(result.manifest);
    expect(rowsOf(result.manifest)).toEqual([
      { id: "a", image: "frames/a.jpg", audio: "audio/a.wav", label: "cats" },
      { id: "b", image: "frames/b.jpg", audio: "audio/b.wav", label: "dogs" },
      { id: "c", image: "frames/c.jpg", audio: "audio/c.wav", label: "deep" },
    ]);
    expect(readdirSync(output).sort()).toEqual([
      "audio",
      "frames",
      "manifest.jsonl",
      "prepare.json",
      "prepared.jsonl",
    ]);
    const data = await readManifest({ path: result.manifest });
    const { image, audio, label } = await data.load(1);
    expect(label).toBe("dogs");
    expect(image).toMatchObject({ width: 64, height: 48 });
    expect(Math.round(((image.data[0] ?? 0) - 4) / 8), "number of the frame").toBe(10);
    expect(audio).toMatchObject({ sampleRate: 16_000, channels: 2 });
    expect(audio.samples.length / 2 / 16_000).toBeCloseTo(2, 1);
  });

  it("logs what cannot be read by code, goes on, and tries it again in the next run", async () => {
    place("clip.mp4", "mixed", "good.mp4");
    for (const kind of ["silent.mp4", "empty.mp4", "broken.mp4"] as const) place(kind, "mixed", kind);
    symlinkSync(at("nowhere.mp4"), at("mixed", "gone.mp4"));
    const output = at("mixed-out");
    const codes = { silent: "ERR_NO_AUDIO", empty: "ERR_FILE_EMPTY", broken: "ERR_MEDIA_DECODE" };
    const first = await prepareVideos({ input: at("mixed"), output });
    expect(first).toMatchObject({ prepared: 1, skipped: 0 });
    const failed = rowsOf(join(output, "failed.jsonl"));
    expect(Object.fromEntries(failed.map(({ id, code }) => [id, code]))).toEqual({
      ...codes,
      gone: "ERR_FILE_NOT_FOUND",
    });
    expect(failed).toEqual([...first.failed].sort((a, b) => (a.id < b.id ? -1 : 1)));
    expect(failed[0]).toMatchObject({ file: at("mixed", "broken.mp4") });
    expect(failed[0]?.message).toContain(at("mixed", "broken.mp4"));
    expect(idsIn(output)).toEqual(["good"]);

    place("clip.mp4", "mixed", "broken.mp4");
    const second = await prepareVideos({ input: at("mixed"), output });
    expect(second).toMatchObject({ prepared: 1, skipped: 1 });
    expect(second.failed.map(({ id }) => id).sort()).toEqual(["empty", "gone", "silent"]);
    expect(rowsOf(join(output, "failed.jsonl")).map(({ id }) => id)).toEqual(["empty", "gone", "silent"]);
    expect(idsIn(output)).toEqual(["broken", "good"]);

    // Failures of videos that are not given this time stay in the log; without any there is no log.
    await prepareVideos({ input: at("mixed", "good.mp4"), output });
    expect(rowsOf(join(output, "failed.jsonl")).length).toBe(3);
    rmSync(at("mixed", "gone.mp4"));
    for (const name of ["silent", "empty", "gone"]) place("clip.mp4", "mixed", `${name}.mp4`);
    expect(await prepareVideos({ input: at("mixed"), output })).toMatchObject({ prepared: 3, failed: [] });
    expect(existsSync(join(output, "failed.jsonl"))).toBe(false);
  });

  it("resamples as torchaudio, keeps two channels or averages them, and counts what it clips", async () => {
    const source = await decodeAudio(at("made", "clip.mp4"));
    const frames = source.samples.length / 2;
    const mean = source.samples.subarray(0, frames).map((left, i) => {
      return (left + (source.samples[frames + i] as number)) / 2;
    });
    const scaled = (x: number) => Math.round(x * 32768) || 0; // no minus before zero
    const rounded = (x: number) => Math.max(-32768, Math.min(32767, scaled(x))) / 32768;
    for (const mono of [false, true]) {
      const { manifest } = await prepare({ input: at("made", "clip.mp4"), mono });
      const written = await parseWav(readFileSync(join(dirname(manifest), "audio/clip.wav")));
      const audio = mono ? { ...source, samples: mean, channels: 1 } : source;
      expect(written.channels).toBe(mono ? 1 : 2);
      const { data } = await preprocess.resample(audio, 16_000);
      expect(written.samples).toEqual(data.map(rounded));
    }
    // At its own rate nothing changes but the rounding; the left side reaches 1.5.
    const { manifest, clipped } = await prepare({ input: at("made", "loud.mkv") });
    const loud = (await decodeAudio(at("made", "loud.mkv"))).samples;
    const over = loud.filter((x) => scaled(x) > 32767 || scaled(x) < -32768).length;
    expect(over).toBeGreaterThan(1000);
    expect(clipped).toBe(over);
    expect(rowsOf(join(dirname(manifest), "prepared.jsonl"))[0]).toMatchObject({ id: "loud", clipped: over });
    const kept = (await parseWav(readFileSync(join(dirname(manifest), "audio/loud.wav")))).samples;
    expect(kept).toEqual(loud.map(rounded));
  });

  it("mixes surround sound to both sides", async () => {
    const { manifest } = await prepare({ input: at("made", "surround.mkv") });
    const { samples, channels } = await parseWav(readFileSync(join(dirname(manifest), "audio/surround.wav")));
    expect(channels).toBe(2);
    const [left, right] = [samples.slice(0, samples.length / 2), samples.slice(samples.length / 2)];
    expect(left).toEqual(right);
    expect(Math.max(...left)).toBeCloseTo((0.5 * Math.SQRT1_2) / (1 + 4 * Math.SQRT1_2), 2);
  });

  it("takes another moment, rate, length and quality", async () => {
    const { manifest } = await prepare({
      input: at("made", "clip.mp4"),
      frameAt: 1.5,
      sampleRate: 8000,
      maxSeconds: 0.5,
      jpegQuality: 30,
    });
    const output = dirname(manifest);
    const image = await decodeImage(join(output, "frames/clip.jpg"));
    expect(Math.round(((image.data[0] ?? 0) - 4) / 8)).toBe(15);
    const header = readWavHeader(readFileSync(join(output, "audio/clip.wav")));
    expect(header).toMatchObject({ sampleRate: 8000, frames: 4000 });
  });

  it("reads lists, relative to themselves, takes each video once, and passes over its own output", async () => {
    place("clip.mp4", "listed", "one.mp4");
    place("clip.mp4", "listed", "two", "two.mp4");
    system("tar", "-cf", at("listed", "three.tar"), "-C", at("made"), "clip.mp4");
    writeFileSync(
      at("listed", "list.txt"),
      "one.mp4\r\n\ntwo\nthree.tar\n./one.mp4\nmissing.mp4\nlist.txt\n",
    );
    const output = at("listed", "out");
    const result = await prepareVideos({ input: [at("listed", "list.txt"), at("listed", "two")], output });
    expect(idsIn(output)).toEqual(["clip", "one", "two"]);
    expect(result.failed).toMatchObject([{ id: "missing", code: "ERR_FILE_NOT_FOUND" }]);
    // The shards of the first run are no input of the second.
    const shards = at("listed", "two");
    for (const skipped of [0, 1]) {
      expect(await prepareVideos({ input: shards, output: shards, shards: true })).toMatchObject({
        skipped,
        prepared: 1 - skipped,
      });
    }
  });

  it("labels from a CSV with names, without, and from VGG-Sound's own", async () => {
    place("clip.mp4", "csv", "abc_000012.mp4");
    const texts = {
      named: 'split,label,id\ntest,"barking, loud",abc_000012\ntest,,other\n',
      plain: "abc_000012.mp4,purring\n",
      own: "abc,12,people sneezing,test\n",
    };
    for (const [name, text] of Object.entries(texts)) {
      writeFileSync(at("csv", `${name}.csv`), text);
      const output = at("csv", "out");
      await prepareVideos({ input: at("csv"), output, labels: { csv: at("csv", `${name}.csv`) } });
      const label = { named: "barking, loud", plain: "purring", own: "people sneezing" }[name];
      expect(rowsOf(join(output, "manifest.jsonl"))).toMatchObject([{ id: "abc_000012", label }]);
    }
    // Without the option, what is known stays.
    await prepareVideos({ input: at("csv"), output: at("csv", "out") });
    expect(rowsOf(at("csv", "out", "manifest.jsonl"))).toMatchObject([{ label: "people sneezing" }]);
    for (const text of ["other,x\n", "abc_000012\n", ",x\n", '"']) {
      writeFileSync(at("csv", "wrong.csv"), text);
      await expect(
        prepare({ input: at("csv"), labels: { csv: at("csv", "wrong.csv") } }),
        text,
      ).rejects.toMatchObject({ code: "ERR_DATASET", message: expect.stringContaining("wrong.csv") });
    }
  });

  it.each([
    [{ workers: 0 }, "ERR_CONFIG", /workers/],
    [{ shardSize: 1.5 }, "ERR_CONFIG", /shardSize/],
    [{ jpegQuality: 101 }, "ERR_CONFIG", /jpegQuality/],
    [{ frameAt: -1 }, "ERR_CONFIG", /frameAt/],
    [{ sampleRate: 16_000.5 }, "ERR_CONFIG", /sampleRate/],
    [{ input: [] }, "ERR_CONFIG", /input/],
    [{ input: at("none") }, "ERR_FILE_NOT_FOUND", /none/],
    [{ input: dirname(folder), ffmpeg: at("no-ffmpeg") }, "ERR_FFMPEG_MISSING", /no-ffmpeg/],
    [{ signal: AbortSignal.abort() }, "ERR_ABORTED", /aborted/],
  ] as const)("rejects %o with %s before anything is written", async (options, code, message) => {
    const output = at("rejected");
    await expect(
      prepareVideos({ input: at("made"), output, ...options } as PrepareVideosOptions),
    ).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(existsSync(output)).toBe(false);
  });

  it("rejects folders without videos, too large videos, and other settings in a folder begun", async () => {
    mkdirSync(at("no-videos"));
    await expect(prepare({ input: at("no-videos") })).rejects.toMatchObject({ code: "ERR_INPUT" });
    const { failed } = await prepare({ input: at("made", "clip.mp4"), maxBytes: 1000 });
    expect(failed).toMatchObject([{ id: "clip", code: "ERR_INPUT" }]);

    const output = at("settled");
    await prepareVideos({ input: at("made", "clip.mp4"), output });
    for (const other of [{ mono: true }, { shards: true }, { sampleRate: 8000 }, { frameAt: 0 }]) {
      await expect(prepareVideos({ input: at("made"), output, ...other })).rejects.toMatchObject({
        code: "ERR_CONFIG",
        message: expect.stringContaining(other.shards ? "layout" : (Object.keys(other)[0] as string)),
      });
    }
    const own = at("own-manifest");
    mkdirSync(own);
    writeFileSync(join(own, "manifest.jsonl"), "mine");
    await expect(prepareVideos({ input: at("made"), output: own })).rejects.toMatchObject({
      code: "ERR_CONFIG",
    });
    expect(readFileSync(join(own, "manifest.jsonl"), "utf8")).toBe("mine");
  });
});

describe("a second run", () => {
  it("makes again what is gone or torn, and leaves alone what is there", async () => {
    for (const name of ["a", "b", "c", "d"]) place("clip.mp4", "again", `${name}.mp4`);
    const output = at("again-out");
    await prepareVideos({ input: at("again"), output });
    const file = (name: string) => join(output, name);
    const whole = Object.fromEntries(["frames/b.jpg", "audio/c.wav"].map((n) => [n, readFileSync(file(n))]));
    rmSync(file("frames/a.jpg"));
    truncateSync(file("frames/b.jpg"), 500);
    truncateSync(file("audio/c.wav"), 5000);
    // What a killed run leaves: a torn line, a torn file under its temporary name.
    const index = readFileSync(file("prepared.jsonl"), "utf8");
    writeFileSync(file("prepared.jsonl"), index.slice(0, -20));
    mkdirSync(file(".partial"));
    writeFileSync(file(".partial/x"), "torn");
    expect(await prepareVideos({ input: at("again"), output })).toMatchObject({ prepared: 3, skipped: 1 });
    for (const [name, bytes] of Object.entries(whole))
      expect(readFileSync(file(name)).equals(bytes)).toBe(true);
    expect(readFileSync(file("prepared.jsonl"), "utf8")).toBe(index);
    expect(existsSync(file(".partial"))).toBe(false);
    expect(idsIn(output)).toEqual(["a", "b", "c", "d"]);
  });

  it("keeps the ids and labels of earlier runs when other videos come and folders move", async () => {
    place("clip.mp4", "growing", "one", "x.mp4");
    const output = at("growing-out");
    await prepareVideos({ input: at("growing", "one"), output, labels: "folder" });
    expect(idsIn(output)).toEqual(["x"]);
    place("loud.mkv", "growing", "two", "x.mkv");
    expect(await prepareVideos({ input: at("growing", "two"), output })).toMatchObject({ prepared: 1 });
    expect(idsIn(output)).toEqual(["two_x", "x"]);
    place("clip.mp4", "moved", "all", "x.mp4");
    place("loud.mkv", "moved", "all", "x.mkv");
    expect(await prepareVideos({ input: at("moved"), output })).toMatchObject({ prepared: 0, skipped: 2 });
    expect(rowsOf(join(output, "manifest.jsonl"))).toMatchObject([
      { id: "two_x" },
      { id: "x", label: "one" },
    ]);
  });

  it("takes over pairs that another program made", async () => {
    const output = at("foreign-out");
    await prepareVideos({ input: at("made", "clip.mp4"), output });
    for (const name of ["prepared.jsonl", "prepare.json", "manifest.jsonl"]) rmSync(join(output, name));
    expect(await prepareVideos({ input: at("made", "clip.mp4"), output })).toMatchObject({ skipped: 1 });
    expect(idsIn(output)).toEqual(["clip"]);
  });
});

describe("ids", () => {
  const video = (path: string, bytes = 1): NamedVideo => {
    const folders = path.split("/");
    const file = folders.pop() as string;
    return { folders, file, source: path, bytes };
  };
  const ids = (...paths: string[]) =>
    assignIds(
      paths.map((path) => video(path)),
      [],
      { dots: true },
    );

  it("are the names of the files, with as many folders as tell clashing ones apart", () => {
    expect(ids("v/a/x.mp4", "v/b/y.mp4")).toEqual(["x", "y"]);
    expect(ids("v/a/x.mp4", "v/b/x.mp4", "v/b/z.mp4")).toEqual(["a_x", "b_x", "z"]);
    expect(ids("v/a/c/x.mp4", "v/b/c/x.mp4")).toEqual(["a_c_x", "b_c_x"]);
    expect(ids("v/x.mp4", "v/x.webm", "w/x.mp4")).toEqual(["v_x-mp4", "v_x-webm", "w_x-mp4"]);
    // Some file systems take no notice of case.
    expect(ids("v/a/X.mp4", "v/b/x.mp4")).toEqual(["a_X", "b_x"]);
    expect(ids("v/x.mp4", "v/X.mp4")).toEqual(["v_x-mp4-2", "v_X-mp4"]);
    // A plain name that looks like a prefixed one.
    expect(ids("v/a/x.mp4", "v/b/x.mp4", "v/a_x.mp4")).toEqual(["v_a_x", "v_b_x", "a_x"]);
  });

  it("do not depend on the order of the inputs", () => {
    const paths = ["v/a/x.mp4", "v/b/x.mp4", "v/x.mp4", "v/x.webm", "v/a_x.mp4", "w/X.mp4", "v/c/y.mp4"];
    const sorted = (list: readonly string[]) =>
      Object.fromEntries(ids(...list).map((id, i) => [list[i], id]));
    expect(sorted([...paths].reverse())).toEqual(sorted(paths));
    expect(new Set(ids(...paths)).size).toBe(paths.length);
  });

  it("are safe names of files on every system", () => {
    expect(safeName("..", true)).toBe("__");
    expect(safeName("../../etc/passwd", true)).toBe("___.._etc_passwd");
    expect(safeName('a:b*c?"<>|\\d\u0000\n', true)).toBe("a_b_c______d__");
    expect(safeName("con", true)).toBe("_con");
    expect(safeName("", true)).toBe("_");
    expect(safeName("-rTTPoBJNI4_000123", true)).toBe("-rTTPoBJNI4_000123");
    expect(safeName("a.b", true)).toBe("a.b");
    expect(safeName("a.b", false)).toBe("a_b");
    expect(safeName("e\u0301", true)).toBe("é");
    expect(Buffer.byteLength(safeName("é".repeat(300), true))).toBe(180);
  });
});

describe("tar", () => {
  const names = ["plain.txt", `${"long/".repeat(30)}name.txt`, "ünï/cödé 🎺.txt", "empty.txt", "d/block.txt"];
  const contentOf = (name: string) =>
    Buffer.alloc(name === "empty.txt" ? 0 : name === "d/block.txt" ? 1024 : 700 + name.length, name);
  const read = async (path: string) => {
    const files = new Map<string, string>();
    for await (const { name, type, size, content } of readTar(path)) {
      const pieces: Uint8Array[] = [];
      for await (const piece of content) pieces.push(piece);
      const all = Buffer.concat(pieces);
      expect(all.length).toBe(size);
      if (type !== "directory") files.set(name.replace(/^\.\//, ""), `${type} ${all.toString("hex")}`);
    }
    return files;
  };
  const expected = new Map(names.map((name) => [name, `file ${contentOf(name).toString("hex")}`]));

  beforeAll(() => {
    for (const name of names) {
      mkdirSync(dirname(at("tree", name)), { recursive: true });
      writeFileSync(at("tree", name), contentOf(name));
    }
  });

  it.each(gnuTar ? ["gnu", "pax", "ustar", "oldgnu", "v7"] : ["pax", "ustar"])(
    "reads what tar writes as %s, plain and gzipped",
    async (format) => {
      // v7 has no space for long names.
      const kept = format === "v7" ? names.filter((name) => name.length < 90) : names;
      const wanted = new Map([...expected].filter(([name]) => kept.includes(name)));
      const archive = at(`${format}.tar`);
      system("tar", "-cf", archive, `--format=${format}`, "-C", at("tree"), ...kept);
      const found = await read(archive);
      expect(new Map([...found].sort())).toEqual(new Map([...wanted].sort()));
      writeFileSync(at(`${format}.tgz`), gzipSync(readFileSync(archive)));
      expect(await read(at(`${format}.tgz`))).toEqual(found);
    },
  );

  it("writes what tar reads, and reads it back", async () => {
    const parts = names.map((name) => tarEntry(name, contentOf(name), new Date(1.7e12)));
    writeFileSync(at("own.tar"), Buffer.concat([...parts, tarEnd]));
    expect(await read(at("own.tar"))).toEqual(expected);
    mkdirSync(at("unpacked"));
    system("tar", "-xf", at("own.tar"), "-C", at("unpacked"));
    for (const name of names)
      expect(readFileSync(at("unpacked", name)).equals(contentOf(name)), name).toBe(true);
    for (const length of [99, 100, 101, 900]) {
      const name = "n".repeat(length);
      writeFileSync(at("name.tar"), Buffer.concat([tarEntry(name, Buffer.from("x")), tarEnd]));
      expect(system("tar", "-tf", at("name.tar"))).toBe(`${name}\n`);
      expect([...(await read(at("name.tar"))).keys()]).toEqual([name]);
    }
  });

  it.runIf(gnuTar)("knows links, sparse files and sizes in binary for what they are", async () => {
    mkdirSync(at("special"));
    writeFileSync(at("special", "a"), "a");
    symlinkSync("a", at("special", "link"));
    execFileSync("truncate", ["-s", "200M", at("special", "holes")]);
    for (const format of ["gnu", "pax"]) {
      system(
        "tar",
        "-cSf",
        at("special.tar"),
        `--format=${format}`,
        "-C",
        at("special"),
        "a",
        "holes",
        "link",
      );
      const types: Record<string, string> = {};
      for await (const { name, type } of readTar(at("special.tar"))) types[name] = type;
      expect(types, format).toEqual({ a: "file", holes: "sparse", link: "link" });
    }
    const binary = Buffer.from(tarEntry("a", Buffer.from("abc")));
    binary.set([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], 124);
    sumAnew(binary);
    writeFileSync(at("binary.tar"), binary); // without an end, as some writers leave it
    expect(await read(at("binary.tar"))).toEqual(new Map([["a", "file 616263"]]));
  });

  it("passes over contents that nobody asks for", async () => {
    const found: string[] = [];
    for await (const { name } of readTar(at("own.tar"))) found.push(name);
    expect(found).toEqual(names);
    for await (const { content } of readTar(at("own.tar"))) {
      for await (const _ of content) break;
    }
  });

  it("rejects what is cut off, damaged or no archive, and says where", async () => {
    const bytes = readFileSync(at("own.tar"));
    const damage: [string, Buffer, RegExp][] = [
      ["cut in a content", bytes.subarray(0, 700), /ends within plain\.txt/],
      ["cut in a header", bytes.subarray(0, 512 * 3 + 100), /within the header at byte 1536/],
      ["a changed header", Buffer.from(bytes).fill(7, 512 * 3 + 10, 512 * 3 + 20), /no header at byte 1536/],
      ["zeros in between", Buffer.concat([Buffer.alloc(512), bytes]), /zeros at byte 0/],
      ["text", Buffer.from("no archive ".repeat(100)), /is not a tar archive/],
      ["gzip cut off", gzipSync(bytes).subarray(0, -20), /cannot be read on/],
      ["gzip of text", gzipSync("no archive ".repeat(100)), /is not a tar archive/],
    ];
    for (const [name, content, message] of damage) {
      writeFileSync(at("damaged.tar"), content);
      await expect(read(at("damaged.tar")), name).rejects.toMatchObject({
        code: "ERR_MEDIA_DECODE",
        message: expect.stringMatching(message),
      });
    }
    await expect(read(at("absent.tar"))).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
  });
});

describe("archives of videos", () => {
  it("give the same samples as the folder", async () => {
    for (const name of ["cats/a.mp4", "dogs/b.mp4"]) place("clip.mp4", "packed", ...name.split("/"));
    place("silent.mp4", "packed", "dogs", "mute.mp4");
    writeFileSync(at("packed", "dogs", "b.json"), "{}");
    const plain = await prepare({ input: at("packed"), labels: "folder" });
    for (const [name, flags] of [
      ["packed.tar", "-cf"],
      ["packed.tar.gz", "-czf"],
    ] as const) {
      system("tar", flags, at(name), "-C", folder, "packed");
      const packed = await prepare({ input: at(name), labels: "folder", workers: 1 });
      expect(packed).toMatchObject({ prepared: 2, skipped: 0 });
      expect(packed.failed).toMatchObject([
        { id: "mute", file: `${at(name)}#packed/dogs/mute.mp4`, code: "ERR_NO_AUDIO" },
      ]);
      expect(packed.failed[0]?.message).toContain(`${at(name)}#packed/dogs/mute.mp4 has no audio`);
      expect(readFileSync(packed.manifest)).toEqual(readFileSync(plain.manifest));
      for (const file of ["frames/a.jpg", "audio/b.wav"]) {
        const [one, other] = [plain, packed].map(({ manifest }) =>
          readFileSync(join(dirname(manifest), file)),
        );
        expect(one?.equals(other as Buffer), file).toBe(true);
      }
      expect(existsSync(join(dirname(packed.manifest), ".partial"))).toBe(false);
      const again = { input: at(name), output: dirname(packed.manifest) };
      expect(await prepareVideos(again)).toMatchObject({ prepared: 0, skipped: 2 });
    }
  });

  it("never lead out of the output folder", async () => {
    const clip = readFileSync(at("made", "clip.mp4"));
    const hostile = [
      "../../up.mp4",
      "/abs.mp4",
      "a/../../b.mp4",
      "..\\..\\win.mp4",
      "C:\\c.mp4",
      "d/.. .mp4",
    ];
    mkdirSync(at("jail"));
    const archive = [...hostile.map((name) => tarEntry(name, clip)), tarEnd];
    writeFileSync(at("jail", "hostile.tar"), Buffer.concat(archive));
    const output = at("jail", "out");
    const { prepared, failed } = await prepareVideos({ input: at("jail", "hostile.tar"), output });
    expect([prepared, failed]).toEqual([5, []]); // the last is hidden
    expect(idsIn(output)).toEqual(["abs", "b", "c", "up", "win"]);
    expect(readdirSync(join(output, "frames")).sort()).toEqual(idsIn(output).map((id) => `${id}.jpg`));
    expect(readdirSync(at("jail")).sort()).toEqual(["hostile.tar", "out"]);
    expect(existsSync(at("up.mp4")) || existsSync("/abs.mp4")).toBe(false);
  });

  it("give what is whole when they are cut off or hold links", async () => {
    const clip = readFileSync(at("made", "clip.mp4"));
    const link = Buffer.from(tarEntry("link.mp4", Buffer.alloc(0)));
    link.write("2", 156);
    sumAnew(link);
    const bytes = Buffer.concat([link, tarEntry("a.mp4", clip), tarEntry("b.mp4", clip).subarray(0, 2000)]);
    mkdirSync(at("cut"));
    writeFileSync(at("cut", "cut.tar"), bytes);
    writeFileSync(at("cut", "cutz.tar.gz"), gzipSync(bytes));
    writeFileSync(at("cut", "junk.tar"), "junk");
    const { prepared, failed } = await prepare({ input: at("cut") });
    expect(prepared).toBe(2);
    const reasons = Object.fromEntries(
      failed.map(({ file, message }) => [file.replace(at("cut"), ""), message]),
    );
    expect(reasons).toEqual({
      "/cut.tar": expect.stringMatching(/ends within b\.mp4/),
      "/cut.tar#link.mp4": expect.stringMatching(/link/),
      "/cutz.tar.gz": expect.stringMatching(/ends within b\.mp4/),
      "/cutz.tar.gz#link.mp4": expect.stringMatching(/link/),
      "/cutz.tar.gz#b.mp4": expect.stringMatching(/ends within b\.mp4/),
      "/junk.tar": expect.stringMatching(/is not a tar archive/),
    });
  });
});

describe("shards", () => {
  const input = () => at("to-shard");
  beforeAll(() => {
    for (const name of ["a", "b", "c.d", "e", "f"]) place("clip.mp4", "to-shard", `${name}.mp4`);
    place("silent.mp4", "to-shard", "mute.mp4");
  });

  it("hold whole samples that tar unpacks, in the order of WebDataset", async () => {
    const options = { input: input(), shards: true, shardSize: 2, labels: "folder", workers: 3 } as const;
    const { manifest, prepared, failed } = await prepare(options);
    expect([prepared, failed.length]).toEqual([5, 1]);
    const output = dirname(manifest);
    const shards = readdirSync(output).filter((name) => name.endsWith(".tar"));
    expect(shards.sort()).toEqual(["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]);
    for (const shard of shards) {
      const entries = system("tar", "-tf", join(output, shard)).trimEnd().split("\n");
      expect(entries.length).toBe(shard.includes("2") ? 3 : 6);
      for (let i = 0; i < entries.length; i += 3) {
        const id = entries[i]?.slice(0, -4) as string;
        expect(id).not.toContain("."); // what follows the first dot is the ending
        expect(entries.slice(i, i + 3)).toEqual([`${id}.jpg`, `${id}.wav`, `${id}.json`]);
      }
      system("tar", "-xf", join(output, shard), "-C", output);
    }
    const rows = rowsOf(manifest);
    expect(rows.map(({ id }) => id)).toEqual(["a", "b", "c_d", "e", "f"]);
    expect(rows[2]).toEqual({
      id: "c_d",
      image: "c_d.jpg",
      audio: "c_d.wav",
      label: "to-shard",
      shard: expect.stringMatching(/^shard-00000\d\.tar$/),
    });
    expect(JSON.parse(readFileSync(join(output, "c_d.json"), "utf8"))).toMatchObject({
      id: "c_d",
      source: "to-shard/c.d.mp4",
      label: "to-shard",
    });
    // Unpacked, the manifest reads them.
    const data = await readManifest({ path: manifest });
    expect((await data.load(2)).image).toMatchObject({ width: 64, height: 48 });
    // Packed, the dataset of shards does, by the index and by the archives themselves.
    const index = join(output, "shardindex.json");
    expect(JSON.parse(readFileSync(index, "utf8"))).toMatchObject({
      wids_version: 1,
      shardlist: [2, 2, 1].map((nsamples, i) => ({ url: shards[i], nsamples })),
    });
    const byIndex = await readShards({ index });
    const byArchives = await readShards({ urls: join(output, "shard-{000000..000002}.tar") });
    expect([byIndex.length, byArchives.length]).toEqual([5, 5]);
    const ids = new Set<string>();
    for (let i = 0; i < 5; i++) {
      const sample = await byIndex.load(i);
      const { id, image, audio, label } = await byArchives.load(i);
      expect(sample).toEqual({ id, image, audio, label });
      const name = id.slice("shard-000000/".length);
      expect(sample).toMatchObject({
        label: "to-shard",
        image: (await data.load(rowsOf(manifest).findIndex((row) => row.id === name))).image,
      });
      ids.add(name);
    }
    expect([...ids].sort()).toEqual(["a", "b", "c_d", "e", "f"]);
  });

  it("are read by Python's tarfile, in the groups of WebDataset", async () => {
    const { manifest } = await prepare({ input: input(), shards: true, shardSize: 4, workers: 1 });
    const program = `
import json, sys, tarfile
groups = []
with tarfile.open(sys.argv[1]) as archive:
    for member in archive:
        key, _, ending = member.name.partition(".")
        if not groups or groups[-1][0] != key:
            groups.append((key, {}))
        groups[-1][1][ending] = archive.extractfile(member).read()
print(json.dumps([[key, sorted(files), json.loads(files["json"])["id"], files["jpg"].hex()[:6], files["wav"][:4].decode()] for key, files in groups]))
`;
    const output = system("python3", "-c", program, join(dirname(manifest), "shard-000000.tar"));
    const groups = JSON.parse(output) as unknown[];
    expect(groups).toEqual(
      ["a", "b", "c_d", "e"].map((id) => [id, ["jpg", "json", "wav"], id, "ffd8ff", "RIFF"]),
    );
  });

  it("go on after the last whole one, whatever was listed of it", async () => {
    const output = at("shards-out");
    const options = { input: input(), output, shards: true, shardSize: 2, workers: 1 };
    await prepareVideos({ ...options, input: ["a", "b", "e"].map((name) => join(input(), `${name}.mp4`)) });
    const first = readFileSync(join(output, "shard-000000.tar"));
    const lines = readFileSync(join(output, "prepared.jsonl"), "utf8").split("\n");
    // Killed while the first shard was listed and while the second was written.
    writeFileSync(join(output, "prepared.jsonl"), `${lines[0]}\n${lines[1]?.slice(0, 9)}`);
    rmSync(join(output, "shard-000001.tar"));
    mkdirSync(join(output, ".partial"));
    writeFileSync(join(output, ".partial", "shard-000001.tar"), first.subarray(0, 2000));
    expect(await prepareVideos(options)).toMatchObject({ prepared: 3, skipped: 2 });
    expect(readFileSync(join(output, "shard-000000.tar")).equals(first)).toBe(true);
    const entries = readdirSync(output)
      .filter((name) => name.endsWith(".tar"))
      .flatMap((name) => system("tar", "-tf", join(output, name)).trimEnd().split("\n"));
    expect(entries.length).toBe(15);
    expect(new Set(entries).size).toBe(15);
    expect(await prepareVideos(options)).toMatchObject({ prepared: 0, skipped: 5 });
    // A shard that is gone is made again.
    rmSync(join(output, "shard-000000.tar"));
    expect(await prepareVideos(options)).toMatchObject({ prepared: 2, skipped: 3 });
    expect(idsIn(output)).toEqual(["a", "b", "c_d", "e", "f"]);
  });
});

describe("a run that is ended", () => {
  const count = 12;
  const input = () => at("many");
  const ids = Array.from({ length: count }, (_, i) => `v${String(i).padStart(2, "0")}`);
  beforeAll(() => {
    for (const id of ids) place("clip.mp4", "many", `${id}.mp4`);
  });

  /** What must hold at any moment: a file with its own name is whole, and the manifest lists only such. */
  const checkWhole = (output: string) => {
    for (const name of existsSync(join(output, "frames")) ? readdirSync(join(output, "frames")) : []) {
      const jpeg = readFileSync(join(output, "frames", name));
      expect([jpeg.readUInt16BE(0), jpeg.readUInt16BE(jpeg.length - 2)], name).toEqual([0xffd8, 0xffd9]);
    }
    for (const name of existsSync(join(output, "audio")) ? readdirSync(join(output, "audio")) : []) {
      const wav = readFileSync(join(output, "audio", name));
      expect(isWav(wav) && wav.readUInt32LE(4) + 8, name).toBe(wav.length);
    }
    for (const name of readdirSync(output).filter((each) => each.endsWith(".tar"))) {
      expect(system("tar", "-tf", join(output, name)).trimEnd().split("\n").length % 3).toBe(0);
    }
    if (!existsSync(join(output, "manifest.jsonl"))) return;
    for (const { image = "", audio = "", shard } of rowsOf(join(output, "manifest.jsonl"))) {
      for (const file of shard ? [shard] : [image, audio]) expect(existsSync(join(output, file))).toBe(true);
    }
  };

  it.each([false, true])(
    "by its signal keeps what is done, and the next goes on (shards: %s)",
    async (shards) => {
      const output = at(`aborted-${shards}`);
      const controller = new AbortController();
      const options = { input: input(), output, workers: 2, shards, shardSize: 5 };
      const reason = new Error("enough");
      await expect(
        prepareVideos({
          ...options,
          signal: controller.signal,
          onProgress: (done) => done === 3 && controller.abort(reason),
        }),
      ).rejects.toMatchObject({ code: "ERR_ABORTED", cause: reason });
      checkWhole(output);
      const done = idsIn(output);
      expect(done.length).toBeGreaterThanOrEqual(3);
      expect(done.length).toBeLessThan(count);
      expect(readdirSync(output)).not.toContain(".partial");
      expect(readdirSync(output)).not.toContain("prepare.lock");
      const { prepared, skipped, failed } = await prepareVideos(options);
      expect([prepared, skipped, failed]).toEqual([count - done.length, done.length, []]);
      expect(idsIn(output)).toEqual(ids);
    },
  );

  it.skipIf(process.platform === "win32").each([false, true])(
    "by kill -9 at any moment leaves nothing torn, and the next goes on (shards: %s)",
    async (shards) => {
      const output = at(`killed-${shards}`);
      const args = ["prepare", input(), "--output", output, "--workers", "2", "--json"];
      if (shards) args.push("--shards", "--shard-size", "3");
      let kills = 0;
      let state = 20_251;
      for (let round = 0; round < 8; round++) {
        state = (state * 48_271) % 2_147_483_647;
        const pause = (state / 2_147_483_647) * 300; // ms
        const { code } = await soundspot(args, (child) => {
          void (async () => {
            const running = () => child.exitCode === null;
            const has = (file: string) => existsSync(join(output, file));
            const holdsLock = () =>
              has("prepare.lock") &&
              readFileSync(join(output, "prepare.lock"), "utf8").includes(`"pid":${child.pid},`);
            while (running() && !holdsLock()) await sleep(1);
            // Some time after its start, or as soon as there is a file that is not whole.
            if (round % 2) await sleep(pause);
            else
              while (running() && !(has(".partial") && readdirSync(join(output, ".partial"))[0]))
                await sleep(0);
            if (running() && child.kill("SIGKILL")) kills++;
          })();
        });
        checkWhole(output);
        if (code === 0) break;
      }
      expect(kills, "killed runs").toBeGreaterThan(1);
      const { code, output: said, errors } = await soundspot(args);
      expect(code, errors).toBe(0);
      const { prepared, skipped, failed } = JSON.parse(said) as Record<string, unknown>;
      expect([Number(prepared) + Number(skipped), failed]).toEqual([count, []]);
      checkWhole(output);
      expect(idsIn(output)).toEqual(ids);
      const extra = shards
        ? readdirSync(output).filter((name) => name.endsWith(".tar"))
        : ["audio", "frames"];
      expect(readdirSync(output).sort()).toEqual(
        [
          ...extra,
          ...(shards ? ["shardindex.json"] : []),
          "manifest.jsonl",
          "prepare.json",
          "prepared.jsonl",
        ].sort(),
      );
      if (shards) {
        const entries = extra.flatMap((name) =>
          system("tar", "-tf", join(output, name)).trimEnd().split("\n"),
        );
        expect(entries.length).toBe(3 * count);
      }
    },
  );

  it.skipIf(process.platform === "win32")("by SIGTERM ends with 1 after writing the manifest", async () => {
    const output = at("terminated");
    const args = ["prepare", input(), "--output", output, "--workers", "1"];
    const first = await soundspot(args, (child) => {
      void (async () => {
        const frames = join(output, "frames");
        while (!existsSync(frames) || readdirSync(frames).length < 2) await sleep(2);
        child.kill("SIGTERM");
      })();
    });
    expect(first).toMatchObject({
      code: 1,
      errors: expect.stringMatching(/Stopped by SIGTERM.*ERR_ABORTED/),
    });
    checkWhole(output);
    const done = idsIn(output).length;
    expect(done).toBeGreaterThan(0);
    expect((await soundspot(args)).output).toContain(
      `${count - done} prepared, ${done} already done, 0 failed`,
    );
  });
});

describe("the lock", () => {
  it("keeps a second run off a folder while the first is at work, and is given back", async () => {
    place("clip.mp4", "locked", "a.mp4");
    const options = { input: at("locked"), output: at("locked-out") };
    const busy = { code: "ERR_BUSY", message: expect.stringMatching(/prepare\.lock is held/) };
    let second: Promise<unknown> | undefined;
    await prepareVideos({
      ...options,
      onProgress: () => {
        second ??= expect(prepareVideos(options)).rejects.toMatchObject(busy);
      },
    });
    await second;
    expect(await prepareVideos(options)).toMatchObject({ skipped: 1 });

    const unlock = await lockFolder(options.output);
    const { code, errors } = await soundspot(["prepare", options.input, "--output", options.output]);
    expect(code).toBe(1);
    expect(errors).toContain(`process ${process.pid} on ${hostname()}`);
    await unlock();
    expect((await soundspot(["prepare", options.input, "--output", options.output])).code).toBe(0);
  });

  it("is taken over from a process that has ended, by one of many", async () => {
    const output = at("stale");
    mkdirSync(output);
    const path = join(output, "prepare.lock");
    const child = spawn(process.execPath, ["-e", ""]);
    await new Promise((resolve) => child.on("close", resolve));
    // Killed while it held it; another while it took it over; a third before that.
    for (const [name, id] of [
      ["", "x"],
      [".x", "y"],
      [".temporary", "z"],
    ] as const) {
      writeFileSync(`${path}${name}`, JSON.stringify({ id, pid: child.pid, host: hostname() }));
    }
    writeFileSync(`${path}.empty`, "");
    utimesSync(`${path}.empty`, 0, 0);
    const takers = await Promise.allSettled(Array.from({ length: 5 }, () => lockFolder(output)));
    const taken = takers.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    expect(taken.length).toBe(1);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ pid: process.pid });
    await taken[0]?.();
    expect(readdirSync(output)).toEqual([]);
  });

  it("is taken over by one of several processes", async () => {
    const output = at("contested");
    mkdirSync(output);
    const child = spawn(process.execPath, ["-e", ""]);
    await new Promise((resolve) => child.on("close", resolve));
    writeFileSync(
      join(output, "prepare.lock"),
      JSON.stringify({ id: "x", pid: child.pid, host: hostname() }),
    );
    const module = JSON.stringify(pathToFileURL(join(src, "files/folder-lock.js")).href);
    const program = `
      const { lockFolder } = await import(${module});
      const unlock = await lockFolder(${JSON.stringify(output)}).catch(({ code }) => void console.log(code));
      if (unlock) console.log("taken");
      process.stdin.on("end", () => unlock?.()).resume();`;
    const answers = Array.from({ length: 4 }, () => {
      const taker = spawn(process.execPath, ["--input-type=module", "-e", program], {
        stdio: ["pipe", "pipe", 2],
      });
      children.add(taker);
      return new Promise<string>((resolve) =>
        taker.stdout?.setEncoding("utf8").once("data", (text: string) => resolve(text.trim())),
      );
    });
    expect((await Promise.all(answers)).sort()).toEqual([...Array(3).fill("ERR_BUSY"), "taken"]);
  });

  it("stays with what may still be at work, and says what to do", async () => {
    const output = at("elsewhere");
    mkdirSync(output);
    for (const content of [JSON.stringify({ id: "x", pid: 1, host: "another-host" }), "not a lock"]) {
      writeFileSync(join(output, "prepare.lock"), content);
      await expect(lockFolder(output)).rejects.toMatchObject({
        code: "ERR_BUSY",
        message: expect.stringMatching(/delete the file/),
      });
    }
  });

  it.runIf(process.platform === "linux")("knows a later process with the same number", async () => {
    const output = at("recycled");
    mkdirSync(output);
    const owner = { id: "x", pid: process.ppid, host: hostname(), started: "another boot 1" };
    writeFileSync(join(output, "prepare.lock"), JSON.stringify(owner));
    await (await lockFolder(output))();
    expect(readdirSync(output)).toEqual([]);
  });
});

describe("soundspot prepare", () => {
  it("prints counts and failures, and ends with 0, 1 or 2", async () => {
    place("clip.mp4", "shell", "cats", "good.mp4");
    place("silent.mp4", "shell", "cats", "mute.mp4");
    const args = ["prepare", at("shell"), "--output", at("shell-out"), "--label-by-folder"];
    const first = await soundspot(args);
    expect(first).toMatchObject({ code: 0, errors: "" });
    expect(first.output).toMatch(/^1 prepared, 0 already done, 1 failed\n.*mute\.mp4 has no audio/);
    expect(first.output).toContain(join(at("shell-out"), "failed.jsonl"));
    expect(rowsOf(at("shell-out", "manifest.jsonl"))).toMatchObject([{ id: "good", label: "cats" }]);

    const strict = await soundspot([...args, "--strict", "--json"]);
    expect(strict.code).toBe(1);
    expect(JSON.parse(strict.output)).toMatchObject({
      prepared: 0,
      skipped: 1,
      failed: [{ id: "mute", code: "ERR_NO_AUDIO" }],
    });

    const none = at("shell", "cats", "mute.mp4");
    expect((await soundspot(["prepare", none, "--output", at("shell-none")])).code).toBe(1);
    const wrong = [
      ["prepare", at("shell")],
      ["prepare", "--output", at("x")],
      [...args, "--workers", "many"],
      [...args, "--workers", "0"],
      [...args, "--mono"], // other settings than the folder's
      [...args, "--labels", "labels.csv"],
    ];
    for (const each of wrong) expect((await soundspot(each)).code, each.join(" ")).toBe(2);
    expect((await soundspot(["prepare", at("none"), "--output", at("x")])).code).toBe(1);
  });
});
