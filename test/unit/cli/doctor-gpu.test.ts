/** What doctor says of GPUs: which device auto is, why, and what to do. */
import { expect, it } from "vitest";
import { describeGpu } from "../../../src/cli/doctor-gpu.js";
import type { CudaInfo } from "../../../src/core/addon.js";

const reason = "the variant cuda is not installed";
const driver = { version: "580.65.06", gpus: ["NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"] };
const gpu = (usable: boolean): CudaInfo["gpus"][number] => ({
  name: "NVIDIA H100",
  capability: "9.0",
  memory: 80 * 2 ** 30,
  usable,
});

it("is content with a machine without a driver, and names the command where there is one", () => {
  expect(describeGpu({ variant: "cpu", reason }, { devices: ["cpu"] }, undefined)).toEqual({
    name: "gpu",
    status: "ok",
    found: "no GPU, no NVIDIA driver; auto is cpu: the variant cpu is loaded",
    details: {
      variant: "cpu",
      auto: "cpu",
      driver: null,
      gpus: "",
      cudaOfDriver: null,
      cudaOfBuild: null,
    },
  });
  expect(describeGpu({ variant: "cpu", reason }, { devices: ["cpu"] }, driver)).toMatchObject({
    status: "warning",
    found:
      "NVIDIA H100 80GB HBM3; NVIDIA H100 80GB HBM3, driver 580.65.06; auto is cpu: " +
      "the variant cuda is not installed, and the variant cpu is loaded",
    fix: "`npx soundspot setup --cuda` installs the variant for the GPUs of this machine.",
    details: { driver: "580.65.06", gpus: "NVIDIA H100 80GB HBM3; NVIDIA H100 80GB HBM3" },
  });
});

it("lists the GPUs that the build sees, and says which one auto is", () => {
  const cuda = { built: "13.0", driver: "13.1", gpus: [gpu(false), gpu(true)] };
  expect(describeGpu({ variant: "cuda", reason: "" }, { devices: ["cpu", "cuda:1"], cuda }, driver)).toEqual({
    name: "gpu",
    status: "ok",
    found:
      "NVIDIA H100 (80 GiB, compute capability 9.0, not usable by this build); " +
      "NVIDIA H100 (80 GiB, compute capability 9.0), driver 580.65.06; " +
      "auto is cuda:1: the first GPU that this build has code for",
    details: {
      variant: "cuda",
      auto: "cuda:1",
      driver: "580.65.06",
      gpus: expect.stringContaining("80 GiB"),
      cudaOfDriver: "13.1",
      cudaOfBuild: "13.0",
    },
  });
});

it("gives the problem of a build with CUDA, and what to do", () => {
  const problem =
    'The NVIDIA driver is too old: it runs CUDA up to 12.4, this build needs 13.0. Install a newer driver, or use the device "cpu".';
  const cuda = { built: "13.0", driver: "12.4", problem, gpus: [] };
  expect(describeGpu({ variant: "cuda", reason: "" }, { devices: ["cpu"], cuda }, driver)).toMatchObject({
    status: "warning",
    found: expect.stringMatching(
      /; auto is cpu: The NVIDIA driver is too old: it runs CUDA up to 12\.4, this build needs 13\.0$/,
    ),
    fix: 'Install a newer driver, or use the device "cpu". Nothing is needed to compute on the CPU.',
    details: { auto: "cpu", cudaOfDriver: "12.4", cudaOfBuild: "13.0" },
  });
  expect(describeGpu({ variant: "cuda", reason: "" }, undefined, driver)).toMatchObject({
    status: "warning",
    found: expect.stringMatching(/auto is cpu: the addon does not load$/),
  });
});
