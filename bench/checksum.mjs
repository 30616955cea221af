/**
 * What verifying the checksum of a checkpoint costs: the paper's model is loaded with it and without, 20 times each in
 * turn; the time is that of the processor.
 *
 *   node bench/checksum.mjs
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Model } from "soundspot";

const RUNS = 20;
const folder = await mkdtemp(join(tmpdir(), "soundspot-bench-"));
const [checked, unchecked] = ["checked", "unchecked"].map((name) => join(folder, `${name}.safetensors`));
try {
  const model = await Model.create();
  await model.save(checked);
  model.dispose();
  const bytes = await readFile(checked);
  bytes.write("another.name______", bytes.indexOf("soundspot.checksum"));
  bytes.write("sum___", bytes.indexOf("xxh64:"));
  await writeFile(unchecked, bytes);

  const times = new Map([checked, unchecked].map((path) => [path, []]));
  for (let run = 0; run < RUNS; run++) {
    for (const [path, list] of times) {
      const before = process.cpuUsage();
      const loaded = await Model.load(path);
      const { user, system } = process.cpuUsage(before);
      list.push((user + system) / 1000);
      loaded.dispose();
    }
  }
  const [withIt, without] = [...times.values()].map((list) => list.sort((a, b) => a - b)[RUNS >> 1]);
  console.log(
    `${(bytes.length / 1e6).toFixed(0)} MB: ${withIt.toFixed(0)} ms with the checksum, ${without.toFixed(0)} ms without (medians)`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
