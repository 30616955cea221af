/** One random file: `localize` at random moments used the right frame and the right audio. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { type Model, openMedia } from "../../src/index.js";
import { usedBy } from "./media.js";
import {
  containers,
  frameShownAt,
  makeMedia,
  numberIn,
  random,
  specOf,
  TOLERANCE,
  wrongInAudio,
} from "./random-media.js";

/** @param moments How many are tried. */
export async function checkRandomFile(
  model: Model,
  folder: string,
  seed: number,
  moments = 4,
): Promise<void> {
  const spec = specOf(seed);
  const { frames, ...shortSpec } = spec;
  const name = `seed ${seed}: ${JSON.stringify({ ...shortSpec, frames: frames.length })}`;
  const path = join(folder, `${seed}.${containers[spec.container]?.ending}`);
  await makeMedia(spec, path, process.env.SOUNDSPOT_TEST_MAKER);
  const draw = random(seed + 1);
  await using media = await openMedia(path);
  const length = Math.max(
    spec.frames.length > 0 ? spec.seconds + Math.max(0, -spec.offset) : 0,
    Math.max(0, spec.offset) + spec.seconds,
  );
  expect(Math.abs(media.duration - length), `${name}, duration ${media.duration}`).toBeLessThan(
    0.15 + (spec.frames.length < spec.seconds * spec.rate ? 2 : 0),
  );
  for (let i = 0; i < moments; i++) {
    const at = draw() * media.duration;
    const [sample] = await usedBy(() => model.localize({ video: path, at }));
    const number = numberIn(sample?.image ?? { data: new Uint8Array(0), width: 0, height: 0 }, spec.rotation);
    const [early, late] = [frameShownAt(spec, at - TOLERANCE), frameShownAt(spec, at + TOLERANCE)];
    const right = number >= early && number <= late && spec.frames.includes(number);
    expect(right, `${name}, frame ${number} for ${early} … ${late} at ${at}`).toBe(true);
    const wrong = wrongInAudio(
      spec,
      sample?.audio ?? { samples: new Float32Array(0), sampleRate: 1 },
      sample?.from ?? 0,
    );
    expect(wrong, `${name}, audio at ${at}`).toEqual([]);
  }
  rmSync(path, { force: true });
}
