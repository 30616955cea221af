/** Checks an installation, and says how to fix what is missing. */
import { execFile } from "node:child_process";
import { availableParallelism, cpus } from "node:os";
import { delimiter, join, relative, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { isSoundspotError } from "../core/errors.js";
import { packageRoot, readManifest } from "../core/package.js";
import { findFfmpeg } from "../media/ffmpeg.js";
import { addonPath, type ProcessorInfo } from "../native.js";

/** `missing`: a requirement is absent; `warning`: a feature is unavailable, or slow. */
export type Status = "ok" | "warning" | "missing";

export interface Finding {
  readonly name: "node" | "addon" | "libtorch" | "threads" | "cpu" | "ffmpeg";
  readonly status: Status;
  /** The finding, in one line. */
  readonly found: string;
  /** How to fix it; absent when the status is `ok`. */
  readonly fix?: string;
  /** The same as values: paths, versions, numbers. */
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
}

export interface Diagnosis {
  /** Version of this package. */
  readonly version: string;
  /** False when something required is missing. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

/** The exports of scripts/libtorch.mjs that are used here. */
interface LibTorchScript {
  readonly LIBTORCH_VERSION: string;
  describeLibTorch():
    | {
        readonly folder: string;
        readonly version?: string;
        readonly include: boolean;
        readonly linked: boolean;
      }
    | undefined;
}

/** Works also where npm does not run install scripts. */
const reinstall = (root: string) =>
  `Run \`node ${join(root, "scripts", "install.mjs")}\` and read what it prints.`;

const run = promisify(execFile);

/** Checks Node, the addon, LibTorch, threads, the processor and ffmpeg. Changes nothing; a failed check does not throw. */
export async function diagnose(): Promise<Diagnosis> {
  const root = packageRoot();
  const manifest = readManifest(root);
  const findings = await Promise.all([
    checkNode(manifest.engines.node),
    ...(await checkAddon(root)),
    checkLibTorch(root),
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

/** The addon, and the processor that it detects. */
async function checkAddon(root: string): Promise<readonly [addon: Finding, cpu: Finding]> {
  const unknown: Finding = { name: "cpu", status: "ok", found: cpuName(), details: { model: cpuName() } };
  let path: string;
  try {
    path = addonPath();
  } catch {
    return [
      { name: "addon", status: "missing", found: "none", details: { path: null }, fix: reinstall(root) },
      unknown,
    ];
  }
  const kind = relative(root, path).startsWith(`prebuilds${sep}`) ? "prebuilt" : "compiled here";
  const loaded = await loadAside(root, path);
  const details = { path, kind, loads: typeof loaded !== "string" };
  if (typeof loaded !== "string") {
    return [{ name: "addon", status: "ok", found: `${path} (${kind})`, details }, checkCpu(loaded)];
  }
  const found = `${path} (${kind}) does not load: ${loaded}`;
  return [{ name: "addon", status: "missing", found, details, fix: reinstall(root) }, unknown];
}

/**
 * Loads the addon in a child process: a broken addon cannot crash this one.
 * @returns the processor that it detects, or why it does not load
 */
async function loadAside(root: string, addon: string): Promise<ProcessorInfo | string> {
  const script = `const addon = { exports: {} };
    process.dlopen(addon, ${JSON.stringify(addon)});
    process.stdout.write(JSON.stringify(addon.exports.info().cpu));`;
  const libraries = join(root, "vendor", "libtorch", "lib");
  const env = { ...process.env, PATH: `${libraries}${delimiter}${process.env.PATH ?? ""}` };
  try {
    return JSON.parse((await run(process.execPath, ["-e", script], { env })).stdout) as ProcessorInfo;
  } catch (error) {
    const { message, stderr } = error as { message: string; stderr?: string };
    return /Error: (.*)/.exec(stderr ?? "")?.[1] ?? message;
  }
}

async function checkLibTorch(root: string): Promise<Finding> {
  const script = (await import(pathToFileURL(join(root, "scripts", "libtorch.mjs")).href)) as LibTorchScript;
  const wanted = script.LIBTORCH_VERSION;
  const torch = script.describeLibTorch();
  if (!torch) {
    const fix = `${reinstall(root)} Or set LIBTORCH to an unpacked LibTorch ${wanted} first.`;
    return { name: "libtorch", status: "missing", found: "none", details: { folder: null, wanted }, fix };
  }
  const version = torch.version ?? null;
  const details = { folder: torch.folder, version, headers: torch.include, linked: torch.linked, wanted };
  const found = `${version ?? "unknown version"} in ${torch.folder}${torch.linked ? " (linked)" : ""}`;
  if (version === null || version.startsWith(wanted))
    return { name: "libtorch", status: "ok", found, details };
  const fix = `soundspot is tested with ${wanted}. ${reinstall(root)} LIBTORCH must not be set then.`;
  return { name: "libtorch", status: "warning", found, details, fix };
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

function checkCpu({ vendor, model, features, hardware, instructionSet, bfloat16 }: ProcessorInfo): Finding {
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
