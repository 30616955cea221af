/** Files under hard conditions: full disks, folders that may not be written, files that change, odd names, a wrong clock. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { encodeImage } from "../../../src/drawing/encode.js";
import { writeFiles, writeOutput } from "../../../src/files/atomic-writes.js";
import { lockFolder } from "../../../src/files/folder-lock.js";
import {
  datasets,
  Model,
  prepareVideos,
  renderVideo,
  SearchIndex,
  type SoundspotError,
  type StepEvent,
  serve,
  type TrainRunOptions,
  train,
} from "../../../src/index.js";
import { decodeAudio } from "../../../src/media/audio.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";
import { bar, bars } from "../../support/scored.js";
import { writeShards } from "../../support/shards.js";
import { tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-files-"));
const mounted: string[] = [];
let folders = 0;
const newFolder = () => {
  const path = join(root, String(folders++));
  mkdirSync(path);
  return path;
};

const mounts = (...args: string[]) => spawnSync("mount", args).status === 0;
/** Whether this process may mount, which root may on most systems and in some containers. */
const canMount = (() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  const probe = newFolder();
  return mounts("-t", "tmpfs", "-o", "size=64k", "tmpfs", probe) && spawnSync("umount", [probe]).status === 0;
})();
if (!canMount) {
  console.warn(
    "test/integration/files/files.test.ts leaves out full disks and read-only folders: they take root on Linux.",
  );
}

/** A disk of its own, so many KiB large. */
function disk(kibibytes: number): string {
  const path = newFolder();
  expect(mounts("-t", "tmpfs", "-o", `size=${kibibytes}k`, "tmpfs", path)).toBe(true);
  mounted.push(path);
  return path;
}

/** Fills a disk but for so many KiB; gives what empties it again. */
function fill(path: string, left = 0): () => void {
  const filler = join(path, "filler");
  const file = openSync(filler, "w");
  const page = Buffer.alloc(4096);
  try {
    for (;;) writeSync(file, page);
  } catch (error) {
    expect(error).toMatchObject({ code: "ENOSPC" });
  } finally {
    closeSync(file);
  }
  truncateSync(filler, Math.max(0, statSync(filler).size - left * 1024));
  return () => rmSync(filler, { force: true });
}

const setReadOnly = (path: string, on: boolean) =>
  expect(mounts("-o", `remount,${on ? "ro" : "rw"}`, path)).toBe(true);

const clip = join(root, "clip.mp4");
let model: Model;
beforeAll(async () => {
  model = await Model.create(tiny, { seed: 1 });
  const { path } = await findFfmpeg();
  const frames = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10"];
  const tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000"];
  execFileSync(path, ["-nostdin", "-v", "error", ...frames, ...tone, "-t", "2", clip]);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});
afterAll(() => {
  model.dispose();
  for (const path of mounted) spawnSync("umount", ["-l", path]);
  rmSync(root, { recursive: true, force: true });
});

async function failureOf(work: Promise<unknown>): Promise<SoundspotError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, "it was expected to fail").toMatchObject({ name: "SoundspotError" });
  return error as SoundspotError;
}

/** It fails as a file that cannot be written does: with its name, the reason and what to do. */
async function expectUnwritten(work: Promise<unknown>, place: string, reason: RegExp): Promise<void> {
  const { code, message } = await failureOf(work);
  expect(code, message).toBe("ERR_FILE_WRITE");
  expect(message).toContain(place);
  expect(message).toMatch(reason);
  expect(message).toMatch(/free space|Give (the path of a file|another)/);
}

/** Names in a folder, but for the filler. */
const namesIn = (path: string) =>
  readdirSync(path)
    .filter((name) => name !== "filler")
    .sort();

const recipe = {
  model: tiny,
  epochs: 2,
  batchSize: 4,
  learningRate: 2e-3,
  falseNegatives: { k: 1 },
  seed: 3,
};
const run = (options: Partial<TrainRunOptions>) =>
  train({ ...recipe, data: bars(14), checkpointSteps: 1, ...options }).then((result) =>
    result.model.dispose(),
  );

const finished = ["best.safetensors", "last.safetensors", "metrics.jsonl"];
const contentsOf = (folder: string) => finished.map((name) => readFileSync(join(folder, name), "latin1"));

const full = /no space left on device/i;

describe.skipIf(!canMount)("a full disk", () => {
  it("keeps the model that was there", async () => {
    const place = disk(1024);
    const path = join(place, "model.safetensors");
    await model.save(path);
    const before = readFileSync(path);
    for (const left of [0, 8]) {
      const empty = fill(place, left);
      await expectUnwritten(model.save(path), path, full);
      await expectUnwritten(model.save(join(place, "another.safetensors")), "another.safetensors", full);
      expect(namesIn(place)).toEqual(["model.safetensors"]);
      empty();
    }
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it("ends a training run that goes on when there is space again, bit for bit", async () => {
    const whole = newFolder();
    await run({ output: whole });
    for (const left of [0, 4, 64]) {
      const output = disk(4096);
      let empty = () => {};
      const onStep = ({ step }: StepEvent) => {
        if (step === 3) empty = fill(output, left);
      };
      await expectUnwritten(run({ output, onStep }), output, full);
      expect(namesIn(output).filter((name) => !finished.includes(name))).toEqual([]);
      (await Model.load(join(output, "last.safetensors"))).dispose();
      empty();
      await run({ output, resume: true });
      expect(namesIn(output)).toEqual(finished);
      expect(contentsOf(output)).toEqual(contentsOf(whole));
    }
  });

  it("keeps no lock of a run that could not begin", async () => {
    const output = disk(64);
    fill(output);
    await expectUnwritten(run({ output }), output, full);
    expect(namesIn(output)).toEqual([]);
  });

  it("keeps the reports that were there", async () => {
    const place = disk(256);
    const report = "x".repeat(50_000);
    await writeFiles(place, { "report.html": report, "scores.json": "{}" });
    fill(place);
    const other = { "report.html": report.replaceAll("x", "y"), "scores.json": "[]" };
    await expectUnwritten(writeFiles(place, other), "report.html", full);
    expect(namesIn(place)).toEqual(["report.html", "scores.json"]);
    expect(readFileSync(join(place, "report.html"), "utf8")).toBe(report);
  });

  it.each([false, true])("ends a preparation that the next run completes (shards: %s)", async (shards) => {
    const input = newFolder();
    for (let i = 0; i < 6; i++) writeFileSync(join(input, `${i}.mp4`), readFileSync(clip));
    const output = disk(2048);
    const empty = fill(output, 160);
    const options = { input, output, shards, shardSize: 2, workers: 2 };
    await expectUnwritten(prepareVideos(options), output, full);
    expect(namesIn(output)).not.toContain(".partial");
    expect(namesIn(output).filter((name) => name.endsWith(".lock"))).toEqual([]);
    empty();
    const { manifest, failed } = await prepareVideos(options);
    expect(failed).toEqual([]);
    const data = shards
      ? await datasets.shards({ index: join(output, "shardindex.json") })
      : await datasets.manifest({ path: manifest });
    expect(data.length).toBe(6);
    for (let i = 0; i < data.length; i++) await data.load(i);
  });

  it("leaves neither half an overlay nor half a track", async () => {
    const place = disk(512);
    const [output, track] = [join(place, "where.mp4"), join(place, "where.jsonl")];
    writeFileSync(output, "before");
    writeFileSync(track, "before");
    for (const left of [0, 8]) {
      const empty = fill(place, left);
      await expectUnwritten(renderVideo(model, clip, { output }), output, full);
      if (left === 0) await expectUnwritten(renderVideo(model, clip, { track }), track, full);
      expect(namesIn(place)).toEqual(["where.jsonl", "where.mp4"]);
      empty();
    }
    for (const path of [output, track]) expect(readFileSync(path, "utf8")).toBe("before");
  });

  it("leaves an index that can be searched and brought up to date", async () => {
    const place = disk(2048);
    const [folder, index] = [newFolder(), join(place, "index")];
    const put = async (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        writeFileSync(join(folder, `${i}.png`), await encodeImage(bar(i).image, { format: "png" }));
        writeFileSync(join(folder, `${i}.wav`), encodeWav(bar(i).audio));
      }
    };
    await put(0, 4);
    const opened = await SearchIndex.create(index, { model });
    await opened.update({ model, folder });
    await put(4, 12);
    const empty = fill(place);
    await expectUnwritten(opened.update({ model, folder }), index, /space/i);
    expect(await opened.search({ model, audio: bar(1).audio, k: 100 })).toHaveLength(4);
    empty();
    await opened.update({ model, folder });
    expect(await opened.search({ model, audio: bar(1).audio, k: 100 })).toHaveLength(12);
    expect(namesIn(index)).toEqual(["index.json", "tables"]);
    opened.close();
  });

  it("fails uploads and encoded audio until there is space", async () => {
    const place = disk(512);
    vi.stubEnv("TMPDIR", place);
    const { server, url } = await serve({ model, port: 0, page: join(root, "no-page") });
    const post = async () => {
      const body = new FormData();
      body.append("video", new Blob([readFileSync(clip)]), "clip.mp4");
      const answer = await fetch(`${url}/v1/localize`, { method: "POST", body });
      return { status: answer.status, said: await answer.text() };
    };
    try {
      const empty = fill(place);
      const rejected = await post();
      expect(rejected.status).toBeGreaterThanOrEqual(500);
      expect(rejected.said).toContain("ERR_FILE_WRITE");
      await expectUnwritten(decodeAudio(readFileSync(clip)), place, full);
      expect(namesIn(place).filter((name) => !name.startsWith("soundspot-serve-"))).toEqual([]);
      empty();
      expect(await post()).toMatchObject({ status: 200 });
      for (const name of namesIn(place)) rmSync(join(place, name), { recursive: true }); // as systems tidy up
      expect(await post()).toMatchObject({ status: 200 });
    } finally {
      await server.close();
    }
    expect(namesIn(place)).toEqual([]);
  });
});

describe.skipIf(process.platform === "win32")("a limit on the size of files", () => {
  it("is reported like a full disk, and leaves what was there", async () => {
    const [place, src] = [newFolder(), transpilePackage(newFolder())];
    const paths = ["model.safetensors", "report.html", "where.jsonl", "where.mp4"].map((name) =>
      join(place, name),
    );
    for (const path of paths) writeFileSync(path, "before");
    const code = `
      import { Model, renderVideo } from ${JSON.stringify(join(src, "index.js"))};
      import { replaceFile } from ${JSON.stringify(join(src, "files/atomic-writes.js"))};
      const [saved, report, track, output] = ${JSON.stringify(paths)};
      const model = await Model.create(${JSON.stringify(tiny)});
      const failed = [];
      const tell = (error) => failed.push([error.code, error.message]);
      await model.save(saved).catch(tell);
      await replaceFile(report, "x".repeat(100_000)).catch(tell);
      await renderVideo(model, ${JSON.stringify(clip)}, { track }).catch(tell);
      await renderVideo(model, ${JSON.stringify(clip)}, { output }).catch(tell);
      process.stdout.write(JSON.stringify(failed));`;
    const limited = 'ulimit -f 1; exec "$0" --input-type=module -e "$1"'; // 512 or 1,024 bytes
    const printed = execFileSync("sh", ["-c", limited, process.execPath, code], { encoding: "utf8" });
    const failed = JSON.parse(printed) as [string, string][];
    expect(failed.map(([each]) => each)).toEqual(Array(4).fill("ERR_FILE_WRITE"));
    failed.forEach(([, message], i) => {
      expect(message).toContain(paths[i]);
    });
    expect(namesIn(place)).toEqual(["model.safetensors", "report.html", "where.jsonl", "where.mp4"]);
    for (const path of paths) expect(readFileSync(path, "utf8")).toBe("before");
  });
});

describe.skipIf(!canMount)("a folder that may only be read", () => {
  it("is reported by everything that writes, and can be read", async () => {
    const place = disk(4096);
    const [checkpoint, folder, index] = ["model.safetensors", "media", "index"].map((name) =>
      join(place, name),
    );
    const before = { path: checkpoint as string, folder: folder as string, index: index as string };
    await model.save(before.path);
    mkdirSync(before.folder);
    writeFileSync(join(before.folder, "1.png"), await encodeImage(bar(1).image, { format: "png" }));
    const opened = await SearchIndex.create(before.index, { model });
    await opened.update({ model, folder: before.folder });
    opened.close();
    const names = readdirSync(place, { recursive: true }).sort();
    setReadOnly(place, true);
    const written: [() => Promise<unknown>, string][] = [
      [() => model.save(before.path), before.path],
      [() => run({ output: place }), place],
      [() => run({ output: join(place, "run") }), join(place, "run")],
      [() => prepareVideos({ input: clip, output: join(place, "data") }), join(place, "data")],
      [() => renderVideo(model, clip, { output: join(place, "a.mp4") }), join(place, "a.mp4")],
      [() => renderVideo(model, clip, { track: join(place, "a.jsonl") }), join(place, "a.jsonl")],
      [() => writeFiles(place, { "report.html": "" }), "report.html"],
      [() => SearchIndex.create(join(place, "other"), { model }), join(place, "other")],
    ];
    for (const [work, path] of written) await expectUnwritten(work(), path, /read-only|no such file/i);
    (await Model.load(before.path)).dispose();
    const again = await SearchIndex.open(before.index);
    expect(await again.search({ model, audio: bar(1).audio })).toHaveLength(1);
    await expectUnwritten(again.update({ model, folder: before.folder }), before.index, /read-only/i);
    again.close();
    setReadOnly(place, false);
    expect(readdirSync(place, { recursive: true }).sort()).toEqual(names);
  });
});

describe("a file that changes while it is read", () => {
  async function manifest(count: number): Promise<string> {
    const folder = newFolder();
    const rows: string[] = [];
    for (let i = 0; i < count; i++) {
      writeFileSync(join(folder, `${i}.png`), await encodeImage(bar(i).image, { format: "png" }));
      writeFileSync(join(folder, `${i}.wav`), encodeWav(bar(i).audio));
      rows.push(JSON.stringify({ image: `${i}.png`, audio: `${i}.wav` }));
    }
    const path = join(folder, "pairs.jsonl");
    writeFileSync(path, rows.join("\n"));
    return path;
  }

  it.each([
    ["is gone", (path: string) => rmSync(path), /ERR_FILE_NOT_FOUND|ERR_DATASET/],
    ["is emptied", (path: string) => truncateSync(path, 0), /ERR_FILE_EMPTY|ERR_DATASET/],
    ["is cut off", (path: string) => truncateSync(path, 60), /ERR_MEDIA_DECODE|ERR_DATASET/],
  ])("in mid-epoch, when it %s, ends a run that goes on with the file", async (_, change, code) => {
    const path = await manifest(12);
    const data = () => datasets.manifest({ path });
    const [whole, output] = [newFolder(), newFolder()];
    await run({ data: await data(), output: whole });
    const victim = join(dirname(path), "5.png");
    const content = readFileSync(victim);
    const onStep = ({ step }: StepEvent) => {
      if (step === 2) change(victim);
    };
    // Decoded ahead, it may be in memory already: then the second epoch meets it.
    const error = await failureOf(run({ data: await data(), output, queue: 1, onStep }));
    expect(error.code).toMatch(code);
    expect(error.message).toContain("5.png");
    writeFileSync(victim, content);
    await run({ data: await data(), output, queue: 1, resume: true });
    expect(namesIn(output)).toEqual(finished);
    expect(readFileSync(join(output, "metrics.jsonl"), "utf8")).toBe(
      readFileSync(join(whole, "metrics.jsonl"), "utf8"),
    );
  });

  it("loads as it was or says that it is damaged, when a checkpoint is cut off or grows", async () => {
    const path = join(newFolder(), "model.safetensors");
    await model.save(path);
    const content = readFileSync(path);
    for (let i = 0; i < 60; i++) {
      writeFileSync(path, content);
      const loading = Model.load(path).then(
        (loaded) => loaded.dispose(),
        (error: SoundspotError) => expect(error.code).toMatch(/ERR_(CHECKPOINT_CORRUPT|FILE_EMPTY)/),
      );
      if (i % 3 > 0) await new Promise((resolve) => setTimeout(resolve, i % 5));
      if (i % 2 === 0) truncateSync(path, Math.floor((content.length * (i % 7)) / 7));
      else appendFileSync(path, content);
      await loading;
    }
  });

  it("counts the samples of a shard that is cut off in mid-epoch as damaged, or ends the run", async () => {
    const folder = newFolder();
    const paths = await writeShards(folder, 4, 4);
    const data = await datasets.shards({ urls: join(folder, "train-{000000..000003}.tar") });
    const onStep = ({ step }: StepEvent) => {
      if (step === 1) for (const path of paths) truncateSync(path, 5000);
    };
    const outcome = await run({ data, batchSize: 2, queue: 1, onStep, output: newFolder() }).catch(
      (error: SoundspotError) => error,
    );
    if (outcome) {
      expect(outcome.name).toBe("SoundspotError");
      expect(outcome.message).toMatch(/train-00000\d\.tar/);
    } else {
      expect(data.damaged?.length).toBeGreaterThan(0);
    }
    await data.close?.();
  });
});

describe("two runs in one folder", () => {
  it("take over the lock of a process whose number another process has now", async () => {
    const output = newFolder();
    const owner = { id: "x", pid: process.pid, host: hostname(), started: "another start of the system 1" };
    writeFileSync(join(output, "train.lock"), JSON.stringify(owner));
    if (process.platform === "linux") await run({ output });
    else expect((await failureOf(run({ output }))).code).toBe("ERR_BUSY");
  });

  it.each(["", "{", "[]", '{"id":"../x","pid":1,"host":"x"}', "\0".repeat(100)])(
    "are kept apart by a lock that nobody can read: %j",
    async (content) => {
      const output = newFolder();
      writeFileSync(join(output, "train.lock"), content);
      const { code, message } = await failureOf(run({ output }));
      expect(code).toBe("ERR_BUSY");
      expect(message).toContain("delete the file");
      expect(namesIn(output)).toEqual(["train.lock"]);
    },
  );

  it("have one owner, however many processes take a stale lock at once", async () => {
    const [output, src] = [newFolder(), transpilePackage(newFolder())];
    const gone = spawnSync(process.execPath, ["-e", ""]).pid;
    for (let round = 0; round < 3; round++) {
      writeFileSync(join(output, "a.lock"), JSON.stringify({ id: "x", pid: gone, host: hostname() }));
      const take = `
        import { lockFolder } from ${JSON.stringify(join(src, "files/folder-lock.js"))};
        process.stdin.once("data", async () => {
          try { await lockFolder(${JSON.stringify(output)}, "a.lock"); console.log("mine"); }
          catch (error) { console.log(error.code); }
          process.stdin.once("data", () => process.exit());
        });
        console.log("ready");`;
      const takers = Array.from({ length: 6 }, () =>
        spawn(process.execPath, ["--input-type=module", "-e", take], { stdio: ["pipe", "pipe", "inherit"] }),
      );
      const said = takers.map(
        ({ stdout }) =>
          new Promise<string>((resolve) => {
            let all = "";
            stdout.setEncoding("utf8").on("data", (text: string) => {
              all += text;
              if (all.split("\n").length > 2) resolve(all.split("\n")[1] as string);
            });
          }),
      );
      const ready = takers.map(({ stdout }) => new Promise((resolve) => stdout.once("data", resolve)));
      await Promise.all(ready);
      for (const { stdin } of takers) stdin.write("go\n");
      expect((await Promise.all(said)).sort()).toEqual([...Array(5).fill("ERR_BUSY"), "mine"]);
      const ended = takers.map((each) => new Promise((resolve) => each.on("close", resolve)));
      for (const { stdin } of takers) stdin.write("end\n");
      await Promise.all(ended);
    }
  });
});

describe("a clock that jumps", () => {
  const years = (count: number) => count * 365 * 86_400_000;

  it("changes nothing in a run", async () => {
    const [whole, output] = [newFolder(), newFolder()];
    await run({ output: whole });
    vi.useFakeTimers({ toFake: ["Date"] });
    const now = Date.now();
    const onStep = ({ step, samplesPerSecond, milliseconds, waited }: StepEvent) => {
      for (const value of [samplesPerSecond, milliseconds]) expect(value).toBeGreaterThan(0);
      expect(waited).toBeGreaterThanOrEqual(0);
      vi.setSystemTime(now + (step % 2 === 0 ? years(30) : -years(50)));
    };
    await run({ output, onStep });
    expect(namesIn(output)).toEqual(finished);
    expect(contentsOf(output)).toEqual(contentsOf(whole));
  });

  it.each([-50, 0, 30])("neither frees a lock nor keeps one for ever, %d years away", async (distance) => {
    const folder = newFolder();
    vi.useFakeTimers({ toFake: ["Date"] });
    const unlock = await lockFolder(folder, "a.lock");
    vi.setSystemTime(Date.now() + years(distance));
    expect((await failureOf(lockFolder(folder, "a.lock"))).code).toBe("ERR_BUSY");
    const owner = readFileSync(join(folder, "a.lock"), "utf8");
    await unlock();
    const { pid: gone } = spawnSync(process.execPath, ["-e", ""]);
    writeFileSync(join(folder, "a.lock"), JSON.stringify({ ...JSON.parse(owner), pid: gone }));
    utimesSync(join(folder, "a.lock"), 0, 2 ** 31 + 10);
    await (await lockFolder(folder, "a.lock"))();
    expect(namesIn(folder)).toEqual([]);
  });

  it("leaves samples in shards that are read as before", async () => {
    const output = newFolder();
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(-years(20));
    await prepareVideos({ input: clip, output, shards: true });
    const data = await datasets.shards({ index: join(output, "shardindex.json") });
    await data.load(0);
    await data.close?.();
  });
});

describe("a path to write", () => {
  /** Everything that writes one file of that name into a folder. */
  const writers: Record<string, (path: string) => Promise<unknown>> = {
    "a model": (path) => model.save(path),
    "a report": (path) => writeOutput(path, "a report"),
    "an overlay": (path) => renderVideo(model, clip, { output: path, to: 0.5 }),
    "a track": (path) => renderVideo(model, clip, { track: path, to: 0.5 }),
  };
  const endings: Record<string, string> = { "an overlay": ".mp4", "a track": ".jsonl" };

  it.each(Object.keys(writers))("may be a link, which %s replaces, and no folder or device", async (what) => {
    const folder = newFolder();
    const ending = endings[what] ?? ".safetensors";
    const write = writers[what] as (path: string) => Promise<unknown>;
    const [target, link] = [join(folder, `target${ending}`), join(folder, `link${ending}`)];
    writeFileSync(target, "before");
    symlinkSync(target, link);
    await write(link);
    expect(readFileSync(target, "utf8")).toBe("before");
    expect(statSync(link).size).not.toBe(6);

    const taken = join(folder, `folder${ending}`);
    mkdirSync(taken);
    writeFileSync(join(taken, "inside"), "");
    await expectUnwritten(write(taken), taken, /is a folder/);
    const names = ["folder", "link", "target"].map((name) => `${name}${ending}`);
    if (process.platform !== "win32") {
      const pipe = join(folder, `pipe${ending}`);
      execFileSync("mkfifo", [pipe]);
      await expectUnwritten(write(pipe), pipe, /not a regular file/);
      expect(statSync(pipe).isFIFO()).toBe(true);
      rmSync(pipe);
    }
    const below = join(target, "missing", `a${ending}`);
    await expectUnwritten(write(below), below, /not a directory|no such file/i);
    const missing = join(folder, "missing", "below", `a${ending}`);
    await write(missing);
    expect(namesIn(join(folder, "missing", "below"))).toEqual([`a${ending}`]);
    rmSync(join(folder, "missing"), { recursive: true });
    const long = join(folder, `${"n".repeat(300)}${ending}`);
    await expectUnwritten(write(long), long, /too long/i);
    expect(namesIn(folder)).toEqual(names);
  });

  it
    .skipIf(process.platform === "win32")
    .each(["new\nline", "100 %20 %s %03d", "Klänge 音 🐕", "'; \"$(x)` -y"])(
    "may have any name: %j",
    async (name) => {
      const folder = join(newFolder(), name);
      mkdirSync(folder);
      const names: string[] = [];
      for (const [what, write] of Object.entries(writers)) {
        names.push(`${name} ${what}${endings[what] ?? ".safetensors"}`);
        await write(join(folder, names.at(-1) as string));
      }
      expect(namesIn(folder)).toEqual(names.sort());
      const output = join(folder, "run");
      await run({ output });
      expect(namesIn(output)).toEqual(finished);
      await renderVideo(model, join(folder, `${name} an overlay.mp4`), {
        track: join(folder, "again.jsonl"),
      });
      const { manifest } = await prepareVideos({ input: folder, output: join(folder, "data") });
      const data = await datasets.manifest({ path: manifest });
      expect(data.length).toBe(1);
      await data.load(0);
    },
  );
});

describe("what a killed process left", () => {
  it("goes when the next run begins", async () => {
    const output = newFolder();
    const left = [".soundspot-00000000-0000-4000-8000-000000000000", "last.safetensors.123.tmp"];
    for (const name of [...left, ".soundspot-mine"]) writeFileSync(join(output, name), "half");
    await run({ output });
    expect(namesIn(output)).toEqual([".soundspot-mine", ...finished].sort());
    expect(existsSync(join(output, "train.lock"))).toBe(false);
  });
});
