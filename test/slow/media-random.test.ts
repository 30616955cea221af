/** 200 random media files, or `SOUNDSPOT_TEST_FILES` of them, from a seed that is printed or `SOUNDSPOT_TEST_SEED`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { Model } from "../../src/index.js";
import { checkRandomFile } from "../support/random-media-check.js";
import { tiny } from "../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-random-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let model: Model;
beforeAll(async () => {
  model = await Model.create({ ...tiny, audio: { seconds: 3 } }, { seed: 3 });
});

const first = Number(process.env.SOUNDSPOT_TEST_SEED ?? Date.now() % 1_000_000);
const files = Number(process.env.SOUNDSPOT_TEST_FILES ?? 200);
console.log(`SOUNDSPOT_TEST_SEED=${first}`);

describe("a random file", () => {
  it.each(Array.from({ length: files }, (_, i) => first + i))(
    "of seed %i is read at the right times",
    (seed) => checkRandomFile(model, folder, seed, 6),
  );
});
