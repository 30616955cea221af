// Search: an index of drawn scenes end to end, and LanceDB's indices over a million vectors.
//
//   npm run bench -- search [--count N] [--vectors N] [--variants flat,pq,hnsw] [--model FILE]
//
// --count image files and as many audio files (default 10,000; 0 leaves them out), encoded by the demo's model, from a
// file or of random weights; --vectors drawn from 2,000 clusters (default 1,000,000; 0 leaves them out).
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { datasets, Model, metrics, presets, SearchIndex } from "../dist/index.js";
import { writeScenes } from "./lib/scene-files.mjs";

const require = createRequire(import.meta.url);
const [DIM, CLUSTERS, QUERIES, DEPTH, CHUNK] = [512, 2000, 200, 10, 50_000];

const fileColumns = ["work", "measured"];
const vectorColumns = ["index", "query", "built, s", "+ MiB", "recall@10", "p50, ms", "p99, ms"];

/** MiB of all files below a folder. */
function mebibytes(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  return files.reduce((sum, each) => sum + statSync(join(each.parentPath, each.name)).size, 0) / 2 ** 20;
}

async function seconds(work) {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Results of each query in turn, and the median and 99th percentile of their times in milliseconds. */
async function asked(questions, ask, progress) {
  const [answers, times] = [[], []];
  await ask(questions[0]); // opens what is opened once
  for (const question of questions) {
    const start = performance.now();
    answers.push(await ask(question));
    times.push(performance.now() - start);
    progress?.(times.length, questions.length);
  }
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
  return { answers, p50: at(0.5), p99: at(0.99) };
}

/** Share of the exact answers that were found. */
function recall(found, exact) {
  const hits = found.map((ids, i) => exact[i].filter((id) => ids.includes(id)).length);
  return hits.reduce((a, b) => a + b, 0) / exact.flat().length;
}

/** Files of drawn scenes in a folder for each class. */
async function writeMedia(folder, count, progress) {
  const { imageSize, audio } = presets.scratch.model;
  const options = { size: imageSize, seconds: audio.seconds, length: count, split: "test", workers: 2 };
  const nameOf = ({ label }, index) => join(label, String(index).padStart(6, "0"));
  await writeScenes(folder, datasets.scenes(options), { nameOf, progress });
}

/** Seconds of `ofFiles`, by an index of a hundred pairs. */
async function secondsOfFiles(count, model) {
  const [folder, some] = [mkdtempSync(join(tmpdir(), "soundspot-bench-")), 100];
  try {
    const media = join(folder, "media");
    const written = await seconds(() => writeMedia(media, some));
    const index = await SearchIndex.create(join(folder, "index"), { model });
    const made = await seconds(() => index.update({ model, folder: media }));
    const name = readdirSync(media, { recursive: true }).find((each) => each.endsWith(".wav"));
    const ask = (options) => index.search({ audio: join(media, name), model, k: DEPTH, ...options });
    await ask({});
    const asking =
      QUERIES * (await seconds(() => ask({}))) + 50 * (await seconds(() => ask({ localize: true })));
    return (count / some) * (written + made) + asking;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Rows about an index of files. */
async function ofFiles(count, checkpoint, title, report) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const model = checkpoint ? await Model.load(checkpoint) : await Model.create(presets.scratch.model);
  try {
    const [media, place] = [join(folder, "media"), join(folder, "index")];
    report.expect(await secondsOfFiles(count, model), 9);
    report.table(title, fileColumns, [52, 24]);
    const rows = [];
    const row = (...cells) => {
      rows.push(cells);
      report.row(cells);
    };
    await writeMedia(media, count, report.step("writing scenes"));
    let progress = report.step("indexing");
    const index = await SearchIndex.create(place, { model });
    const made = await seconds(() => index.update({ model, folder: media, onProgress: progress }));
    row(
      `${2 * count} files encoded and written`,
      `${made.toFixed(1)} s, ${((2 * count) / made).toFixed(0)} files/s`,
    );
    const again = await seconds(() => index.update({ model, folder: media }));
    row("updated, nothing changed", `${again.toFixed(2)} s`);
    const disk = mebibytes(place);
    row("on the disk", `${disk.toFixed(1)} MiB`);
    progress = report.step("searching");
    const audioFiles = readdirSync(media, { recursive: true }).filter((name) => name.endsWith(".wav"));
    const every = Math.max(1, Math.floor(audioFiles.length / QUERIES));
    const queries = audioFiles.filter((_, i) => i % every === 0).slice(0, QUERIES);
    const ask = (options) => (name) =>
      index.search({ audio: join(media, name), model, k: DEPTH, ...options });
    const ms = ({ p50, p99 }) => `${p50.toFixed(1)} and ${p99.toFixed(1)} ms`;
    const plain = await asked(queries, ask({}), progress);
    row("ten images for an audio file, p50 and p99", ms(plain));
    const boxed = await asked(queries.slice(0, 50), ask({ localize: true }), progress);
    row("the same with a box in each", ms(boxed));
    const labelled = queries.map((name, i) => plain.answers[i].filter(({ label }) => name.startsWith(label)));
    const same = labelled.flat().length / plain.answers.flat().length;
    row("of the ten, share with the audio's label", `${(100 * same).toFixed(1)} %`);
    report.step("dividing the index");
    await asDivided(place, queries, plain.answers, row);
    return rows;
  } finally {
    model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The index of files, divided as if there were many more. Vectors of audio lie elsewhere than those of images, so the
 * partitions near a query may not be those of the nearest images.
 */
async function asDivided(place, queries, exact, row) {
  const lancedb = require("@lancedb/lancedb");
  const connection = await lancedb.connect(join(place, "tables"));
  const [images, audio] = [await connection.openTable("images"), await connection.openTable("sounds")];
  const partitions = Math.max(1, Math.round((await images.countRows()) / 100));
  const config = lancedb.Index.ivfFlat({
    distanceType: "cosine",
    numPartitions: partitions,
    sampleRate: 64,
    maxIterations: 15,
  });
  await images.createIndex("vector", { config, replace: true });
  const vectors = [];
  for (const name of queries) {
    const path = name.split("\\").join("/").replaceAll("'", "''");
    const [{ vector }] = await audio.query().where(`path = '${path}'`).select(["vector"]).toArray();
    vectors.push(Float32Array.from(vector));
  }
  const ids = exact.map((results) => results.map(({ id }) => id));
  for (const share of [0.05, 0.1, 0.2]) {
    const probes = Math.max(1, Math.round(share * partitions));
    const found = [];
    for (const vector of vectors) {
      const query = images.vectorSearch(vector).distanceType("cosine").nprobes(probes);
      found.push((await query.select(["id", "_distance"]).limit(DEPTH).toArray()).map(({ id }) => id));
    }
    row(`recall@10 of audio, ${probes} of ${partitions} partitions read`, recall(found, ids).toFixed(4));
  }
  connection.close();
}

/** Numbers in [0, 1), the same in every run. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Vectors of length 1 around random centres, as far from their centre as the centres are from zero. */
function clusters() {
  const draw = generator(1);
  let spare;
  const normal = () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const [radius, angle] = [Math.sqrt(-2 * Math.log(1 - draw())), 2 * Math.PI * draw()];
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  const centres = Float32Array.from({ length: CLUSTERS * DIM }, normal);
  return (count) => {
    const vectors = new Float32Array(count * DIM);
    for (let i = 0; i < count; i++) {
      const centre = DIM * Math.floor(CLUSTERS * draw());
      const vector = vectors.subarray(i * DIM, (i + 1) * DIM);
      let square = 0;
      for (let d = 0; d < DIM; d++) {
        vector[d] = centres[centre + d] + normal();
        square += vector[d] ** 2;
      }
      for (let d = 0; d < DIM; d++) vector[d] /= Math.sqrt(square);
    }
    return vectors;
  };
}

const rowsOf = (data) =>
  Array.from({ length: data.length / DIM }, (_, i) => data.subarray(i * DIM, (i + 1) * DIM));

/** Writes vectors into a table and finds the exact nearest of each query meanwhile. */
async function writeVectors(connection, count, drawSome, queries, progress) {
  const arrow = require("apache-arrow");
  const list = new arrow.FixedSizeList(DIM, new arrow.Field("item", new arrow.Float32(), true));
  const fields = [new arrow.Field("id", new arrow.Int32(), false), new arrow.Field("vector", list, false)];
  const schema = new arrow.Schema(fields);
  const table = await connection.createEmptyTable("vectors", schema, { mode: "overwrite" });
  const best = queries.map(() => []);
  for (let from = 0; from < count; from += CHUNK) {
    const length = Math.min(CHUNK, count - from);
    const data = drawSome(length);
    const gallery = rowsOf(data);
    const near = await metrics.nearestNeighbours(queries, gallery, DEPTH);
    for (const [q, found] of near.entries()) {
      for (const i of found) {
        const cosine = gallery[i].reduce((sum, value, d) => sum + value * queries[q][d], 0);
        best[q].push({ cosine, id: from + i });
      }
      best[q] = best[q].sort((a, b) => b.cosine - a.cosine).slice(0, DEPTH);
    }
    const child = arrow.makeData({ type: new arrow.Float32(), data });
    const vectors = arrow.makeData({ type: list, length, nullCount: 0, child });
    const ids = arrow.makeData({
      type: new arrow.Int32(),
      data: Int32Array.from({ length }, (_, i) => from + i),
    });
    const type = new arrow.Struct(fields);
    const batch = new arrow.RecordBatch(
      schema,
      arrow.makeData({ type, length, nullCount: 0, children: [ids, vectors] }),
    );
    await table.add(new arrow.Table(schema, [batch]));
    progress?.(from + length, count);
  }
  return { table, exact: best.map((found) => found.map(({ id }) => id)) };
}

/** Indices, each with several queries. `ours` is that of src/search/tables.ts. */
function variantsOf(Index, count) {
  const common = { distanceType: "cosine", sampleRate: 64, maxIterations: 15 };
  const partitions = { ...common, numPartitions: Math.max(1, Math.round(count / 1000)) };
  return {
    flat: {
      name: "IVF",
      make: () => Index.ivfFlat(partitions),
      asks: [
        ["20 of 1000 partitions read", (query) => query.nprobes(20)],
        ["50 of 1000", (query) => query.nprobes(50)],
        ["100 of 1000, ours", (query) => query.nprobes(100)],
      ],
    },
    pq: {
      name: "IVF and PQ, 64 bytes",
      make: () => Index.ivfPq({ ...partitions, numSubVectors: 64 }),
      asks: [
        ["100 of 1000 partitions read", (query) => query.nprobes(100)],
        ["the same, refined out of 100", (query) => query.nprobes(100).refineFactor(10)],
        ["the same, refined out of 300", (query) => query.nprobes(100).refineFactor(30)],
      ],
    },
    hnsw: {
      name: "HNSW and SQ",
      make: () => Index.hnswSq({ ...common, numPartitions: 20, m: 16, efConstruction: 100 }),
      asks: [
        [
          "5 of 20 partitions, ef 300, refined out of 50",
          (query) => query.nprobes(5).ef(300).refineFactor(5),
        ],
        ["20 of 20 partitions, the same", (query) => query.nprobes(20).ef(300).refineFactor(5)],
      ],
    },
  };
}

/** Seconds of writing the vectors, by a twentieth of a chunk. The indices are not in it. */
async function secondsOfWriting(connection, count, drawSome, queries) {
  const some = Math.min(count, CHUNK / 20);
  return (count / some) * (await seconds(() => writeVectors(connection, some, drawSome, queries)));
}

async function ofVectors(count, names, title, report) {
  const lancedb = require("@lancedb/lancedb");
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  try {
    const drawSome = clusters();
    const queries = rowsOf(drawSome(QUERIES));
    const connection = await lancedb.connect(folder);
    const rowCount = names.reduce((sum, name) => sum + variantsOf(lancedb.Index, count)[name].asks.length, 1);
    // Drawn by a generator of its own: the vectors are the same in every run.
    report.expect(await secondsOfWriting(connection, count, clusters(), queries), rowCount);
    report.note("and the building of each index, whose time is in its row");
    report.table(title, vectorColumns, [20, 48]);
    const progress = report.step("writing vectors");
    const { table, exact } = await writeVectors(connection, count, drawSome, queries, progress);
    report.step("comparing all");
    const ask = (how) => async (vector) => {
      const query = how(table.vectorSearch(vector).distanceType("cosine"));
      return (await query.select(["id", "_distance"]).limit(DEPTH).toArray()).map(({ id }) => id);
    };
    const rows = [];
    const row = (cells) => {
      rows.push(cells);
      report.row(cells);
    };
    const bare = mebibytes(folder);
    const some = queries.slice(0, 20); // each reads everything
    const all = await asked(
      some,
      ask((query) => query.bypassVectorIndex()),
    );
    const figures = ({ p50, p99, answers }, nearest) => [
      recall(answers, nearest).toFixed(4),
      p50.toFixed(1),
      p99.toFixed(1),
    ];
    row([
      "none",
      `comparing all, ${some.length} queries`,
      "",
      bare.toFixed(0),
      ...figures(all, exact.slice(0, some.length)),
    ]);
    const variants = variantsOf(lancedb.Index, count);
    for (const name of names) {
      const { name: title, make, asks } = variants[name];
      const before = mebibytes(folder);
      report.step(`building ${title}`);
      const built = await seconds(() =>
        table.createIndex("vector", { config: make(), replace: true, waitTimeoutSeconds: 3600 }),
      );
      const disk = mebibytes(folder) - before;
      for (const [how, apply] of asks) {
        const measured = await asked(queries, ask(apply), report.step(`searching ${title}`));
        row([title, how, built.toFixed(0), disk.toFixed(0), ...figures(measured, exact)]);
      }
    }
    connection.close();
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function search({
  count = 10_000,
  vectors = 1_000_000,
  variants = ["flat", "pq", "hnsw"],
  model,
  report,
}) {
  process.env.LANCEDB_LOG ??= "error";
  const tables = [];
  if (count > 0) {
    const weights = model ? "trained" : "random";
    const title = `${count} image files and ${count} audio files of drawn scenes, preset scratch, ${weights} weights`;
    tables.push({ title, columns: fileColumns, rows: await ofFiles(count, model, title, report) });
  }
  if (vectors > 0) {
    const title = `${vectors} vectors of ${DIM}, ${CLUSTERS} clusters, ${QUERIES} queries`;
    tables.push({ title, columns: vectorColumns, rows: await ofVectors(vectors, variants, title, report) });
  }
  return { tables };
}
