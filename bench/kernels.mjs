// The kernels alone. Joint slot attention: fused, against the plain composition of LibTorch's operators in this process
// and against PyTorch's eager mode. The frozen encoders: with Winograd's filtering, against direct convolutions. The 3 × 3
// convolutions of a training step in float32: the same, one by one.
import { Model } from "../dist/index.js";
import { addon } from "../scripts/addon.mjs";
import { python } from "./lib/baselines.mjs";
import { matrixPeak, peakNote } from "./lib/peak.mjs";
import { typesOf } from "./lib/processor.mjs";
import { inTurns, turnsSeconds } from "./lib/turns.mjs";

const title = "kernels, ms";
const columns = { ours: ["soundspot"] };

/** Channels, height and width of the 3 × 3 convolutions with stride 1 of the paper's model, by stage. */
const STAGES = {
  "image 1": [64, 56, 56],
  "image 2": [128, 28, 28],
  "image 3": [256, 14, 14],
  "image 4": [512, 7, 7],
  "audio 1": [64, 65, 126],
  "audio 2": [128, 33, 63],
  "audio 3": [256, 17, 32],
  "audio 4": [512, 9, 16],
};
const PASSES = { forward: "forward", input: "gradient of the input", weight: "gradient of the weight" };
const CONVOLUTION_BATCH = 24;

/** A training step's convolutions with `kernels/convolution.cc`, whose tiles are 4 × 4 for these, and direct. */
function convolutionJobs() {
  return Object.entries(STAGES).flatMap(([stage, [channels, height, width]]) =>
    Object.entries(PASSES).map(([pass, title]) => ({
      work: `convolution, ${stage}, ${title}`,
      times: 2,
      own: [
        ["soundspot", 4],
        ["direct convolution", 0],
      ].map(([name, side]) => ({
        name,
        run: async (times) => {
          const sizes = { batch: CONVOLUTION_BATCH, in: channels, out: channels, height, width };
          return [...(await addon.timeConvolution({ ...sizes, pass, side, times })).data];
        },
      })),
    })),
  );
}

/**
 * The measurements: the work, measurements a turn, and the competitors by name, of which the first is ours. Convolutions
 * are LibTorch's on a GPU, and are left out there.
 */
function jobsOf(model, types, torch) {
  const slots = types.flatMap((type) =>
    [
      [1, false, 20],
      [16, false, 8],
      [64, false, 4],
      [1, true, 8],
      [16, true, 4],
      [64, true, 2],
    ].map(([batch, backward, times]) => {
      const own = (name, fused) => ({
        name,
        run: async (count) => {
          const options = { batch, times: count, fused, backward, bfloat16: type === "bfloat16" };
          return [...(await addon.timeSlotAttention(model.handle, options)).data];
        },
      });
      return {
        work: `slot attention, ${type}, batch ${batch}, forward${backward ? " + backward" : ""}`,
        times,
        own: [own("soundspot", true), own("the plain composition", false)],
        baseline: torch && ["PyTorch eager", { kind: "slots", type, batch, backward }],
      };
    }),
  );
  const encoders = types.flatMap((type) =>
    [
      [1, 8],
      [16, 2],
    ].map(([batch, times]) => ({
      work: `encoders, ${type}, batch ${batch}`,
      times,
      own: [
        ["soundspot", true],
        ["direct convolutions", false],
      ].map(([name, winograd]) => ({
        name,
        run: async (count) => {
          const options = { batch, times: count, winograd, bfloat16: type === "bfloat16" };
          return [...(await addon.timeEncoders(model.handle, options)).data];
        },
      })),
    })),
  );
  return model.compute.device === "cpu" ? [...slots, ...encoders, ...convolutionJobs()] : slots;
}

export async function kernels({ device = "cpu", rounds = 5, threads = 2, report }) {
  const model = await Model.create({}, { device });
  const torch = await python(threads, device);
  const types = typesOf(model.compute.device);
  const jobs = jobsOf(model, types, torch);
  const results = [];
  let [seconds, rows] = [0, 0];
  for (const { times, own, baseline } of jobs) {
    const competitors = own.length + (baseline ? 1 : 0);
    // The last of ours is the slower one.
    const [ms] = await own.at(-1).run(1);
    seconds += turnsSeconds(ms, { rounds, times, competitors });
    rows += competitors;
  }
  report.expect(seconds, rows);
  report.compare(title, columns, [54, 21]);
  for (const { work, times, own, baseline } of jobs) {
    const competitors = [...own, ...(baseline ? [await torch.competitor(...baseline)] : [])];
    await inTurns(competitors, {
      rounds,
      times,
      onRound: report.step(work),
      onMeasured: (name, { median }) => {
        results.push({ work, name, ms: median });
        report.result(results.at(-1));
      },
    });
    if (baseline) await torch.ask({ drop: baseline[0] });
  }
  torch?.close();
  const notes = [];
  // The peak is the CPU's.
  const onCpu = model.compute.device === "cpu";
  for (const type of onCpu ? types : []) notes.push(peakNote(type, await matrixPeak(type)));
  model.dispose();
  return { title, results, columns, notes };
}
