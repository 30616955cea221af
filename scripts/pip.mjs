/** Wheels through pip, which needs no network access of ours and checks them against its index. */
import { execFile, spawn } from "node:child_process";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cleaningUp } from "./lock.mjs";
import { proxyEnvironment } from "./proxy.mjs";

/** Milliseconds between checks of the wheels that pip downloads. */
const WATCH = 500;

/** Any CPython wheel holds the same libraries; asking for 3.11 makes the result independent of the installed Python. */
const ANY_PYTHON = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"];

/**
 * Downloads wheels.
 *
 * @param {string[]} requirements Such as `torch==2.13.0`.
 * @param {object} options
 * @param {string} options.folder For the wheels; what lay there is removed. pip's temporary files lie beside it.
 * @param {boolean} options.dependencies Whether to get what they require, too.
 * @param {string} options.index One more index of packages.
 * @param {string} options.title Of the progress.
 * @param {(line: string) => void} options.log
 * @param {import("./progress.mjs").Progress} options.progress
 * @returns {Promise<string[]>} Paths of the wheels.
 * @throws {Error} with pip's output.
 */
export async function downloadWheels(requirements, { folder, dependencies, index, title, log, progress }) {
  const python = await findPython();
  log(`Asking pip (${python.join(" ")}) for ${requirements.join(" ")}`);
  const base = ["-m", "pip", "download", "--only-binary=:all:", "--disable-pip-version-check"];
  const wanted = ["--dest", folder, "--extra-index-url", index, "--retries", "0"];
  if (!dependencies) wanted.push("--no-deps");

  let failure;
  for (const selection of [ANY_PYTHON, []]) {
    await rm(folder, { recursive: true, force: true });
    try {
      await runPip([...python, ...base, ...wanted, ...selection, ...requirements], folder, title, progress);
      const wheels = (await readdir(folder)).filter((name) => name.endsWith(".whl"));
      if (wheels.length > 0) return wheels.sort().map((name) => join(folder, name));
      failure = new Error("pip left no wheel");
    } catch (error) {
      failure = new Error(`pip failed:\n${error.message}`);
    }
  }
  throw failure;
}

/**
 * pip shows no progress where its output is not a terminal. So its temporary files get their own folder, where the
 * growing wheels are measured; pip prints the size of each before it downloads it.
 *
 * @throws {Error} with pip's output.
 */
async function runPip([command, ...args], folder, title, progress) {
  const temporary = `${folder}-pip`;
  await mkdir(temporary, { recursive: true });
  progress.start("asking pip");
  const child = spawn(command, args, {
    env: {
      ...process.env,
      ...proxyEnvironment(),
      TMPDIR: temporary,
      TEMP: temporary,
      TMP: temporary,
      PYTHONUNBUFFERED: "1",
    },
    stdio: ["ignore", "pipe", "pipe"],
    windowsHide: true,
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => {
      output[name] += text;
    });
  }
  let downloading = false;
  const look = async () => {
    const bytes = (await wheelBytes(temporary)) + (await wheelBytes(folder));
    if (bytes === 0) return;
    if (!downloading) progress.start(title, { unit: "bytes" });
    downloading = true;
    progress.update(bytes, wheelSize(output.stdout));
  };
  const timer = setInterval(() => void look(), WATCH);
  const ended = () =>
    new Promise((done, fail) => {
      child.on("error", fail);
      child.on("close", done);
    });
  try {
    const code = await cleaningUp(() => child.kill(), ended);
    if (code !== 0) throw new Error((output.stderr || output.stdout || `exit code ${code}`).trim());
  } finally {
    clearInterval(timer);
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Bytes of all wheels below a folder, whose files come and go meanwhile. */
async function wheelBytes(folder) {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = names
    .filter((name) => name.endsWith(".whl"))
    .map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/**
 * Size of the wheels that pip has announced so far: `Downloading torch-….whl (190.4 MB)`.
 *
 * @param {string} output
 * @returns {number} bytes, to the precision that is printed; 0 where it is not known.
 */
export function wheelSize(output) {
  const scale = { bytes: 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9 };
  const sizes = output.matchAll(/^\s*Downloading\b.*\S+\.whl\s+\(([\d.]+)\s*([kMG]?B|bytes)\)/gm);
  return [...sizes].reduce((sum, [, value, unit]) => sum + Math.round(Number(value) * scale[unit]), 0);
}

async function findPython() {
  for (const python of [["python3"], ["python"], ["py", "-3"]]) {
    const [command, ...options] = python;
    const found = await promisify(execFile)(command, [...options, "-m", "pip", "--version"], {
      windowsHide: true,
    }).then(
      () => true,
      () => false,
    );
    if (found) return python;
  }
  throw new Error("no Python with pip (python3, python, py) on the PATH");
}
