// Drawn scenes as files, as a dataset on disk has them.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { encodeWav } from "../../dist/index.js";

/** Files written at a time. */
const AT_ONCE = 100;

/**
 * Writes every scene as JPEG and WAV.
 *
 * @param folder
 * @param data of `datasets.scenes`
 * @param options `nameOf(sample, index)` gives the path in `folder` without its ending; `scale` enlarges the images
 * @returns the names
 */
export async function writeScenes(folder, data, { nameOf, scale = 1, progress }) {
  const names = [];
  for (let from = 0; from < data.length; from += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, data.length - from) }, async (_, i) => {
      const sample = await data.load(from + i);
      const name = nameOf(sample, from + i);
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      const { data: pixels, width, height } = sample.image;
      await sharp(pixels, { raw: { width, height, channels: 3 } })
        .resize(scale * width)
        .jpeg({ quality: 90 })
        .toFile(`${path}.jpg`);
      writeFileSync(`${path}.wav`, encodeWav(sample.audio));
      return name;
    });
    names.push(...(await Promise.all(some)));
    progress?.(from, data.length);
  }
  await data.close?.();
  return names;
}
