/** What `soundspot doctor` says of NVIDIA GPUs. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { type ChosenAddon, hasDriver } from "../../scripts/locate.mjs";
import { type CudaInfo, setupCommand } from "../core/addon.js";
import type { Native } from "../native.js";
import type { Finding } from "./finding.js";

/** NVIDIA's driver and its GPUs, as its own program lists them. */
export interface Driver {
  readonly version: string | null;
  /** Such as "NVIDIA H100 80GB HBM3"; empty where nvidia-smi does not run. */
  readonly gpus: readonly string[];
}

const run = promisify(execFile);

/** The driver, without CUDA; undefined where there is none. */
export async function findDriver(): Promise<Driver | undefined> {
  const query = ["--query-gpu=driver_version,name", "--format=csv,noheader"];
  try {
    const { stdout } = await run("nvidia-smi", query, { timeout: 20_000, windowsHide: true });
    const lines = stdout.trim().split("\n").filter(Boolean);
    const gpus = lines.map((line) => line.slice(line.indexOf(",") + 1).trim());
    return { version: /^[\d.]+/.exec(stdout)?.[0] ?? null, gpus };
  } catch {
    if (!hasDriver()) return undefined;
    const text = await readFile("/proc/driver/nvidia/version", "utf8").catch(() => "");
    return { version: /Kernel Module[^\d]*([\d.]+)/.exec(text)?.[1] ?? null, gpus: [] };
  }
}

/** Which device `auto` is, and why. */
export async function checkGpu(
  chosen: ChosenAddon,
  info: ReturnType<Native["info"]> | undefined,
): Promise<Finding> {
  const driver = await findDriver();
  return describeGpu(chosen, info, driver);
}

/** The finding for what was found. */
export function describeGpu(
  { variant, reason }: Pick<ChosenAddon, "variant" | "reason">,
  info: Pick<ReturnType<Native["info"]>, "devices" | "cuda"> | undefined,
  driver: Driver | undefined,
): Finding {
  const cuda = info?.cuda;
  const gpus = cuda?.gpus.map(nameOf) ?? driver?.gpus ?? [];
  const auto = info?.devices.find((device) => device.startsWith("cuda")) ?? "cpu";
  const details = {
    variant,
    auto,
    driver: driver?.version ?? null,
    gpus: gpus.join("; "),
    cudaOfDriver: cuda?.driver ?? null,
    cudaOfBuild: cuda?.built ?? null,
  };
  const listed = [
    gpus.length === 0 ? "no GPU" : gpus.join("; "),
    driver ? `driver ${driver.version ?? "of unknown version"}` : "no NVIDIA driver",
  ].join(", ");
  const because = (why: string) => `${listed}; auto is ${auto}: ${why}`;
  if (variant === "cpu") {
    const why = driver ? `${reason}, and the variant cpu is loaded` : "the variant cpu is loaded";
    if (!driver) return { name: "gpu", status: "ok", found: because(why), details };
    const fix = `\`${setupCommand("cuda")}\` installs the variant for the GPUs of this machine.`;
    return { name: "gpu", status: "warning", found: because(why), details, fix };
  }
  if (!cuda) {
    const fix = "Mend the addon first.";
    return { name: "gpu", status: "warning", found: because("the addon does not load"), details, fix };
  }
  if (cuda.problem === undefined) {
    return {
      name: "gpu",
      status: "ok",
      found: because("the first GPU that this build has code for"),
      details,
    };
  }
  const [why = "", ...rest] = cuda.problem.split(/(?<=\.) /);
  const fix = [...rest, "Nothing is needed to compute on the CPU."].join(" ");
  return { name: "gpu", status: "warning", found: because(why.replace(/\.$/, "")), details, fix };
}

function nameOf({ name, capability, memory, usable }: CudaInfo["gpus"][number]): string {
  const gibibytes = (memory / 2 ** 30).toFixed(0);
  return `${name} (${gibibytes} GiB, compute capability ${capability}${usable ? "" : ", not usable by this build"})`;
}
