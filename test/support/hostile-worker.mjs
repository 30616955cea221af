/**
 * Gives hostile files to the package, in a process of its own, and says on standard output what came of each:
 * node --expose-gc hostile-worker.mjs FOLDER-OF-THE-PACKAGE JOB.json
 */
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const [source, jobFile] = process.argv.slice(2);
const { files, good, model: checkpoint, config } = JSON.parse(readFileSync(jobFile, "utf8"));
const load = (name) => import(pathToFileURL(join(source, name)).href);
const { Model, SearchIndex, SoundspotError, datasets, parseModelConfig, parseTrainConfig } =
  await load("index.js");
const { readSettings } = await load("cli/settings.js");
const model = await Model.load(checkpoint);
const tiny = await Model.create(config);

const first = async (data) => (await data).load(0);
/** An annotation needs its dataset around it. */
const flickr = (path) => {
  const id = basename(path, ".xml");
  return first(datasets.flickrSoundNet({ root: good.root, list: [id], annotations: dirname(path) }));
};
const takers = {
  image: (path) => model.localize({ image: path, audio: good.audio }),
  audio: (path) => model.localize({ image: good.image, audio: path }),
  video: (path) => model.localize({ video: path }),
  checkpoint: (path) => Model.load(path),
  weights: (path) => tiny.loadImageWeights(path),
  shards: (path) => first(datasets.shards({ urls: path })),
  "shard index": (path) => first(datasets.shards({ index: path })),
  manifest: (path) => first(datasets.manifest({ path })),
  vggss: (path) => first(datasets.vggss({ root: good.root, annotations: path })),
  is3: (path) => first(datasets.is3({ root: good.root, annotations: path })),
  "kaist list": (path) => first(datasets.kaistList({ root: good.root, list: path })),
  flickr,
  settings: async (path) => {
    const { model: shape, train } = await readSettings(path);
    parseModelConfig(shape ?? {});
    parseTrainConfig(train ?? {});
  },
  "search index": async (path) => {
    const index = await SearchIndex.open(path);
    await index.search({ audio: good.audio, model });
  },
};

/** Bytes that this process and the programs that it has started hold. */
function held() {
  let bytes = process.memoryUsage.rss();
  try {
    for (const thread of readdirSync("/proc/self/task")) {
      for (const child of readFileSync(`/proc/self/task/${thread}/children`, "utf8")
        .split(" ")
        .filter(Boolean)) {
        bytes +=
          1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child}/status`, "utf8"))?.[1] ?? 0);
      }
    }
  } catch {
    // Elsewhere than on Linux, and of what has just ended, nothing is known.
  }
  return bytes;
}

async function attempt({ taker, path }) {
  globalThis.gc();
  const before = process.memoryUsage.rss();
  const peakBefore = process.resourceUsage().maxRSS;
  let most = before;
  const sampler = setInterval(() => {
    most = Math.max(most, held());
  }, 4);
  const begun = performance.now();
  const error = await takers[taker](path).then(
    () => undefined,
    (reason) => reason,
  );
  const seconds = (performance.now() - begun) / 1000;
  clearInterval(sampler);
  // What happened between two looks is in the peak of the process, when it is a new one.
  const peak = process.resourceUsage().maxRSS;
  if (peak > peakBefore) most = Math.max(most, 1024 * peak);
  return {
    typed: error instanceof SoundspotError,
    code: error?.code,
    message: error === undefined ? "nothing was wrong with it" : String(error.stack && error.message),
    seconds,
    bytes: Math.max(0, most - before),
  };
}

const localized = async () =>
  Array.from((await model.localize({ image: good.image, audio: good.audio })).heatmap);
const warmUp = async () => {
  await localized();
  await model.localize({ image: good.image, audio: good.encoded });
  await model.localize({ video: good.video });
};
mkdirSync(good.root, { recursive: true });
await warmUp();
await warmUp();
const before = await localized();
for (const file of files) {
  const tries = [await attempt(file), await attempt(file)];
  const [{ typed, code, message }] = tries;
  const least = (of) => Math.min(...tries.map((one) => one[of]));
  process.stdout.write(
    `${JSON.stringify({ ...file, got: code, typed, message, seconds: least("seconds"), bytes: least("bytes") })}\n`,
  );
}
const after = await localized();
const same = before.length > 0 && before.every((value, i) => Number.isFinite(value) && value === after[i]);
process.stdout.write(`${JSON.stringify({ same })}\n`);
