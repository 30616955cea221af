/** A build for the CPU needs nothing of CUDA: only sources that it leaves out include its headers. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const native = fileURLToPath(new URL("../../../native", import.meta.url));
const CUDA =
  /^\s*#\s*include\s*[<"](cuda|cublas|cudnn|cusparse|cusolver|curand|cooperative_groups|nccl\.h|c10\/cuda|ATen\/cuda|.*NCCL)/;

it("includes CUDA's headers in folders named cuda, and where NCCL is, alone", () => {
  const files = readdirSync(native, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.(cc|cu|h|cuh)$/.test(name),
  );
  expect(files.length).toBeGreaterThan(100);
  // A block of `#ifdef SOUNDSPOT_CUDA`, which has none within it, is not there.
  const forCpu = (text: string) => text.replace(/^#ifdef SOUNDSPOT_CUDA$[\s\S]*?^#(?:endif|else)$/gm, "");
  const including = files.filter((name) =>
    forCpu(readFileSync(join(native, name), "utf8"))
      .split("\n")
      .some((line) => CUDA.test(line)),
  );
  const isLeftOut = (name: string) => /[\\/]cuda[\\/]/.test(name) || name === join("distributed", "nccl.cc");
  expect(including.filter((name) => !isLeftOut(name))).toEqual([]);
  expect(including).toContain(join("distributed", "nccl.cc"));
  expect(including).toContain(join("core", "cuda", "gpus.cc"));
});

it("leaves those sources out of a build for the CPU", () => {
  const lists = readFileSync(join(native, "../CMakeLists.txt"), "utf8");
  const pattern = /list\(FILTER SOURCES EXCLUDE REGEX "([^"]+)"\)/.exec(lists)?.[1] ?? "";
  const leftOut = new RegExp(pattern);
  for (const name of ["core/cuda/gpus.cc", "kernels/cuda/norm.cc", "slot_attention/cuda/x.cc"]) {
    expect(leftOut.test(`/somewhere/native/${name}`), name).toBe(true);
  }
  for (const name of ["core/device.cc", "kernels/cuda.cc", "kernels/cpu/rows.cc"]) {
    expect(leftOut.test(`/somewhere/native/${name}`), name).toBe(false);
  }
});
