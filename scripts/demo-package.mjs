/**
 * The package `@soundspot/demo-model`: a small trained checkpoint and one scene, as data alone. `soundspot` has it as an
 * optional dependency of its own version.
 *
 *   model.safetensors   the checkpoint; its metadata marks a demo model and has the scene's SHA-256
 *   scene/              image.png, audio.wav, and mask.png, which is white where the sounding object is
 *   figures.json        how it was trained and what it reaches on held-out scenes
 *   MODEL_CARD.md       the same to read
 *
 * Its package.json names these files in the field `demo`, where `Model.demo()` reads them.
 */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { NAMES, percent, shortfalls } from "./demo-floors.mjs";
import { SCOPE } from "./platform.mjs";

const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");

export const DEMO_MODEL = `${SCOPE}demo-model`;

/** Of the unpacked package. */
export const MOST_BYTES = 10_000_000;

/** Marks a demo model in the metadata of its checkpoint. */
export const DEMO_KEY = "soundspot.demo";

const FILES = {
  model: "model.safetensors",
  image: "scene/image.png",
  audio: "scene/audio.wav",
  mask: "scene/mask.png",
};

/**
 * The manifest of the package.
 *
 * @param {object} manifest package.json of the checkout.
 * @param {object} addresses Fields that name the repository, or none.
 */
export function demoManifest(manifest, addresses = {}) {
  return {
    name: DEMO_MODEL,
    version: manifest.version,
    description: `A small trained model and a scene to try ${manifest.name} with. It knows drawn scenes only.`,
    keywords: manifest.keywords,
    license: manifest.license,
    ...addresses,
    type: "commonjs",
    files: ["model.safetensors", "scene", "figures.json", "MODEL_CARD.md"],
    demo: FILES,
    publishConfig: { access: "public" },
  };
}

/**
 * Writes a scene's files into the folder of the package.
 *
 * @param {string} folder
 * @param {{ image: object, audio: object, mask: object }} scene A sample of `datasets.scenes`.
 * @param {(audio: object) => Uint8Array} encodeWav The package's own.
 * @returns {Promise<{ image: string, audio: string }>} Paths.
 */
export async function writeScene(folder, { image, audio, mask }, encodeWav) {
  mkdirSync(join(folder, "scene"), { recursive: true });
  const { width, height } = image;
  const png = (data, channels) =>
    sharp(data, { raw: { width, height, channels } }).png({ compressionLevel: 9 }).toBuffer();
  writeFileSync(join(folder, FILES.image), await png(image.data, 3));
  writeFileSync(
    join(folder, FILES.mask),
    await png(
      Uint8Array.from(mask.data, (each) => 255 * each),
      1,
    ),
  );
  writeFileSync(join(folder, FILES.audio), encodeWav(audio));
  return { image: join(folder, FILES.image), audio: join(folder, FILES.audio) };
}

const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

const usage = (main, standIn) => `# ${DEMO_MODEL}

A small trained model and one scene, to try \`${main}\` with. The package has data alone. \`npm install ${main}\` installs it as an optional dependency.
${standIn ? "\n**This is a stand-in with random weights, for tests. It is not for publication.**\n" : ""}
\`\`\`sh
npx soundspot localize --demo --output spot.png
npx soundspot serve --demo
\`\`\`

\`\`\`js
import { demoScene, Model } from "soundspot";

const model = await Model.demo();
const spot = await model.localize(demoScene());
\`\`\`

The model knows drawn scenes only: on a photograph it shows that everything works, not where the sound comes from. [MODEL_CARD.md](MODEL_CARD.md) says how it was trained and what it reaches. The guide of \`${main}\` says how to get a model for photographs.
`;

function card({ version, license, config, parameters, training, figures, scene, standIn }) {
  const rows = Object.entries(NAMES)
    .filter(([name]) => figures?.[name] !== undefined)
    .map(([name, title]) => `| ${title} | ${percent(figures[name])} |`);
  return `# Model card: ${DEMO_MODEL} ${version}

| | |
| --- | --- |
| Method | joint slot attention on image and audio |
| Parameters | ${parameters.toLocaleString("en")}, float32 |
| Image | ${config.imageSize} × ${config.imageSize} pixels, RGB |
| Audio | ${config.audio.seconds} s at ${config.audio.sampleRate.toLocaleString("en")} Hz |
| License | ${license} |

## Use

To try the package: is it installed, what do its maps and numbers look like. It knows ten classes of objects that \`datasets.scenes\` draws, and no photographs.

## Training

${
  standIn
    ? "None: this is a stand-in with random weights, for tests."
    : `Preset \`${training.preset}\`, random initial weights, seed ${training.seed}, ${training.scenes.toLocaleString("en")} drawn scenes seen once, no labels. No data of others was used.`
}

## Evaluation

${
  figures
    ? `On ${training.heldOut.toLocaleString("en")} held-out scenes, and ${training.twoObjects} with two objects in view:

| | |
| --- | ---: |
${rows.join("\n")}`
    : "None."
}

## Scene

\`scene/\` has number ${scene.index} of the held-out scenes with two objects in view; the ${scene.label} sounds.${
    scene.iou === undefined
      ? ""
      : ` It is the first one whose mask overlaps with the model's by at least a half (IoU ${scene.iou.toFixed(2)}) with a confidence of at least 0.5 (${scene.confidence.toFixed(2)}).`
  }
`;
}

/**
 * Completes the folder of the package, in which the scene lies already.
 *
 * @param {object} options
 * @param {string} options.folder
 * @param {object} options.model A `Model`.
 * @param {{ index: number, label: string, iou?: number, confidence?: number }} options.scene
 * @param {object} [options.training] What it was trained with.
 * @param {object} [options.figures] What it reaches; without them it is a stand-in.
 */
export async function writeDemoModel({ folder, model, scene, training, figures }) {
  const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  const standIn = figures === undefined;
  const [image, audio] = [FILES.image, FILES.audio].map((name) => sha256(join(folder, name)));
  const mark = { data: "scenes", scene: { image, audio } };
  await model.save(join(folder, FILES.model), { metadata: { [DEMO_KEY]: JSON.stringify(mark) } });
  const trained = (await model.parameters()).filter(({ trainable }) => trainable);
  const parameters = trained.reduce((sum, { data }) => sum + data.length, 0);
  const { version, license } = manifest;
  const facts = { version, parameters, standIn, training, figures, scene };
  writeFileSync(join(folder, "figures.json"), `${JSON.stringify(facts, null, 2)}\n`);
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(demoManifest(manifest), null, 2)}\n`);
  writeFileSync(join(folder, "README.md"), usage(manifest.name, standIn));
  writeFileSync(join(folder, "MODEL_CARD.md"), card({ ...facts, license, config: model.config }));
  copyFileSync(join(PACKAGE, "LICENSE"), join(folder, "LICENSE"));
}

/** Bytes of all files in a folder. */
export function bytesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

/**
 * Copies the written package to where packages are published from.
 *
 * @param {string} from
 * @param {string} to
 * @param {{ manifest: object, addresses: object, complete: boolean }} options `complete` rejects stand-ins.
 * @throws {Error} that says what is wrong with it.
 */
export function copyDemoModel(from, to, { manifest, addresses, complete }) {
  const again = "run `npm run demo-model`";
  const lacking = [...Object.values(FILES), "figures.json", "MODEL_CARD.md", "README.md", "LICENSE"].filter(
    (name) => !existsSync(join(from, name)),
  );
  if (lacking.length > 0) throw new Error(`${from} lacks ${lacking.join(", ")}: ${again}.`);
  const { version, standIn, figures } = JSON.parse(readFileSync(join(from, "figures.json"), "utf8"));
  if (version !== manifest.version) {
    throw new Error(`${from} is of version ${version}, and this of ${manifest.version}: ${again}.`);
  }
  if (complete) {
    if (standIn) throw new Error(`${from} is a stand-in with random weights: ${again}.`);
    const short = shortfalls(figures ?? {});
    if (short.length > 0) throw new Error(`The model in ${from} is too weak: ${short.join("; ")}.`);
  }
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true });
  writeFileSync(join(to, "package.json"), `${JSON.stringify(demoManifest(manifest, addresses), null, 2)}\n`);
  const bytes = bytesIn(to);
  if (bytes > MOST_BYTES) throw new Error(`${from} has ${bytes} bytes; at most ${MOST_BYTES} are published.`);
}
