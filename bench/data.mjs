// Waiting for data in training: an epoch of the demo's recipe on pairs that are drawn on demand, decoded from JPEG and
// WAV files, or read from a store of decoded samples that an epoch before filled, between as many steps on batches that
// lie ready in memory.
//
// "× ready" is the rate over that of the ready batches, by the mean time of the runs of these before and after. A machine
// that others share changes its speed by several per cent in a minute, so epochs from a store are measured several
// times, each a row. A step on ready batches copies their samples into one tensor, about 1 % of its time; the samples of
// a batch from a store lie in one already.
//
// "from disk" is what the system had to read again, on Linux: where memory is short, or the system frees pages that were
// not read for a while, a store is not in its cache any more.
//
//   npm run bench -- data [--count N]
//
// --count pairs of an epoch (default 10,000).
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { datasets, Model, presets, Trainer, train } from "../dist/index.js";
import { writeScenes } from "./lib/scene-files.mjs";

// As `soundspot train` sets it before the addon is loaded.
if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= "3000";

const { scenes, manifest } = datasets;
const { imageSize, audio } = presets.scratch.model;
const { batchSize } = presets.scratch.train;
/** Batches that lie in memory, used in turns. */
const READY = 4;
/** Epochs from each store, after the one that fills it. */
const STORED = 3;
const columns = ["pairs", "s", "pairs/s", "× ready", "waiting, s", "share", "CPU ms/pair", "from disk, MB"];

const drawn = (length, options = {}) =>
  scenes({ size: imageSize, seconds: audio.seconds, length, ...options });

/** A dataset of files. @param scale of the images' size to the model's input */
async function files(folder, pairs, scale, progress) {
  const place = join(folder, String(scale));
  mkdirSync(place, { recursive: true });
  const nameOf = (_, index) => String(index).padStart(5, "0");
  const names = await writeScenes(place, drawn(pairs, { workers: 2 }), { nameOf, scale, progress });
  const path = join(place, "manifest.jsonl");
  const rows = names.map((id) => `${JSON.stringify({ id, image: `${id}.jpg`, audio: `${id}.wav` })}\n`);
  writeFileSync(path, rows.join(""));
  return manifest({ path });
}

/** MB that this process has read from disks, NaN where the system does not count them. */
function megabytesRead() {
  try {
    return Number(/^read_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1]) / 1e6;
  } catch {
    return Number.NaN;
  }
}

const usage = () => ({ cpu: process.cpuUsage(), disk: megabytesRead() });

/** What this process has used since: ms of processor time, MB read from disks. */
const usageSince = ({ cpu, disk }) => {
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / 1000, disk: megabytesRead() - disk };
};

/**
 * An epoch over a dataset, from the first batch's reading to the end of the last step: without the start of a run (the
 * model, opening the store), which `stepsOf` has before its time begins too.
 * @returns seconds, those of them that steps waited, and what was used
 */
async function epochOf(data, progress, store) {
  let measured;
  const model = await Model.create(presets.scratch.model);
  let before = usage();
  const started = () => {
    before = usage();
  };
  await train({
    preset: "scratch",
    model,
    epochs: 1,
    data,
    ...(store === undefined ? {} : { store, onStore: started }),
    onEpoch: ({ seconds, waited }) => {
      measured = { seconds, waited, used: usageSince(before) };
    },
    onStep: ({ step, totalSteps }) => progress?.(step, totalSteps),
  });
  model.dispose();
  return measured;
}

/** Batches of prepared samples. */
async function readyBatches(config) {
  const { addon } = await import("../scripts/addon.mjs");
  const data = drawn(READY * batchSize);
  const ready = [];
  for (let from = 0; from < data.length; from += batchSize) {
    const prepared = async (_, i) => {
      const { image, audio } = await data.load(from + i);
      return addon.prepare({ image, audio: { channels: 1, ...audio } }, config);
    };
    ready.push(await Promise.all(Array.from({ length: batchSize }, prepared)));
  }
  await data.close?.();
  return ready;
}

/** The same steps without data to read. */
async function stepsOf(pairs, progress) {
  const model = await Model.create(presets.scratch.model);
  const trainer = new Trainer(model, { ...presets.scratch.train, epochs: 1 });
  const ready = await readyBatches(model.config);
  const total = Math.floor(pairs / batchSize);
  const [before, started] = [usage(), performance.now()];
  for (let step = 0; step < total; step++) {
    await trainer.stepPrepared(ready[step % READY], { at: { step, total, epoch: step / total } });
    progress?.(step + 1, total);
  }
  const measured = { seconds: (performance.now() - started) / 1000, waited: 0, used: usageSince(before) };
  trainer.dispose();
  model.dispose();
  return measured;
}

/** Seconds of everything, by a part of each work. */
async function expectedSeconds(folder, pairs, epochs) {
  const [taken, written] = [4 * batchSize, 200];
  const few = drawn(taken);
  const { seconds } = await epochOf(few);
  await few.close();
  const started = performance.now();
  await files(join(folder, "few"), written, 1);
  return pairs * ((epochs * seconds) / taken + (2 * (performance.now() - started)) / 1000 / written);
}

export async function data({ count = 10_000, report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const title = `an epoch of ${count} pairs, preset scratch`;
  const rows = [];
  try {
    const writing = report.step("writing files");
    const fromFiles = (side, scale) => {
      const name = `JPEG of ${side} px and WAV`;
      const store = join(folder, `store-${side}`);
      const stored = Array.from({ length: STORED }, () => [`${name}, from the store`, store]);
      const epochs = [[name], [`${name}, filling a store`, store], ...stored];
      return [() => files(folder, count, scale, writing), epochs];
    };
    const sources = [
      [() => drawn(count), [["scenes, drawn on the way"]]],
      fromFiles(112, 1),
      fromFiles(448, 4),
    ];
    const epochs = sources.flatMap(([, each]) => each).length;
    report.expect(await expectedSeconds(folder, count, 2 * epochs + 1), 2 * epochs + 1);
    report.table(title, columns, [40]);
    const pairs = batchSize * Math.floor(count / batchSize);
    const show = (name, { seconds, waited, used }, ready) => {
      rows.push([
        name,
        seconds.toFixed(1),
        (pairs / seconds).toFixed(1),
        ready === undefined ? "" : (ready / seconds).toFixed(3),
        waited.toFixed(2),
        `${((100 * waited) / seconds).toFixed(2)} %`,
        (used.cpu / pairs).toFixed(2),
        Number.isNaN(used.disk) ? "–" : used.disk.toFixed(0),
      ]);
      report.row(rows.at(-1));
    };
    const ready = async () => {
      const measured = await stepsOf(count, report.step("batches in memory"));
      show("batches in memory", measured);
      return measured.seconds;
    };
    let before = await ready();
    for (const [open, each] of sources) {
      const source = await open();
      for (const [name, store] of each) {
        const measured = await epochOf(source, report.step(name), store);
        const after = await ready();
        show(name, measured, (before + after) / 2);
        before = after;
      }
      await source.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { title, table: { columns, rows } };
}
