/**
 * The folder that the samples of the documentation are run in. It holds everything that they name, small: to give a
 * sample of a new document its files, add them to `makeWorld`, in the layout that the document says. Every document has
 * a copy of its own, in which its samples are run one after the other, so that one may use what those before it wrote.
 */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { stringify } from "yaml";
import { writeDemoModel, writeScene } from "../../../scripts/demo-package.mjs";
import { renderScene } from "../../../src/datasets/drawn/scenes.js";
import { heardClasses, silentObjects, unheardClasses } from "../../../src/datasets/drawn/stamp-catalogue.js";
import { writeShardIndex } from "../../../src/datasets/shards/shard-index.js";
import { Model } from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { tarEnd, tarEntry } from "../../../src/media/tar.js";
import { encodeWav } from "../../../src/media/wav.js";
import { writeSafetensors } from "../safetensors.js";
import { writeShards } from "../shards.js";
import { tiny } from "../tiny.js";
import { dict, stateDict, torchFile } from "../torch-file.js";
import { settings } from "./exceptions.js";
import { root } from "./samples.js";
import { PORT, SERVICE } from "./service.js";

export interface World {
  /** Holds the world, its copies, the built package and the program `npx`. */
  readonly folder: string;
  /** The files themselves; samples are run in copies. */
  readonly files: string;
  /** Folder to put before PATH: `npx soundspot` there is the built command. */
  readonly programs: string;
  readonly remove: () => void;
}

/** Makes the world and builds the package; some seconds. */
export async function makeWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-docs-"));
  const files = join(folder, "files");
  const programs = join(folder, "programs");
  mkdirSync(files);
  mkdirSync(programs);
  buildPackage(join(folder, "package"));
  writeFileSync(join(programs, "npx"), npx(join(folder, "package", "dist", "cli", "main.js")), {
    mode: 0o755,
  });
  const put = (name: string, content: string | Uint8Array) => {
    const path = join(files, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  };
  const media = await makeMedia(put);
  await putCheckpoints(files, put);
  putManifests(put, media);
  putBenchmarks(put, media);
  await putStamps(put, media);
  putVideos(put, media);
  mkdirSync(join(files, "clips"), { recursive: true });
  const shards = await writeShards(join(files, "clips"), 2, 4, async () => media);
  await writeShardIndex(
    join(files, "clips", "shardindex.json"),
    shards.map((path) => ({ place: path.slice(join(files, "clips").length + 1), samples: 4 })),
  );
  return { folder, files, programs, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A copy of the world that has the package in its node_modules. */
export function copyWorld({ folder, files }: World, name: string): string {
  const copy = join(folder, name);
  cpSync(files, copy, { recursive: true });
  mkdirSync(join(copy, "node_modules"), { recursive: true });
  symlinkSync(join(folder, "package"), join(copy, "node_modules", "soundspot"), "junction");
  return copy;
}

/** The package as npm would install it, built from src as it is now. */
function buildPackage(folder: string): void {
  mkdirSync(folder);
  for (const name of ["package.json", "tsup.config.ts", "tsconfig.json", "CMakeLists.txt", "examples"]) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  for (const name of ["src", "node_modules", "scripts", "build", "prebuilds", "vendor"]) {
    if (existsSync(join(root, name))) symlinkSync(join(root, name), join(folder, name), "junction");
  }
  const tsup = join(root, "node_modules", "tsup", "dist", "cli-default.js");
  execFileSync(process.execPath, [tsup, "--no-dts", "--silent"], { cwd: folder, stdio: "pipe" });
}

/**
 * `npx soundspot` as the shell finds it. A service goes on in the background until its document is done or starts
 * another one, and the next command waits until it has written its address. Whatever port a sample names, it takes a
 * free one, which is written to a file.
 */
const npx = (main: string) => `#!/usr/bin/env bash
if [ "$1" != soundspot ]; then echo "npx: there is no $1 here, only soundspot" >&2; exit 127; fi
shift
if [ "$1" != serve ] || [[ " $* " == *" --help "* ]]; then exec node "${main}" "$@"; fi
if [ -f ${SERVICE} ]; then
  kill "$(cat ${SERVICE})" 2> /dev/null
  while kill -0 "$(cat ${SERVICE})" 2> /dev/null; do sleep 0.1; done
fi
: > serve.log # before the service has started, so that the one before is not taken for it
node "${main}" "$@" --port 0 >> serve.log 2>&1 &
echo $! > ${SERVICE}
# However long it takes: who runs the sample ends what hangs.
until grep -q "http://" serve.log; do
  if ! kill -0 $! 2> /dev/null; then
    cat serve.log >&2
    exit 1
  fi
  sleep 0.1
done
sed -nE '/http:/{ s|.*http://[^:/]*:([0-9]+).*|\\1|p; q }' serve.log > ${PORT}
`;

type Put = (name: string, content: string | Uint8Array) => string;

interface Media {
  readonly jpeg: Uint8Array;
  readonly png: Uint8Array;
  /** White in the middle, 224 × 224 as benchmarks have it. */
  readonly mask: Uint8Array;
  /** The same of the image's size. */
  readonly ownMask: Uint8Array;
  readonly wav: Uint8Array;
  readonly mp3: Uint8Array;
  /** Four seconds. */
  readonly mp4: Uint8Array;
}

async function makeMedia(put: Put): Promise<Media> {
  const disc = Buffer.from(
    '<svg width="64" height="48"><rect width="64" height="48" fill="#468"/><circle cx="40" cy="24" r="12" fill="#fc0"/></svg>',
  );
  const square = Buffer.from(
    '<svg width="224" height="224"><rect width="224" height="224"/><rect x="60" y="60" width="100" height="100" fill="#fff"/></svg>',
  );
  const tone = Float32Array.from({ length: 32_000 }, (_, t) => 0.4 * Math.sin(t * (0.1 + 1e-6 * t)));
  const wav = encodeWav({ samples: tone, sampleRate: 16_000 });
  const { path: ffmpeg } = await findFfmpeg();
  const audio = put("dog.wav", wav);
  const make = (name: string, ...args: string[]) => {
    const output = put(name, "");
    execFileSync(ffmpeg, ["-v", "error", "-y", ...args, output]);
    return readFileSync(output);
  };
  const video = (name: string, size: string, seconds: number) => {
    const frames = `-f lavfi -i testsrc=s=${size}:r=5:d=${seconds}`;
    const sine = `-f lavfi -i sine=440:sample_rate=16000:duration=${seconds}`;
    const codecs = "-c:v libx264 -pix_fmt yuv420p -c:a aac";
    return make(name, ...`${frames} ${sine} ${codecs}`.split(" "));
  };
  const media = {
    jpeg: await sharp(disc).jpeg().toBuffer(),
    png: await sharp(disc).png().toBuffer(),
    mask: await sharp(square).png().toBuffer(),
    ownMask: await sharp(square).resize(64, 48, { fit: "fill" }).png().toBuffer(),
    wav,
    mp3: make("horn.mp3", "-i", audio),
    mp4: video("clip.mp4", "64x48", 4),
  };
  video("clips/train.mp4", "320x240", 14);
  for (const name of ["dog.jpg", "photo.jpg", "street.jpg"]) put(name, media.jpeg);
  for (const name of ["dog.png", "street.png"]) put(name, media.png);
  for (const name of ["pets/dog.jpg", "pets/wolf.jpg"]) put(name, media.jpeg);
  for (const name of ["pets/dog.wav", "pets/wolf.wav", "bark.wav"]) put(name, wav);
  for (const name of ["sound.wav", "horn.wav", "street.wav"]) put(name, wav);
  for (const name of ["a.mp4", "video.mp4"]) put(name, media.mp4);
  return media;
}

/** The demo model's package with the world's small model, as npm would install it beside soundspot. */
async function putDemoModel(files: string): Promise<void> {
  const folder = join(files, "node_modules", "@soundspot", "demo-model");
  const settings = { size: 64, seconds: 1, sampleRate: 16_000, sources: 2, props: 1, offscreen: 0 } as const;
  const scene = renderScene(settings, { seed: 0, split: "test", epoch: 0, index: 0 });
  await writeScene(folder, scene, encodeWav);
  using model = await Model.create(tiny);
  await writeDemoModel({ folder, model, scene: { index: 0, label: scene.label } });
}

async function putCheckpoints(files: string, put: Put): Promise<void> {
  using model = await Model.create(tiny);
  const first = put("model.safetensors", "");
  await model.save(first);
  await putDemoModel(files);
  const copies = [
    "a.safetensors",
    "b.safetensors",
    "models/current.safetensors",
    "runs/a/last.safetensors",
    "runs/c/last.safetensors",
    "runs/demo/last.safetensors",
    "runs/vggsound-144k/epoch-0001.safetensors",
    "runs/vggsound-144k/epoch-0002.safetensors",
  ];
  for (const name of copies) put(name, readFileSync(first));
  // Torchvision's file, for an encoder of this size. The ending says nothing: the content does.
  const image = (await model.parameters()).filter(({ name }) => /^imgnet\.(?!proj)/.test(name));
  writeSafetensors(
    join(files, "resnet18.pth"),
    image.map(({ name, shape, data }) => ({
      name: name.slice("imgnet.".length),
      shape,
      data: Float32Array.from(data),
    })),
  );
  // As a training program of other code leaves it.
  const published = (await model.parameters()).map(({ name, shape, data }) => ({
    name: `module.${name}`,
    shape,
    data: Float32Array.from(data),
  }));
  put("published/best.pth", torchFile(dict({ epoch: 100, model: stateDict(published) })));
  put("published/configs.json", JSON.stringify(tiny));
  for (const name of ["tiny.yaml", "a.yaml", "quarter.yaml", "stamps.yaml", "fine.yaml"])
    put(name, stringify(settings));
}

/** Pairs with annotations in lists, as docs/formats.md describes them. */
function putManifests(put: Put, { jpeg, wav, ownMask }: Media): void {
  const names = Array.from({ length: 8 }, (_, i) => (i % 2 ? "cat" : "dog") + i);
  for (const name of names) {
    put(`images/${name}.jpg`, jpeg);
    put(`audio/${name}.wav`, wav);
  }
  const rows = names.map((name) => ({
    image: `images/${name}.jpg`,
    audio: `audio/${name}.wav`,
    label: name.slice(0, 3),
    boxes: [[28, 12, 24, 24]],
  }));
  for (const list of ["train.jsonl", "test.jsonl", "data/test.jsonl"]) {
    const base = list.includes("/") ? "../" : "";
    const moved = rows.map((row) => ({ ...row, image: base + row.image, audio: base + row.audio }));
    put(list, moved.map((row) => `${JSON.stringify(row)}\n`).join(""));
  }
  put("images/dog.jpg", jpeg);
  put("audio/dog.wav", wav);
  put("masks/dog.png", ownMask);
}

const IDS = ["--0PQM4-hqg_000030", "a0000000001_000010", "b0000000002_000020", "c0000000003_000000"];

/** The benchmarks, as docs/datasets.md lays them out. */
function putBenchmarks(put: Put, { jpeg, png, mask, wav }: Media): void {
  const ids = `${IDS.join("\n")}\n`;
  const frames = (folder: string) => {
    for (const id of IDS) {
      put(`${folder}/frames/${id}.jpg`, jpeg);
      put(`${folder}/audio/${id}.wav`, wav);
    }
  };
  for (const folder of ["vggsound", "vggss", "flickr", "flickr/test", "flickr-test"]) frames(folder);
  for (const list of ["vggss_10k.txt", "vggss_144k.txt", "vggss_heard.txt", "vggsound_144k.csv"])
    put(list, ids);
  for (const list of ["vggss_heard_test.csv", "vggss_unheard_test.csv"]) put(list, ids);
  for (const list of ["flickr_10k.txt", "flickr_144k.txt", "flickr_test.csv", "flickr_test_SLAVC.csv"])
    put(list, ids);
  const classes = ["dog barking", "horn"];
  const labels = IDS.map((id, i) => `${id.slice(0, 11)},${Number(id.slice(12))},${classes[i % 2]},train\n`);
  put("vggsound.csv", labels.join(""));
  const boxes = [[0.3, 0.3, 0.8, 0.8]];
  put("vggss.json", JSON.stringify(IDS.map((file, i) => ({ file, class: classes[i % 2], bbox: boxes }))));
  const corners = ["xmin", "ymin", "xmax", "ymax"].map((tag, i) => `<${tag}>${i < 2 ? 64 : 192}</${tag}>`);
  const xml = `<annotation><bbox><who>a</who>${corners.join("")}</bbox></annotation>`;
  for (const folder of ["flickr/test", "flickr-test"]) {
    for (const id of IDS) put(`${folder}/Annotations/${id}.xml`, xml);
  }
  put("s4_meta_data.csv", "name,start,category,split\nclip,0,dog,test\n");
  put("ms3_meta_data.csv", "video_id,split\nclip,test\n");
  for (const subset of ["s4", "ms3"]) {
    for (const root of [subset, `avsbench/${subset}`]) {
      put(`${root}/audio_wav/clip.wav`, wav);
      for (const k of [1, 2, 3, 4, 5]) {
        put(`${root}/visual_frames/clip_${k}.png`, png);
        put(`${root}/gt_masks/clip_${k}.png`, mask);
      }
    }
  }
  const sources = ["1_dog", "1_horn"];
  for (const id of sources) {
    put(`IS3/images/${id}.jpg`, jpeg);
    put(`IS3/audio_wav/${id}.wav`, wav);
    put(`IS3/gt_segmentation/${id}.png`, mask);
  }
  const sourceOf = (id: string) => ({ image: `${id}.jpg`, audio: `${id}.wav`, gt_box: [60, 60, 160, 160] });
  put("IS3/IS3_annotation.json", JSON.stringify(sources.map(sourceOf)));
  for (const id of ["1_7", "1_8"]) {
    put(`COCO_AV_MS/visual_frames/${id}.jpg`, jpeg);
    put(`COCO_AV_MS/audio_wav/${id}.wav`, wav);
  }
  put("vpo_ms_bbox.json", JSON.stringify(["1_7", "1_8"].map(sourceOf)));
}

/** A small library in the layout of Tux Paint's packages. */
async function putStamps(put: Put, { jpeg, wav }: Media): Promise<void> {
  const heard = Object.values(heardClasses).slice(0, 3);
  const unheard = Object.values(unheardClasses).slice(0, 2);
  for (const [i, name] of [...heard, ...unheard].map(([first]) => first as string).entries()) {
    const inner = { r: 40 * i, g: 255 - 40 * i, b: 128, alpha: 1 };
    const cutout = sharp({ create: { width: 60, height: 40, channels: 4, background: inner } });
    const background = { r: 0, g: 0, b: 0, alpha: 0 };
    const margin = { top: 10, bottom: 10, left: 10, right: 10, background };
    put(`stamps/stamps/${name}.png`, await cutout.extend(margin).png().toBuffer());
    put(`stamps/stamps/${name}.ogg`, wav);
    put(`stamps/stamps/${silentObjects[i]}.png`, await cutout.extend(margin).png().toBuffer());
  }
  for (const name of ["rocks", "cliff"]) put(`stamps/templates/${name}.jpg`, jpeg);
}

/** What docs/preparing-data.md prepares. */
function putVideos(put: Put, { mp4 }: Media): void {
  for (const name of ["dog/1.mp4", "dog/2.mp4", "cat/1.mp4", "cat/2.mp4"]) put(`videos/${name}`, mp4);
  put("more/b.mp4", mp4);
  put("labels.csv", "id,label\n1,dog\n2,dog\ndog,dog\nwolf,wolf\n");
  const tar = (names: readonly string[]) =>
    Buffer.concat([...names.map((name) => tarEntry(name, mp4, new Date(0))), tarEnd]);
  put("clips.tar", tar(["horn/3.mp4"]));
  put("vggsound_00.tar.gz", gzipSync(tar(IDS.slice(0, 1).map((id) => `${id}.mp4`))));
  put("vggsound_01.tar.gz", gzipSync(tar(IDS.slice(1).map((id) => `${id}.mp4`))));
}
