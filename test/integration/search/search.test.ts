/** Cross-modal search: results of an index, updates from its folder, and rejected input. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createServer,
  Model,
  SearchIndex,
  type SoundspotError,
  type UpdateIndexOptions,
} from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { decodeFrame } from "../../../src/media/video.js";
import { encodeWav } from "../../../src/media/wav.js";
import { slots, tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-search-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let model: Model;
let other: Model;
beforeAll(async () => {
  model = await Model.create({ ...tiny, ...slots({ targetSlots: 2 }) }, { seed: 1 });
  other = await Model.create({ ...tiny, ...slots({ targetSlots: 2 }) }, { seed: 2 });
});
afterAll(() => {
  model.dispose();
  other.dispose();
});

/** Numbers in [0, 1), the same in every run. */
function random(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

async function writeImage(path: string, seed: number): Promise<void> {
  const draw = random(seed);
  const cells = Buffer.from(Array.from({ length: 4 * 4 * 3 }, () => 256 * draw()));
  mkdirSync(dirname(path), { recursive: true });
  await sharp(cells, { raw: { width: 4, height: 4, channels: 3 } })
    .resize(48, 40, { kernel: "nearest", fit: "fill" })
    .png()
    .toFile(path);
}

function writeAudio(path: string, seed: number): void {
  const draw = random(seed);
  const [pitch, depth] = [100 + 3000 * draw(), draw()];
  const samples = Float32Array.from(
    { length: 8000 },
    (_, i) => 0.5 * Math.sin((2 * Math.PI * pitch * i) / 16_000) + 0.3 * depth * (draw() - 0.5),
  );
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, encodeWav({ samples, sampleRate: 16_000 }));
}

let folders = 0;
/** A new folder with images and audio files, in folders named by label. */
async function media(count: number, labels: readonly string[] = ["dog", "cat"]): Promise<string> {
  const folder = join(root, `media-${folders++}`);
  for (let i = 0; i < count; i++) {
    const label = labels[i % labels.length] as string;
    await writeImage(join(folder, label, `image-${i}.png`), i);
    writeAudio(join(folder, label, `audio-${i}.wav`), 1000 + i);
  }
  return folder;
}

async function indexed(folder: string, options: Partial<UpdateIndexOptions> = {}): Promise<SearchIndex> {
  const index = await SearchIndex.create(`${folder}.index`, { model });
  await index.update({ model, folder, ...options });
  return index;
}

const failure = (work: Promise<unknown>): Promise<SoundspotError> =>
  work.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: SoundspotError) => error,
  );

const names = (found: readonly { readonly name: string }[]) => found.map(({ name }) => name);

/** Mean cosine over target slots of an image and audio, as in retrieval. */
async function cosine(image: string, audio: string): Promise<number> {
  return (await model.localize({ image, audio }, { precision: "float32" })).confidence;
}

describe("search", () => {
  it("finds images by audio, and audio by an image, like a comparison with all of them", async () => {
    const folder = await media(12);
    using index = await indexed(folder);
    expect(await index.count()).toEqual({ images: 12, audios: 12 });
    const at = (kind: string, i: number) =>
      join(folder, i % 2 ? "cat" : "dog", kind === "image" ? `image-${i}.png` : `audio-${i}.wav`);
    const all = Array.from({ length: 12 }, (_, i) => i);
    const there = await Promise.all(
      all.map(async (i) => ({ path: at("image", i), score: await cosine(at("image", i), at("audio", 3)) })),
    );
    there.sort((a, b) => b.score - a.score);
    const images = await index.search({ audio: at("audio", 3), model, k: 12 });
    expect(images.map(({ path }) => path)).toEqual(there.map(({ path }) => path));
    for (const [i, { score }] of images.entries()) expect(score).toBeCloseTo(there[i]?.score as number, 5);
    expect(images[0]).toMatchObject({ kind: "image", label: expect.stringMatching(/^(dog|cat)$/) });

    const back = await Promise.all(
      all.map(async (i) => ({ path: at("audio", i), score: await cosine(at("image", 5), at("audio", i)) })),
    );
    back.sort((a, b) => b.score - a.score);
    const audios = await index.search({ image: readFileSync(at("image", 5)), model, k: 4 });
    expect(audios.map(({ path }) => path)).toEqual(back.slice(0, 4).map(({ path }) => path));
    expect(audios[0]).toMatchObject({ kind: "audio" });
    expect(audios[0]?.score).toBeCloseTo(back[0]?.score as number, 5);
  });
});

describe("an update", () => {
  it("encodes only new and changed files, and drops deleted ones", async () => {
    const folder = await media(4);
    using index = await indexed(folder);
    const [kept, replaced, touched, gone] = [0, 1, 2, 3].map((i) =>
      join(folder, i % 2 ? "cat" : "dog", `image-${i}.png`),
    ) as [string, string, string, string];
    await writeImage(replaced, 100);
    utimesSync(touched, new Date(), new Date(Date.now() - 60_000));
    rmSync(gone);
    await writeImage(join(folder, "bird", "new.png"), 101);
    // Under the names of others: an index that compared names only would keep their vectors.
    renameSync(join(folder, "dog", "audio-0.wav"), join(folder, "audio-0.tmp"));
    renameSync(join(folder, "dog", "audio-2.wav"), join(folder, "dog", "audio-0.wav"));
    renameSync(join(folder, "audio-0.tmp"), join(folder, "dog", "audio-2.wav"));
    for (const i of [0, 2]) utimesSync(join(folder, "dog", `audio-${i}.wav`), i + 1, i + 1);
    const encoded: number[] = [];
    const changes = await index.update({
      model,
      folder,
      onProgress: (done) => encoded.push(done),
    });
    expect(changes).toEqual({
      added: 1,
      changed: 3,
      removed: 1,
      unchanged: 4,
      skipped: [],
      images: 4,
      audios: 4,
    });
    expect(encoded[0]).toBe(4);

    using fresh = await SearchIndex.create(`${folder}.fresh`, { model });
    await fresh.update({ model, folder });
    for (const query of [{ audio: join(folder, "dog", "audio-0.wav") }, { image: kept }] as const) {
      const [after, anew] = [
        await index.search({ ...query, model, k: 20 }),
        await fresh.search({ ...query, model, k: 20 }),
      ];
      expect(after.map(({ id }) => id)).toEqual(anew.map(({ id }) => id));
      for (const [i, { score }] of after.entries()) expect(score).toBeCloseTo(anew[i]?.score as number, 6);
    }
    expect(await index.update({ model, folder })).toMatchObject({ added: 0, changed: 0, unchanged: 8 });
  });

  it("follows a moved folder and new labels without encoding", async () => {
    const folder = await media(3);
    using index = await indexed(folder);
    const moved = `${folder}-moved`;
    renameSync(folder, moved);
    const csv = join(root, "moved.csv");
    writeFileSync(csv, `file,label\ncat/image-1.png,tabby\n"${join(moved, "dog", "image-0.png")}",hound\n`);
    const update = await index.update({ model, folder: moved, labels: { csv } });
    expect(update).toMatchObject({ added: 0, changed: 0, removed: 0, unchanged: 6 });
    const audio = join(moved, "dog", "audio-0.wav");
    expect(names(await index.search({ audio, model, label: "tabby" }))).toEqual(["cat/image-1.png"]);
    const [hound] = await index.search({ audio, model, label: "hound" });
    expect(hound?.path).toBe(join(moved, "dog", "image-0.png"));
    const rest = (await index.search({ audio, model })).filter(({ label }) => label === undefined);
    expect(names(rest)).toEqual(["dog/image-2.png"]);
  });

  it("reports unreadable files, continues, and drops their former items", async () => {
    const folder = await media(3);
    using index = await indexed(folder);
    const damaged = join(folder, "dog", "image-0.png");
    writeFileSync(damaged, "no image");
    writeFileSync(join(folder, "dog", "empty.wav"), "");
    symlinkSync(join(root, "nowhere.png"), join(folder, "dog", "broken.png"));
    const { skipped, ...update } = await index.update({ model, folder });
    expect(update).toEqual({ added: 0, changed: 0, removed: 0, unchanged: 5, images: 2, audios: 3 });
    expect(skipped.map(({ file, code }) => [file, code]).sort()).toEqual([
      ["dog/broken.png", "ERR_FILE_NOT_FOUND"],
      ["dog/empty.wav", "ERR_FILE_EMPTY"],
      ["dog/image-0.png", "ERR_MEDIA_DECODE"],
    ]);
    for (const { reason } of skipped) expect(reason).toContain(folder);
    await writeImage(damaged, 0);
    expect(await index.update({ model, folder })).toMatchObject({ added: 1, images: 3 });
  });

  it("takes the middle frame and the audio of a video, and accepts one without audio", async () => {
    const folder = join(root, "videos");
    mkdirSync(folder);
    const { path } = await findFfmpeg();
    const inputs =
      "-v error -f lavfi -i testsrc=s=64x48:r=10:d=2 -f lavfi -i sine=sample_rate=16000:duration=2";
    const video = join(folder, "audible.mp4");
    execFileSync(path, [...inputs.split(" "), "-c:v", "libx264", "-c:a", "aac", video]);
    execFileSync(path, ["-v", "error", "-i", video, "-an", "-c", "copy", join(folder, "mute.mp4")]);
    using index = await indexed(folder);
    expect(await index.count()).toEqual({ images: 2, audios: 1 });
    const spot = await model.localize({ video }, { precision: "float32" });
    const audios = await index.search({ image: await decodeFrame(video, 1), model });
    expect(audios).toHaveLength(1);
    expect(audios[0]).toMatchObject({ name: "audible.mp4", kind: "audio", at: expect.closeTo(1, 1) });
    expect(audios[0]?.score).toBeCloseTo(spot.confidence, 5);
    const images = await index.search({ audio: video, model, localize: true });
    expect(names(images).sort()).toEqual(["audible.mp4", "mute.mp4"]);
    expect(await index.update({ model, folder })).toMatchObject({ unchanged: 2, changed: 0 });
    // The same name without audio: the audio item is removed.
    copyFileSync(join(folder, "mute.mp4"), video);
    expect(await index.update({ model, folder })).toMatchObject({ changed: 1, images: 2, audios: 0 });
  });

  it("leaves an index that can be searched when it is aborted, and the next one completes it", async () => {
    const folder = await media(40);
    using index = await SearchIndex.create(`${folder}.index`, { model });
    const stop = new AbortController();
    const aborted = await failure(
      index.update({
        model,
        folder,
        signal: stop.signal,
        onProgress: (done) => done > 0 && stop.abort("enough"),
      }),
    );
    expect(aborted.code).toBe("ERR_ABORTED");
    const { images, audios } = await index.count();
    expect(images + audios).toBeGreaterThan(0);
    expect(images + audios).toBeLessThan(80);
    const audio = join(folder, "dog", "audio-0.wav");
    expect(await index.search({ audio, model, k: 100 })).toHaveLength(images);
    const rest = await index.update({ model, folder });
    expect(rest).toMatchObject({
      added: 80 - images - audios,
      unchanged: images + audios,
      images: 40,
      audios: 40,
    });
    using fresh = await SearchIndex.create(`${folder}.fresh`, { model });
    await fresh.update({ model, folder });
    const [after, anew] = [
      await index.search({ audio, model, k: 40 }),
      await fresh.search({ audio, model, k: 40 }),
    ];
    expect(names(after)).toEqual(names(anew));
  });

  it("keeps the index when the folder is gone or has no media", async () => {
    const folder = await media(2);
    using index = await indexed(folder);
    const empty = join(root, "empty");
    mkdirSync(empty);
    expect((await failure(index.update({ model, folder: empty }))).code).toBe("ERR_DATASET");
    expect((await failure(index.update({ model, folder: join(root, "none") }))).code).toBe(
      "ERR_FILE_NOT_FOUND",
    );
    expect(await index.count()).toEqual({ images: 2, audios: 2 });
    expect(index.media).toBe(folder);
  });

  it("rejects a second one at the same time", async () => {
    const folder = await media(2);
    using index = await SearchIndex.create(`${folder}.index`, { model });
    // Either may be first to take the lock.
    const both = await Promise.allSettled([1, 2].map(() => index.update({ model, folder })));
    const rejected = both.filter((each) => each.status === "rejected");
    expect(rejected.map(({ reason }) => reason.code)).toEqual(["ERR_BUSY"]);
    const done = both.filter((each) => each.status === "fulfilled");
    expect(done.map(({ value }) => value.added)).toEqual([4]);
  });
});

describe("a large index", () => {
  it("is divided, follows changes, and with exact compares all items", async () => {
    const folder = await media(64);
    using index = await indexed(folder, { approximateFrom: 50 });
    const divided = () => JSON.parse(readFileSync(join(index.folder, "index.json"), "utf8")).divided;
    expect(divided()).toEqual({ image: 64, audio: 64 });
    const audio = join(folder, "dog", "audio-0.wav");
    const all = await index.search({ audio, model, k: 64, exact: true });
    expect(all).toHaveLength(64);
    // 64 vectors are one partition: it misses nothing.
    expect(names(await index.search({ audio, model, k: 64 }))).toEqual(names(all));
    await writeImage(join(folder, "dog", "late.png"), 500);
    await index.update({ model, folder, approximateFrom: 50 });
    expect(names(await index.search({ audio, model, k: 65 }))).toContain("dog/late.png");
    await index.update({ model, folder, approximateFrom: 1000 });
    expect(divided()).toEqual({});
    expect(await index.search({ audio, model, k: 100 })).toHaveLength(65);
  });
});

describe("labels", () => {
  it("filter, whatever is written in them", async () => {
    const odd = [`it's`, `"quoted"`, "' OR 1=1 --", "a\\'b", "%", "ünï_codé"];
    const folder = await media(0);
    const rows: string[] = [];
    for (const [i, label] of odd.entries()) {
      await writeImage(join(folder, `${i}.png`), i);
      rows.push(`${i}.png,"${label.replaceAll('"', '""')}"`);
    }
    writeAudio(join(folder, "a.wav"), 1);
    const csv = join(root, "odd.csv");
    writeFileSync(csv, rows.join("\n"));
    using index = await indexed(folder, { labels: { csv } });
    const audio = join(folder, "a.wav");
    for (const [i, label] of odd.entries()) {
      const found = await index.search({ audio, model, label });
      expect(found.map((each) => [each.name, each.label])).toEqual([[`${i}.png`, label]]);
    }
    expect(await index.search({ audio, model, label: [odd[0] as string, odd[4] as string] })).toHaveLength(2);
    expect(await index.search({ audio, model, label: "' OR '1'='1" })).toEqual([]);
    expect((await failure(index.search({ audio, model, label: [] }))).code).toBe("ERR_INPUT");
    writeFileSync(csv, "0.png,a,b\n");
    const wrong = await failure(index.update({ model, folder, labels: { csv } }));
    expect([wrong.code, wrong.message]).toEqual(["ERR_DATASET", expect.stringContaining("line 1")]);
  });
});

describe("an index rejects", () => {
  it("another model, also one that has learnt since", async () => {
    const folder = await media(1);
    const changing = await Model.create(tiny);
    using index = await SearchIndex.create(`${folder}.index`, { model: changing });
    await index.update({ model: changing, folder });
    const audio = join(folder, "dog", "audio-0.wav");
    const rejected = await failure(index.search({ audio, model: other }));
    expect(rejected.code).toBe("ERR_INDEX_MISMATCH");
    expect(rejected.message).toMatch(/checkpoint that it was made with/);
    const parameters = await changing.parameters();
    const weight = parameters.find(({ trainable }) => trainable);
    if (!weight) throw new Error("no parameter");
    weight.data[0] = (weight.data[0] as number) + 1;
    await changing.setParameters([weight]);
    expect((await failure(index.update({ model: changing, folder }))).code).toBe("ERR_INDEX_MISMATCH");
    expect((await failure(index.search({ audio, model: changing }))).code).toBe("ERR_INDEX_MISMATCH");
    changing.dispose();
  });

  it("wrong arguments, no index, a second one, a damaged one, and a closed one", async () => {
    const folder = await media(1);
    const index = await indexed(folder);
    const audio = join(folder, "dog", "audio-0.wav");
    const code = async (work: Promise<unknown>) => (await failure(work)).code;
    expect(await code(index.search({ model } as never))).toBe("ERR_INPUT");
    expect(await code(index.search({ model, audio, image: audio } as never))).toBe("ERR_INPUT");
    expect(await code(index.search({ model, audio, k: 0 }))).toBe("ERR_INPUT");
    expect(await code(index.search({ model, audio: join(folder, "none.wav") }))).toBe("ERR_FILE_NOT_FOUND");
    expect(await code(SearchIndex.create(index.folder, { model }))).toBe("ERR_INPUT");
    expect(await code(SearchIndex.open(folder))).toBe("ERR_FILE_NOT_FOUND");
    expect(await index.item("no id")).toBeUndefined();
    index.close();
    expect(await code(index.search({ model, audio }))).toBe("ERR_DISPOSED");
    rmSync(join(index.folder, "tables", "images.lance"), { recursive: true });
    expect(await code(SearchIndex.open(index.folder))).toBe("ERR_INDEX_CORRUPT");
    writeFileSync(join(index.folder, "index.json"), "{");
    expect(await code(SearchIndex.open(index.folder))).toBe("ERR_INDEX_CORRUPT");
  });
});

describe("in a process of its own", () => {
  let source: string;
  let checkpoint: string;
  beforeAll(async () => {
    source = transpilePackage(join(root, "package"));
    checkpoint = join(root, "model.safetensors");
    await model.save(checkpoint);
  });
  const soundspot = (...given: string[]) =>
    spawnSync(process.execPath, [join(source, "cli", "main.js"), ...given], { encoding: "utf8" });

  it("an index whose update was killed can be searched, and the next update completes it", async () => {
    const folder = await media(20);
    const count = 340; // more rows than are written at a time
    for (let i = 20; i < count; i++) {
      copyFileSync(join(folder, "dog", "image-0.png"), join(folder, "dog", `image-${i}.png`));
      copyFileSync(join(folder, "dog", "audio-0.wav"), join(folder, "dog", `audio-${i}.wav`));
    }
    const output = `${folder}.index`;
    const child = spawn(process.execPath, [
      "--input-type=module",
      "--eval",
      `import { Model, SearchIndex } from ${JSON.stringify(pathToFileURL(join(source, "index.js")).href)};
      const model = await Model.load(${JSON.stringify(checkpoint)});
      const index = await SearchIndex.create(${JSON.stringify(output)}, { model });
      await index.update({ model, folder: ${JSON.stringify(folder)}, onProgress: (done) => console.log(done) });`,
    ]);
    await new Promise<void>((done, fail) => {
      child.once("exit", (code) => code !== null && fail(new Error(`it ended with ${code}`)));
      child.stdout.on("data", (text) => {
        if (
          !String(text)
            .split("\n")
            .some((line) => Number(line) >= 512)
        )
          return;
        child.once("exit", () => done());
        child.kill("SIGKILL");
      });
    });
    using index = await SearchIndex.open(output);
    const { images, audios } = await index.count();
    const audio = join(folder, "dog", "audio-0.wav");
    expect(images).toBeGreaterThan(0);
    expect(images + audios).toBeLessThan(2 * count);
    expect(await index.search({ audio, model, k: 1000 })).toHaveLength(images);
    const update = await index.update({ model, folder });
    expect(update).toMatchObject({ images: count, audios: count, skipped: [] });
    expect(update.unchanged).toBeGreaterThanOrEqual(512);
    expect(await index.search({ audio, model, k: 1000 })).toHaveLength(count);
  });

  it("the command line indexes, searches and boxes, and reports errors", async () => {
    const folder = await media(4);
    writeFileSync(join(folder, "damaged.jpg"), "x");
    const output = `${folder}.index`;
    const made = soundspot("index", folder, "--model", checkpoint, "--output", output);
    expect(made.stderr).toBe("");
    expect(made.stdout).toMatch(
      /^8 files added, 0 changed, 0 removed, 0 unchanged, 1 unreadable\n {2}The image/,
    );
    expect(made.stdout).toContain(`4 images and 4 audio clips in ${output}\n`);
    expect(made.status).toBe(0);
    const again = soundspot("index", folder, "--model", checkpoint, "--output", output, "--json");
    expect(JSON.parse(again.stdout)).toMatchObject({
      added: 0,
      unchanged: 8,
      skipped: [{ file: "damaged.jpg" }],
    });

    const audio = join(folder, "dog", "audio-0.wav");
    const query = ["search", "--index", output, "--model", checkpoint];
    const found = JSON.parse(soundspot(...query, "--audio", audio, "-k", "3", "--json").stdout);
    expect(found).toMatchObject({ query: "audio", results: { length: 3 } });
    const [first] = found.results;
    const expected = await model.localize({ image: first.path, audio });
    expect(first.box).toEqual(expected.boxes[0]);
    expect(first.score).toBeCloseTo(expected.confidence, 4);
    const shown = soundspot(...query, "--image", first.path, "--label", "cat");
    expect(shown.stdout).toMatch(/cosine +label\n(.+cat[/\\]audio-[13]\.wav +-?0\.\d{3} +cat\n){2}$/);
    const neither = soundspot(...query);
    expect([neither.status, neither.stderr]).toEqual([2, expect.stringContaining("--image or --audio")]);
    const nowhere = soundspot("search", "--index", folder, "--model", checkpoint, "--audio", audio);
    expect([nowhere.status, nowhere.stderr]).toEqual([1, expect.stringContaining("soundspot index")]);
  });

  it("says how to install LanceDB where it is missing", async () => {
    const hide = join(root, "hide.cjs");
    writeFileSync(
      hide,
      `const Module = require("node:module");
      const find = Module._resolveFilename;
      Module._resolveFilename = (name, ...rest) => find(name === "@lancedb/lancedb" ? "@lancedb/none" : name, ...rest);`,
    );
    const folder = await media(1);
    const main = join(source, "cli", "main.js");
    const command = [
      "--require",
      hide,
      main,
      "index",
      folder,
      "--model",
      checkpoint,
      "--output",
      `${folder}.index`,
    ];
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: "utf8" });
    expect(stderr).toContain("npm install @lancedb/lancedb apache-arrow");
    expect(stderr).toContain("[ERR_LANCEDB_MISSING]");
    expect(status).toBe(1);
  });
});

describe("over HTTP", () => {
  const form = (parts: Readonly<Record<string, string | Buffer>>) => {
    const boundary = "----part";
    const payload = Buffer.concat([
      ...Object.entries(parts).flatMap(([name, value]) => [
        Buffer.from(
          `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${typeof value === "string" ? "" : `; filename="${name}"`}\r\n\r\n`,
        ),
        Buffer.from(value),
        Buffer.from("\r\n"),
      ]),
      Buffer.from(`--${boundary}--\r\n`),
    ]);
    return { payload, headers: { "content-type": `multipart/form-data; boundary=${boundary}` } };
  };

  it("searches with uploads and serves the index's items only", async () => {
    const folder = await media(4);
    writeFileSync(join(folder, "secret.txt"), "secret");
    using index = await indexed(folder);
    await using server = await createServer({ model, index });
    const { app } = server;
    expect((await app.inject("/v1/info")).json().search).toBe(true);
    const post = (parts: Readonly<Record<string, string | Buffer>>) =>
      app.inject({ method: "POST", url: "/v1/search", ...form(parts) });

    const audio = readFileSync(join(folder, "dog", "audio-0.wav"));
    const images = await post({ audio, k: "2", label: "cat" });
    expect(images.statusCode).toBe(200);
    const expected = await index.search({ audio, model, k: 2, label: "cat", localize: true });
    expect(images.json()).toEqual({
      query: "audio",
      results: expected.map(({ id, kind, name, label, score, box }) => ({
        ...{ id, kind, name, label, score: expect.closeTo(score, 6), ...(box ? { box } : {}) },
        url: `/v1/search/items/${id}/thumbnail`,
      })),
    });
    expect(images.body).not.toContain(folder);
    const thumbnail = await app.inject(images.json().results[0].url);
    expect(thumbnail.headers["content-type"]).toBe("image/jpeg");
    expect(await sharp(thumbnail.rawPayload).metadata()).toMatchObject({
      format: "jpeg",
      width: 48,
      height: 40,
    });

    const audios = await post({ image: readFileSync(join(folder, "cat", "image-1.png")) });
    const [first] = audios.json().results;
    expect(first).toMatchObject({ kind: "audio", url: `/v1/search/items/${first.id}/audio` });
    const clip = await app.inject(first.url);
    expect(clip.headers["content-type"]).toBe("audio/wav");
    expect(clip.rawPayload).toEqual(readFileSync(join(folder, first.name)));

    for (const parts of [
      {},
      { k: "3" },
      { audio, image: audio },
      { audio, k: "0" },
      { audio, k: "101" },
      { audio, x: "1" },
      { audio: Buffer.from("no audio") },
    ]) {
      const rejected = await post(parts);
      expect([rejected.statusCode, rejected.json()]).toEqual([
        400,
        { error: { code: expect.stringMatching(/^ERR_/), message: expect.any(String) } },
      ]);
    }
    expect((await app.inject({ method: "POST", url: "/v1/search" })).statusCode).toBe(415);
    const large = await createServer({ model, index, uploadBytes: 1000 });
    const rejectedLarge = await large.app.inject({ method: "POST", url: "/v1/search", ...form({ audio }) });
    await large.close();
    expect(rejectedLarge.statusCode).toBe(413);

    // Audio has no thumbnail, and paths are not accepted.
    for (const url of [
      `/v1/search/items/${first.id}/thumbnail`,
      "/v1/search/items/secret.txt/thumbnail",
      "/v1/search/items/..%2Fsecret.txt/audio",
      `/v1/search/items/${"0".repeat(32)}/audio`,
    ]) {
      const rejected = await app.inject(url);
      expect([rejected.statusCode, rejected.json().error.code]).toEqual([404, "ERR_NOT_FOUND"]);
    }
    rmSync(join(folder, first.name));
    const gone = await app.inject(first.url);
    expect([gone.statusCode, gone.json().error.code]).toEqual([404, "ERR_NOT_FOUND"]);
    expect(gone.body).not.toContain(folder);
  });
});
