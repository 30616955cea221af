/** Checks an installation, and says how to fix what is missing. */
import { execFile } from "node:child_process";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type ChosenAddon, findLibTorch, isPrebuilt, isVersion, VERSIONS } from "../../scripts/locate.mjs";
import { chosenAddon, howToInstall, setupCommand } from "../core/addon.js";
import { isSoundspotError } from "../core/errors.js";
import { packageRoot, readManifest } from "../core/package.js";
import { findFfmpeg } from "../media/ffmpeg.js";
import type { Native, ProcessorInfo } from "../native.js";
import { checkGpu } from "./doctor-gpu.js";
import type { Finding } from "./finding.js";

export interface Diagnosis {
  /** Version of this package. */
  readonly version: string;
  /** False when something required is missing. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

const run = promisify(execFile);

/** Checks Node, the addon, LibTorch, threads, the processor, GPUs and ffmpeg. Changes nothing; a failed check does not throw. */
export async function diagnose(): Promise<Diagnosis> {
  const root = packageRoot();
  const manifest = readManifest(root);
  const chosen = chosenAddon(root);
  const loaded = await loadAside(root, chosen);
  const findings = await Promise.all([
    checkNode(manifest.engines.node),
    checkAddon(root, chosen, loaded),
    checkCpu(typeof loaded === "string" ? undefined : loaded.cpu),
    checkGpu(chosen, typeof loaded === "string" ? undefined : loaded),
    checkLibTorch(root, chosen),
    checkThreads(),
    checkFfmpeg(),
  ]);
  return { version: manifest.version, ok: findings.every(({ status }) => status !== "missing"), findings };
}

function checkNode(range: string): Finding {
  const details = {
    version: process.versions.node,
    platform: process.platform,
    arch: process.arch,
    required: range,
  };
  const found = `${details.version} (${details.platform}-${details.arch})`;
  const least = range.replace(/^>=/, "");
  if (compareVersions(details.version, least) >= 0) return { name: "node", status: "ok", found, details };
  return { name: "node", status: "missing", found, details, fix: `Install Node.js ${least} or newer.` };
}

/** What the addon says of this machine. */
type Info = ReturnType<Native["info"]>;

function checkAddon(root: string, { variant, reason, addon }: ChosenAddon, loaded: Info | string): Finding {
  const fix = `Run \`${setupCommand(variant)}\` and read what it prints.`;
  if (addon === undefined) {
    const details = { path: null, variant, reason };
    return { name: "addon", status: "missing", found: `none for ${variant}`, details, fix };
  }
  const kind = isPrebuilt(root, addon) ? "prebuilt" : "compiled here";
  const details = { path: addon, kind, variant, reason, loads: typeof loaded !== "string" };
  const place = `${addon} (${kind}, ${variant})`;
  if (typeof loaded !== "string") return { name: "addon", status: "ok", found: place, details };
  return { name: "addon", status: "missing", found: `${place} does not load: ${loaded}`, details, fix };
}

/**
 * Loads the addon in a child process: a broken addon cannot crash this one.
 * @returns what it says of this machine, or why it does not load
 */
async function loadAside(root: string, { variant, addon, version }: ChosenAddon): Promise<Info | string> {
  if (addon === undefined) return "there is none";
  const script = join(root, "scripts", "open-addon.mjs");
  const torch = findLibTorch({ root, variant, version });
  try {
    const args = [script, addon, variant, ...(torch ? [torch.folder] : [])];
    return JSON.parse((await run(process.execPath, args)).stdout) as Info;
  } catch (error) {
    const { message, stderr } = error as { message: string; stderr?: string };
    return /Error: (.*)/.exec(stderr ?? "")?.[1] ?? message;
  }
}

function checkLibTorch(root: string, { variant, version: wanted }: ChosenAddon): Finding {
  const run = howToInstall(variant).replace("run", "Run");
  const fix = `${run}, or set LIBTORCH to an unpacked LibTorch ${wanted} first.`;
  const exact = findLibTorch({ root, variant, version: wanted });
  const torch = exact ?? findLibTorch({ root, variant, version: wanted, any: true });
  if (!torch) {
    const details = { folder: null, wanted, variant };
    return { name: "libtorch", status: "missing", found: "none", details, fix };
  }
  const version = torch.version ?? null;
  const { folder, linked, source } = torch;
  const details = { folder, version, headers: torch.include, linked, source, wanted, variant };
  const found = `${version ?? "unknown version"} in ${folder} (${source}${linked ? ", linked" : ""})`;
  if (!exact) {
    return { name: "libtorch", status: "missing", found: `${found}, ${wanted} is needed`, details, fix };
  }
  const tested = VERSIONS[variant];
  if (isVersion(wanted, tested)) return { name: "libtorch", status: "ok", found, details };
  return {
    name: "libtorch",
    status: "warning",
    found,
    details,
    fix: `soundspot is tested with ${tested}: \`${setupCommand(variant)}\` installs it. LIBTORCH must not be set then.`,
  };
}

function checkThreads(): Finding {
  const count = availableParallelism();
  const omp = process.env.OMP_NUM_THREADS ?? null;
  const details = { count, OMP_NUM_THREADS: omp };
  const found = `${count}${omp === null ? "" : ` (OMP_NUM_THREADS=${omp})`}`;
  if (omp === null || Number(omp) >= count) return { name: "threads", status: "ok", found, details };
  const fix = `OMP_NUM_THREADS leaves processors idle: unset it, or set it to ${count}.`;
  return { name: "threads", status: "warning", found, details, fix };
}

const cpuName = () => cpus()[0]?.model.trim() || process.arch;

/** `cpu` is what the addon detects; without one, what Node.js says. */
function checkCpu(cpu: ProcessorInfo | undefined): Finding {
  if (cpu === undefined) {
    return { name: "cpu", status: "ok", found: cpuName(), details: { model: cpuName() } };
  }
  const { vendor, model, features, hardware, instructionSet, bfloat16 } = cpu;
  const name = model || cpuName();
  const unused = hardware.filter((feature) => !features.includes(feature));
  const details = {
    model: name,
    vendor,
    features: features.join(" "),
    unused: unused.join(" "),
    instructionSet,
    bfloat16,
  };
  const found = features.length === 0 ? name : `${name} (${features.join(", ")})`;
  if (unused.length > 0) {
    const fix =
      `ATEN_CPU_CAPABILITY or ONEDNN_MAX_CPU_ISA leaves ${unused.join(", ")} unused. ` +
      "Unset them, unless that is intended.";
    return { name: "cpu", status: "warning", found, details, fix };
  }
  if (instructionSet !== "default" || process.arch !== "x64")
    return { name: "cpu", status: "ok", found, details };
  const fix = "Everything works, but slowly: the kernels are fast on processors with AVX2 or newer.";
  return { name: "cpu", status: "warning", found, details, fix };
}

/** libavutil of ffmpeg 5.0. */
const OLD_FFMPEG = 57;

/** ffmpeg is not required: images and WAV files need none. */
async function checkFfmpeg(): Promise<Finding> {
  try {
    const { path, source, version, libavutil } = await findFfmpeg();
    const details = { path, source: String(source), version: version ?? null };
    const found = `${version ?? "unknown version"}: ${path} (${source})`;
    if (libavutil >= OLD_FFMPEG) return { name: "ffmpeg", status: "ok", found, details };
    const fix =
      "This ffmpeg is older than 5.0: it cannot read newer formats and codecs. Install a newer one: " +
      "`npm install ffmpeg-static`; `apt install ffmpeg`, `brew install ffmpeg` or `winget install ffmpeg`.";
    return { name: "ffmpeg", status: "warning", found, details, fix };
  } catch (error) {
    if (!isSoundspotError(error)) throw error;
    const fix = `${error.message} Without it only images and WAV files can be read.`;
    return { name: "ffmpeg", status: "warning", found: "none", details: { path: null }, fix };
  }
}

/** Negative, zero or positive, as `a` is older than, equal to or newer than `b`. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) =>
    version.split(".").map((part) => Number.parseInt(part, 10) || 0),
  );
  for (let i = 0; i < 3; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
