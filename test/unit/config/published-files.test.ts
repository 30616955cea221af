/** Which method's program wrote a file is recognised by the names of its tensors. */
import { describe, expect, it } from "vitest";
import { recognised } from "../../../src/config/published-files.js";
import { Model, presets } from "../../../src/index.js";

const ofPreset: Readonly<Record<string, readonly string[]>> = {
  paper: [],
  lvs: ["alignment"],
  "ez-vsl": ["fnac"],
  slavc: [],
  "ssl-tie": [],
};

describe("the names of a file's tensors", () => {
  it.each(Object.entries(ofPreset))("are those of %s", async (preset, others) => {
    const { model: options } = presets[preset as "paper"];
    using model = await Model.create({ ...options, audio: { seconds: 1 } });
    const names = (await model.parameters()).map(({ name }) => name);
    if (preset === "ssl-tie") names.push("vision_fc1.weight");
    for (const prefix of ["", "module.", "model.module."]) {
      const found = recognised(names.map((name) => prefix + name));
      expect([found?.preset, found?.others]).toEqual([preset, others]);
      expect(found?.config.method.name).toBe(model.config.method.name);
    }
  });

  it("of no method are not recognised", () => {
    for (const names of [
      [],
      ["conv1.weight", "layer1.0.conv1.weight", "fc.weight"],
      ["encoder.img_proj.weight"],
    ]) {
      expect(recognised(names)).toBeUndefined();
    }
  });
});
