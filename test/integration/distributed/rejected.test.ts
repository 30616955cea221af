/** A step that one process of a group cannot take is rejected by all of them, and they go on together. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { inGroup } from "../../support/processes.js";
import { tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-rejected-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const source = transpilePackage(join(folder, "package"));

/** A good step, one with images of rank 1 enlarged, and a good step; prints errors, weights and the optimizer's file. */
const path = join(folder, "steps.mjs");
writeFileSync(
  path,
  `
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Model, ProcessGroup, Trainer } from ${JSON.stringify(pathToFileURL(join(source, "index.js")).href)};
const { scale, contrast } = JSON.parse(process.argv[2]);
const group = await ProcessGroup.join(ProcessGroup.fromEnvironment());
const { rank } = group;
const noise = (length, seed) => {
  let state = seed * 2654435761;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return Float32Array.from({ length }, () => 2 * (draw() + draw()));
};
const model = await Model.create(${JSON.stringify(tiny)}, { seed: 4 });
const trainer = new Trainer(model, { precision: "float32", contrast, clip: 1, falseNegatives: { k: 2 }, seed: 7 }, group);
const pair = (seed, by) => ({
  image: { tensor: noise(3 * 32 * 32, seed).map((x) => x * by), shape: [3, 32, 32] },
  audio: { spectrogram: noise(257 * 51, seed + 500), shape: [1, 257, 51] },
});
const batch = (step, by) => [0, 1, 2, 3].map((i) => pair(1 + step * 100 + 10 * rank + i, by));
const state = async () => {
  const file = ${JSON.stringify(join(folder, "state-"))} + contrast + scale + rank + ".safetensors";
  await trainer.save(file);
  return createHash("sha256").update(readFileSync(file)).digest("hex");
};
const weights = async () => (await model.parameters()).filter((each) => each.trainable).map(({ data }) => Math.hypot(...data));
const lines = [];
await trainer.step(batch(0, 1));
const before = await state();
const failure = await trainer.step(batch(1, rank === 1 ? scale : 1)).then(() => undefined, ({ code, message }) => ({ code, message }));
const same = before === (await state());
const moved = await weights();
const { losses, gradientNorm } = await trainer.step(batch(2, 1));
process.stdout.write(JSON.stringify({ failure, same, moved, losses, gradientNorm, after: await weights() }) + "\\n");
await group.leave();
process.exit(0);
`,
);

describe("a step that one of two processes cannot take", () => {
  for (const contrast of ["global", "local"] as const) {
    it.each([
      [1e22, /running_var is no longer finite, and the step was not taken/],
      [1e38, /not finite, and the step was not taken|no longer finite, and the step was not taken/],
    ])(
      `is rejected by both, with ${contrast} contrast and images of %f times their values`,
      async (scale, message) => {
        const outcomes = await inGroup(2, [path, JSON.stringify({ scale, contrast })]);
        const [first, second] = outcomes.map(({ code, output, errors }) => {
          expect(code, errors).toBe(0);
          return JSON.parse(output);
        });
        for (const each of [first, second]) {
          expect(each.failure).toEqual({ code: "ERR_INTERNAL", message: expect.stringMatching(message) });
          expect(each.same).toBe(true);
        }
        expect(second.failure.message).toBe(first.failure.message);
        expect(second.moved).toEqual(first.moved);
        expect(second.losses).toEqual(first.losses);
        expect(second.gradientNorm).toBe(first.gradientNorm);
        expect(second.after).toEqual(first.after);
        expect(first.after).not.toEqual(first.moved);
      },
    );
  }
});
