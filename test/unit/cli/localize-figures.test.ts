/** The figures of `soundspot localize`: attention over time of every slot, and raw maps beside enlarged ones. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { register } from "../../../src/cli/commands/localize.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { Model } from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { bar } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-figures-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]) => join(folder, ...names);
const input = { image: at("dog.png"), audio: at("dog.wav") };
const models = ["without", "with"].map((name) => at(name, "last.safetensors")) as [string, string];

beforeAll(async () => {
  const { image, audio } = bar(0);
  writeFileSync(input.image, await encodeImage(image, { format: "png" }));
  writeFileSync(input.audio, encodeWav(audio));
  for (const [seed, path] of models.entries()) {
    mkdirSync(join(path, ".."));
    using model = await Model.create(tiny, { seed });
    await model.save(path);
  }
});

async function localize(...args: string[]): Promise<void> {
  const program = new Command().exitOverride();
  register(program);
  const spy = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  try {
    const command = ["localize", input.image, input.audio, "--model", models[1]];
    await program.parseAsync([...command, ...args], { from: "user" });
  } finally {
    spy.mockRestore();
  }
}

describe("soundspot localize", () => {
  it("draws the attention over time of the target slot, or of all slots", async () => {
    using model = await Model.load(models[1]);
    const spot = await model.localize(input);
    await localize("--spectrogram", at("target.png"));
    expect(readFileSync(at("target.png")).equals(await spot.spectrogram())).toBe(true);
    await localize("--spectrogram", at("all.png"), "--all-slots");
    expect(readFileSync(at("all.png")).equals(await spot.spectrogram({ slots: "all" }))).toBe(true);
  });

  it("draws the raw map beside the enlarged one, below those of other checkpoints", async () => {
    using model = await Model.load(models[1]);
    using other = await Model.load(models[0]);
    const spot = await model.localize(input);
    await localize("--grids", at("one.png"));
    expect(readFileSync(at("one.png")).equals(await spot.grids({ title: "with/last" }))).toBe(true);
    await localize("--grids", at("two.jpg"), "--above", models[0], "--refine", "iqr");
    const above = [{ title: "without/last", spot: await other.localize(input) }];
    const both = await spot.grids({ title: "with/last", above, format: "jpeg" });
    expect(readFileSync(at("two.jpg")).equals(both)).toBe(true);
  });

  it("rejects an option whose figure is not asked for, and an output that is a checkpoint", async () => {
    await expect(localize("--all-slots")).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("--all-slots is for --spectrogram"),
    });
    await expect(localize("--above", models[0])).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("--above is for --grids"),
    });
    await expect(localize("--output", at("where.mp4"), "--grids", at("x.png"))).rejects.toMatchObject({
      code: "ERR_CONFIG",
    });
    const copy = at("checkpoint.png");
    writeFileSync(copy, readFileSync(models[0]));
    await expect(localize("--grids", copy, "--above", copy)).rejects.toMatchObject({
      code: "ERR_OUTPUT_IS_INPUT",
    });
    expect(readFileSync(copy).equals(readFileSync(models[0]))).toBe(true);
    await expect(localize("--grids", at("none.png"), "--above", at("gone.pth"))).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
    });
    expect(existsSync(at("none.png"))).toBe(false);
  });
});
