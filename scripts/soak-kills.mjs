// Kills processes at random times, runs them again until they end, and compares their files with an undisturbed run.
//
//   node scripts/soak-kills.mjs [--train 200] [--prepare 40] [--shards 40] [--index 40] [--seed 1]
//
// The numbers are kills. It ends with code 1 at the first difference, and leaves its folder for inspection.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { datasets, Model, prepareVideos, SearchIndex, train } from "../dist/index.js";

const program = fileURLToPath(import.meta.url);
const say = (text) => process.stdout.write(`${text}\n`);

const tiny = {
  imageSize: 32,
  imageStages: 2,
  imageStride: 8,
  imageWidth: 8,
  audioStages: 2,
  audioWidth: 4,
  dim: 16,
  method: { name: "joint-slot-attention", iterations: 2 },
  audio: { seconds: 0.5 },
};

/** A bar whose position depends on the pitch. */
function pair(index) {
  const side = 36;
  const kind = index % 4;
  const data = new Uint8Array(side * side * 3).map((_, i) => (i * (index + 3) * 31) % 64);
  for (let y = 0; y < side; y++) data.fill(250, (y * side + kind * 9) * 3, (y * side + kind * 9 + 8) * 3);
  const samples = Float32Array.from(
    { length: 8000 },
    (_, i) => 0.5 * Math.sin(i * 0.05 * (kind + 1) + index),
  );
  return {
    id: String(index),
    image: { data, width: side, height: side },
    audio: { samples, sampleRate: 16_000 },
    boxes: [{ x: kind * 9, y: 0, width: 8, height: side }],
  };
}

const pairs = (length) => ({ name: "bars", length, load: async (index) => pair(index) });

/** 16-bit mono of 16 kHz. */
function wav({ samples, sampleRate }) {
  const bytes = Buffer.alloc(44 + samples.length * 2);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(sampleRate, 24);
  bytes.writeUInt32LE(sampleRate * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(samples.length * 2, 40);
  samples.forEach((value, i) => {
    bytes.writeInt16LE(Math.round(value * 32_767), 44 + i * 2);
  });
  return bytes;
}

/** Every file below a folder with its SHA-256. */
function contents(folder) {
  const files = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile())
      files[relative(folder, path)] = createHash("sha256").update(readFileSync(path)).digest("hex");
  }
  return files;
}

const linesOf = (path) => readFileSync(path, "utf8").trimEnd().split("\n");

async function loadAll(manifest) {
  if (!existsSync(manifest) || statSync(manifest).size === 0) return;
  const data = await datasets.manifest({ path: manifest });
  for (let i = 0; i < data.length; i++) await data.load(i);
}

/** The works that are killed. `usable` checks the files after a kill, `result` reads the final ones. */
const works = {
  train: {
    async run(output) {
      const onStep = ({ step }) => say(`step ${step}`);
      const onEvaluationProgress = (done) => say(`evaluated ${done}`);
      const common = { data: pairs(14), evaluation: pairs(40), model: tiny, output, resume: true };
      const recipe = { epochs: 3, batchSize: 2, learningRate: 2e-3, falseNegatives: { k: 1 } };
      await train({ ...common, ...recipe, checkpointSteps: 2, keepEvery: 2, onStep, onEvaluationProgress });
    },
    async usable(output) {
      for (const name of readdirSync(output).filter((each) => each.endsWith(".safetensors")))
        (await Model.load(join(output, name))).dispose();
    },
    result: contents,
    phase(said, output) {
      const torn = existsSync(output) && readdirSync(output).find((name) => /\.\d+\.tmp$/.test(name));
      if (torn) return "while a checkpoint was half-written";
      if (said === "") return "while it started";
      return /evaluated \d+\n$/.test(said) ? "in or after an evaluation" : "between steps";
    },
  },
  prepare: {
    async run(output, { videos }) {
      const labels = "folder";
      await prepareVideos({ input: videos, output, labels, workers: 2, onProgress: (n) => say(`done ${n}`) });
    },
    async usable(output) {
      for (const folder of ["frames", "audio"].map((name) => join(output, name)).filter(existsSync))
        for (const name of readdirSync(folder)) {
          const path = join(folder, name);
          if (folder.endsWith("frames")) await sharp(path, { failOn: "warning" }).stats();
          else if (readFileSync(path).readUInt32LE(4) + 8 !== statSync(path).size)
            throw new Error(`${path} is torn`);
        }
      await loadAll(join(output, "manifest.jsonl"));
    },
    result: contents,
    phase: (said) => (said === "" ? "while it started" : "while it prepared"),
  },
  shards: {
    async run(output, { videos }) {
      const onProgress = (n) => say(`done ${n}`);
      const how = { labels: "folder", workers: 2, shards: true, shardSize: 3 };
      await prepareVideos({ input: videos, output, ...how, onProgress });
    },
    async usable(output) {
      for (const name of readdirSync(output).filter((each) => each.endsWith(".tar")))
        execFileSync("tar", ["-tf", join(output, name)], { stdio: ["ignore", "ignore", "pipe"] });
      const index = join(output, "shardindex.json");
      if (!existsSync(index)) return;
      const data = await datasets.shards({ index });
      for (let i = 0; i < data.length; i++) await data.load(i);
      await data.close?.();
    },
    // The archive of a sample depends on the order in which samples were finished.
    async result(output) {
      const data = await datasets.shards({ index: join(output, "shardindex.json") });
      const samples = {};
      for (let i = 0; i < data.length; i++) {
        const { id: path, label, image, audio } = await data.load(i);
        const id = path.split("/").at(-1);
        const hash = createHash("sha256").update(image.data).update(Buffer.from(audio.samples.buffer));
        if (samples[id]) throw new Error(`${id} occurs twice`);
        samples[id] = `${label} ${hash.digest("hex")}`;
      }
      const other = readdirSync(output)
        .filter((name) => !name.startsWith("shard-"))
        .sort();
      const listed = linesOf(join(output, "manifest.jsonl")).map((line) => JSON.parse(line).id);
      return { samples: Object.fromEntries(Object.entries(samples).sort()), listed, other };
    },
    phase: (said) => (said === "" ? "while it started" : "while it prepared"),
  },
  index: {
    async run(output, { media, model: weights }) {
      const model = await Model.load(weights);
      const folder = `${output}.media`;
      mkdirSync(folder, { recursive: true });
      const index = (await SearchIndex.exists(output))
        ? await SearchIndex.open(output)
        : await SearchIndex.create(output, { model });
      const names = readdirSync(media).sort();
      const batch = names.length / 4;
      for (let from = 0; from < names.length; from += batch) {
        for (const name of names.slice(from, from + batch)) cpSync(join(media, name), join(folder, name));
        // The first file of each batch becomes another, and the second goes away again.
        cpSync(join(media, names[(from + 5) % names.length]), join(folder, names[from]));
        await index.update({ model, folder });
        rmSync(join(folder, names[from + 1]));
        say(`updated ${from}`);
      }
      await index.update({ model, folder });
      index.close();
      model.dispose();
    },
    async usable(output, { model: weights }) {
      if (!(await SearchIndex.exists(output))) return;
      const index = await SearchIndex.open(output);
      const model = await Model.load(weights);
      const { images } = await index.count();
      const found = await index.search({ model, audio: pair(1).audio, k: 1000 });
      index.close();
      model.dispose();
      if (found.length !== images) throw new Error(`${found.length} of ${images} images are found`);
    },
    async result(output, { model: weights }) {
      const index = await SearchIndex.open(output);
      const model = await Model.load(weights);
      const k = 1000;
      const all = [
        ...(await index.search({ model, audio: pair(1).audio, k })),
        ...(await index.search({ model, image: pair(1).image, k })),
      ];
      index.close();
      model.dispose();
      const found = all.map(({ id, name, score }) => `${id} ${name} ${score}`).sort();
      return { found, files: readdirSync(output).sort() };
    },
    phase: (said) => (said === "" ? "while it started or made the first update" : "in a later update"),
  },
};

function* randoms(seed) {
  for (let state = (seed * 16_807) % 2_147_483_647 || 1; ; state = (state * 48_271) % 2_147_483_647)
    yield state / 2_147_483_647;
}

/** Runs the work in its own process, which is passed to `disturb` once it is started. */
async function runChild(name, output, inputs, disturb = () => undefined) {
  const args = [program, "--child", name, "--output", output, "--inputs", JSON.stringify(inputs)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const outcome = { said: "", errors: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => {
    outcome.said += text;
    child.emit("said", text);
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    outcome.errors += text;
  });
  const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal })));
  disturb(child);
  return { ...outcome, ...(await ended), said: outcome.said };
}

/** Names of the incomplete files below a folder. */
function unfinished(folder) {
  try {
    const names = readdirSync(folder, { recursive: true });
    return names.filter((name) => /\.tmp$|\.soundspot-/.test(name)).join();
  } catch {
    return ""; // not there yet, or changed meanwhile
  }
}

/**
 * A process that is killed while it writes its lock leaves part of one, without its owner: the next run removes it when
 * it is a minute old. Makes such files that old, and counts them.
 */
function ageLocks(folder) {
  const torn = readdirSync(folder).filter((name) => /\.lock\.[\da-f-]{36}$/.test(name));
  for (const name of torn) utimesSync(join(folder, name), 0, 0);
  return torn.length;
}

/** Kills at a random moment: half the time after some time, else some milliseconds after a word of the process. */
function killer(random, milliseconds, output) {
  const next = () => random.next().value;
  const kind = next();
  return (child) => {
    const kill = () => child.kill("SIGKILL");
    if (kind < 0.5) {
      const timer = setTimeout(kill, next() * milliseconds);
      child.once("close", () => clearTimeout(timer));
    } else if (kind < 0.75) {
      let words = Math.floor(next() * 10);
      const pause = next() * 15;
      child.on("said", () => words-- <= 0 && setTimeout(kill, pause));
    } else {
      // As soon as an incomplete file exists.
      let files = Math.floor(next() * 8);
      let before = "";
      const look = async () => {
        while (child.exitCode === null && child.signalCode === null) {
          const torn = unfinished(output);
          if (torn && torn !== before && files-- <= 0) return kill();
          before = torn;
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      void look();
    }
  };
}

async function soak(name, kills, folder, inputs, seed) {
  const work = works[name];
  const whole = join(folder, `${name}-whole`);
  const begun = performance.now();
  const first = await runChild(name, whole, inputs);
  if (first.code !== 0) throw new Error(`${name} fails undisturbed: ${first.errors}`);
  const taken = performance.now() - begun;
  const expected = JSON.stringify(await work.result(whole, inputs));
  const random = randoms(seed);
  const phases = {};
  let [killed, resumed, runs] = [0, 0, 0];
  const started = performance.now();
  while (killed < kills) {
    const output = join(folder, `${name}-${runs}`);
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) resumed++;
      const calm = killed >= kills;
      const outcome = await runChild(name, output, inputs, calm ? undefined : killer(random, taken, output));
      if (outcome.signal !== "SIGKILL") {
        if (outcome.code !== 0) throw new Error(`${output}: code ${outcome.code}: ${outcome.errors}`);
        break;
      }
      killed++;
      const phase = work.phase(outcome.said, output);
      phases[phase] = (phases[phase] ?? 0) + 1;
      if (existsSync(output)) await work.usable(output, inputs);
    }
    if (ageLocks(output) > 0) {
      const outcome = await runChild(name, output, inputs);
      if (outcome.code !== 0) throw new Error(`${output}: code ${outcome.code}: ${outcome.errors}`);
    }
    const actual = JSON.stringify(await work.result(output, inputs));
    if (actual !== expected) {
      writeFileSync(join(folder, "expected.json"), expected);
      writeFileSync(join(folder, "actual.json"), actual);
      throw new Error(`${output} differs from ${whole}: see expected.json and actual.json in ${folder}`);
    }
    runs++;
    console.error(`${name}: ${killed} of ${kills} kills, ${runs} runs`);
    rmSync(output, { recursive: true });
    rmSync(`${output}.media`, { recursive: true, force: true });
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  say(`${name}: ${killed} kills, ${resumed} resumes, ${runs} runs in ${seconds} s, all as undisturbed`);
  for (const [phase, count] of Object.entries(phases)) say(`  ${phase}: ${count}`);
}

/** Videos, images and audio files as inputs. */
async function makeInputs(folder) {
  const [videos, media, weights] = ["videos", "media", "model.safetensors"].map((name) => join(folder, name));
  const model = await Model.create(tiny, { seed: 1 });
  await model.save(weights);
  model.dispose();
  mkdirSync(media);
  for (let i = 0; i < 24; i++) {
    const { image, audio } = pair(i);
    const { data, width, height } = image;
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(join(media, `${i}.png`));
    writeFileSync(join(media, `${i}.wav`), wav(audio));
  }
  const ffmpeg = process.env.FFMPEG_PATH ?? (await import("@ffmpeg-installer/ffmpeg")).default.path;
  for (let i = 0; i < 14; i++) {
    const place = join(videos, `class ${i % 3}`);
    mkdirSync(place, { recursive: true });
    const frames = ["-f", "lavfi", "-i", `testsrc=size=64x48:rate=5:duration=1,hue=h=${i * 20}`];
    const audio = ["-f", "lavfi", "-i", `sine=frequency=${200 + i * 40}:duration=1`];
    const args = ["-nostdin", "-v", "error", ...frames, ...audio, "-shortest", join(place, `clip ${i}.mp4`)];
    execFileSync(ffmpeg, args);
  }
  return { videos, media, model: weights };
}

const { values } = parseArgs({
  options: {
    train: { type: "string", default: "200" },
    prepare: { type: "string", default: "40" },
    shards: { type: "string", default: "40" },
    index: { type: "string", default: "40" },
    seed: { type: "string", default: "1" },
    child: { type: "string" },
    output: { type: "string" },
    inputs: { type: "string" },
  },
});

if (values.child) {
  await works[values.child].run(values.output, JSON.parse(values.inputs));
} else {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-soak-kills-"));
  say(`seed ${values.seed}, in ${folder}`);
  try {
    const inputs = await makeInputs(folder);
    for (const name of Object.keys(works))
      if (Number(values[name]) > 0)
        await soak(name, Number(values[name]), folder, inputs, Number(values.seed));
    await sleep(200); // killed processes may still be running
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}
