// Reading and decoding 50,000 small pairs: from 50 tar shards by 2 ranks of 2 readers, and from loose files in random
// order. In turns, a fifth of the epoch each; with the memory of the process.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { datasets, encodeWav } from "../dist/index.js";
import { median } from "./lib/turns.mjs";

const [PAIRS, SHARDS, PARTS, BATCH, SIZE] = [50_000, 50, 5, 80, 32];

const title = `${PAIRS} pairs of ${SIZE} px and 0.1 s, each read once`;
const columns = ["from", "pairs/s", "× loose files"];

/** Archives and loose files; `onShard` is called after each archive. */
async function write(folder, onShard) {
  const { default: sharp } = await import("sharp");
  mkdirSync(join(folder, "loose"));
  const samples = Float32Array.from({ length: 1600 }, (_, i) => Math.sin(i / 5));
  const audio = encodeWav({ samples, sampleRate: 16_000 });
  const rows = [];
  const each = PAIRS / SHARDS;
  for (let shard = 0; shard < SHARDS; shard++) {
    const names = [];
    for (let i = shard * each; i < (shard + 1) * each; i++) {
      const pixels = Buffer.alloc(SIZE * SIZE * 3, i % 251);
      pixels.writeUInt32LE(i, 600);
      const image = await sharp(pixels, { raw: { width: SIZE, height: SIZE, channels: 3 } })
        .jpeg()
        .toBuffer();
      const name = String(i).padStart(6, "0");
      names.push(`${name}.jpg`, `${name}.wav`);
      writeFileSync(join(folder, "loose", `${name}.jpg`), image);
      writeFileSync(join(folder, "loose", `${name}.wav`), audio);
      rows.push(JSON.stringify({ id: name, image: `${name}.jpg`, audio: `${name}.wav` }));
    }
    const archive = join(folder, `train-${String(shard).padStart(6, "0")}.tar`);
    const tar = execFile("tar", ["-cf", archive, "-C", join(folder, "loose"), "-T", "-"]);
    tar.stdin.end(names.join("\n"));
    const [code] = await once(tar, "close");
    if (code !== 0) throw new Error(`tar ended with ${code}`);
    await onShard(shard + 1, archive);
  }
  writeFileSync(join(folder, "loose", "manifest.jsonl"), `${rows.join("\n")}\n`);
}

/** Loads samples of batches, 16 at a time, and notes each. */
async function consume(batches, count, seen) {
  const queue = [];
  for (let taken = 0; taken < count; ) {
    const { value } = await batches.next();
    for (const each of value) {
      queue.push(each.load(undefined));
      seen[each.index]++;
    }
    taken += value.length;
    while (queue.length > 16) await queue.shift();
  }
  await Promise.all(queue);
}

async function* drawn(data) {
  for (let from = 0; ; from += BATCH) {
    yield Array.from({ length: BATCH }, (_, i) => {
      const index = (7919 * (from + i)) % PAIRS; // prime: each once
      return { index, load: () => data.load(index) };
    });
  }
}

/** Seconds of reading all, both ways, by some batches of the first archive. */
async function secondsOfReading(archive) {
  const count = 10 * BATCH;
  const started = performance.now();
  const data = await datasets.shards({ urls: archive });
  const batches = data.sequence.batches({
    ...{ epoch: 0, seed: 0, batchSize: BATCH, fromBatch: 0, size: 1, rank: 0 },
  });
  await consume(batches, count, new Uint8Array(PAIRS));
  await batches.return();
  return (2 * (PAIRS / count) * (performance.now() - started)) / 1000;
}

export async function shards({ report }) {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  try {
    const written = performance.now();
    let progress;
    await write(folder, async (shard, archive) => {
      if (shard === 1) {
        const writing = (SHARDS * (performance.now() - written)) / 1000;
        report.expect(writing + (await secondsOfReading(archive)), 2);
        progress = report.step("writing", SHARDS);
      }
      progress(shard);
    });
    const begun = performance.now();
    const packed = await datasets.shards({ urls: join(folder, "train-{000000..000049}.tar"), readers: 4 });
    const counted = (performance.now() - begun) / 1000;
    const loose = await datasets.manifest({ path: join(folder, "loose", "manifest.jsonl") });
    const request = { epoch: 0, seed: 0, batchSize: BATCH, fromBatch: 0, size: 2 };
    const ranks = [0, 1].map((rank) => packed.sequence.batches({ ...request, rank }));
    const files = drawn(loose);
    const seen = { packed: new Uint8Array(PAIRS), loose: new Uint8Array(PAIRS) };
    const [rates, memory] = [{ packed: [], loose: [] }, []];
    const part = PAIRS / PARTS;
    progress = report.step("reading", PARTS);
    report.table(title, columns, [34]);
    for (let i = 0; i < PARTS; i++) {
      const timed = async (work) => {
        const start = performance.now();
        await work();
        return part / ((performance.now() - start) / 1000);
      };
      rates.packed.push(
        await timed(() => Promise.all(ranks.map((batches) => consume(batches, part / 2, seen.packed)))),
      );
      rates.loose.push(await timed(() => consume(files, part, seen.loose)));
      collect();
      memory.push(process.memoryUsage().rss / 2 ** 20);
      progress(i + 1);
    }
    await Promise.all([...ranks, files].map((batches) => batches.return()));
    const once = (times) => times.every((each) => each === 1);
    if (!once(seen.packed) || !once(seen.loose)) throw new Error("a sample was not read exactly once");
    const [fast, slow] = [median(rates.packed), median(rates.loose)];
    const rows = [
      [`${SHARDS} shards, 2 ranks of 2 readers`, fast.toFixed(0), (fast / slow).toFixed(2)],
      ["loose files", slow.toFixed(0), "1.00"],
    ];
    for (const row of rows) report.row(row);
    return {
      title: `${title}; the archives looked through in ${counted.toFixed(1)} s; MiB resident after each fifth: ${memory.map((each) => each.toFixed(0)).join(", ")}`,
      table: { columns, rows },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
