// The kernels by themselves. Joint slot attention: fused, against the plain composition of LibTorch's operators in this
// process and against PyTorch's eager mode. The frozen encoders: with Winograd's filtering, against direct convolutions.
import { Model } from "../dist/index.js";
import { addon } from "./lib/addon.mjs";
import { matrixPeak, peakNote } from "./lib/peak.mjs";
import { python } from "./lib/rivals.mjs";
import { inTurns } from "./lib/turns.mjs";

export async function kernels({ rounds = 5, threads = 2, progress }) {
  const model = await Model.create();
  const torch = await python(threads);
  const results = [];
  const types = addon.info().cpu.bfloat16 ? ["float32", "bfloat16"] : ["float32"];
  for (const type of types) {
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
      const work = `slot attention, ${type}, batch ${batch}, forward${backward ? " + backward" : ""}`;
      for (const { name } of competitors) results.push({ work, name, ms: measured.get(name).median });
      await torch?.ask({ drop: "PyTorch eager" });
    }
  }
  torch?.close();
  for (const type of types) {
    for (const [batch, times] of [
      [1, 8],
      [16, 2],
    ]) {
      const competitors = [
        ["soundspot", true],
        ["direct convolutions", false],
      ].map(([name, winograd]) => ({
        name,
        run: async (count) => {
          const options = { batch, times: count, winograd, bfloat16: type === "bfloat16" };
          return [...(await addon.timeEncoders(model.handle, options)).data];
        },
      }));
      const measured = await inTurns(competitors, { rounds, times, onRound: progress });
      const work = `encoders, ${type}, batch ${batch}`;
      for (const { name } of competitors) results.push({ work, name, ms: measured.get(name).median });
    }
  }
  model.dispose();
  const notes = [];
  for (const type of types) notes.push(peakNote(type, await matrixPeak(type)));
  return { title: "kernels, ms", results, notes };
}
