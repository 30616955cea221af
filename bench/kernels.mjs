// Joint slot attention by itself: the fused kernels against the plain composition of LibTorch's operators, in this
// process, and against PyTorch's eager mode.
import { createRequire } from "node:module";
import { Model } from "../dist/index.js";
import { python } from "./lib/rivals.mjs";
import { inTurns } from "./lib/turns.mjs";

const addon = createRequire(import.meta.url)("node-gyp-build")(new URL("..", import.meta.url).pathname);

export async function kernels({ rounds = 5, threads = 2, progress }) {
  const model = await Model.create();
  const torch = await python(threads);
  const results = [];
  for (const type of ["float32", "bfloat16"]) {
    for (const [batch, backward, times] of [
      [1, false, 20],
      [16, false, 8],
      [64, false, 4],
      [1, true, 8],
      [16, true, 4],
      [64, true, 2],
    ]) {
      const bfloat16 = type === "bfloat16";
      const own = (name, fused) => ({
        name,
        run: async (count) => {
          const options = { batch, times: count, fused, backward, bfloat16 };
          return [...(await addon.timeSlotAttention(model.handle, options)).data];
        },
      });
      const competitors = [own("soundspot", true), own("the plain composition", false)];
      if (torch)
        competitors.push(await torch.competitor("PyTorch eager", { kind: "slots", type, batch, backward }));
      const measured = await inTurns(competitors, { rounds, times, onRound: progress });
      const work = `${type}, batch ${batch}, forward${backward ? " + backward" : ""}`;
      for (const { name } of competitors) results.push({ work, name, ms: measured.get(name).median });
      await torch?.ask({ drop: "PyTorch eager" });
    }
  }
  torch?.close();
  model.dispose();
  return { title: "joint slot attention, ms", results };
}
