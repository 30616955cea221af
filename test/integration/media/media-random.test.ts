/** Random files over what the containers can express; many more of them in test/slow. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { Model } from "../../../src/index.js";
import { checkRandomFile } from "../../support/random-media-check.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-random-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let model: Model;
beforeAll(async () => {
  model = await Model.create({ ...tiny, audio: { seconds: 3 } }, { seed: 3 });
});

const first = Number(process.env.SOUNDSPOT_TEST_SEED ?? 1);

describe("a random file", () => {
  it.each(Array.from({ length: 10 }, (_, i) => first + i))("of seed %i is read at the right times", (seed) =>
    checkRandomFile(model, folder, seed),
  );
});
