/** Installs a variant by the script that npm runs, and offers that on a terminal where a command misses it. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { pathToFileURL } from "node:url";
import type { Variant } from "../../scripts/locate.mjs";
import { chosenAddon } from "../core/addon.js";
import { isError, SoundspotError } from "../core/errors.js";
import { packageRoot } from "../core/package.js";
import { Progress } from "./progress.js";

/** What scripts/setup.mjs has installed, or found installed. */
export interface Installed {
  readonly variant: Variant;
  readonly libtorch: { readonly folder: string; readonly version?: string; readonly source: string };
  readonly addon: { readonly path: string; readonly kind: "prebuilt" | "compiled" };
}

interface SetupScript {
  setup(options: {
    readonly variant: Variant;
    readonly log: (line: string) => void;
    readonly progress: Progress;
  }): Promise<Installed>;
}

/**
 * What `soundspot setup` does.
 * @throws {SoundspotError} ERR_LIBTORCH_MISSING or ERR_ADDON_MISSING, with what is missing.
 */
export async function installVariant(variant: Variant): Promise<Installed> {
  const progress = new Progress({ prefix: "soundspot: " });
  const log = (line: string) => {
    progress.clear();
    process.stderr.write(`soundspot: ${line}\n`);
  };
  try {
    // Not part of the bundle: it compiles, with packages that the library does not load.
    const script = pathToFileURL(join(packageRoot(), "scripts", "setup.mjs")).href;
    const { setup } = (await import(script)) as SetupScript;
    return await setup({ variant, log, progress });
  } catch (error) {
    const message = isError(error) ? error.message : String(error);
    const code = /^LibTorch|^LIBTORCH|^There is no CUDA/.test(message)
      ? "ERR_LIBTORCH_MISSING"
      : "ERR_ADDON_MISSING";
    throw new SoundspotError(code, message, { cause: error });
  } finally {
    progress.end();
  }
}

/** Whether a person can be asked: not in CI, not in one of several processes, not where output is read by a program. */
const canAsk = (env: NodeJS.ProcessEnv) =>
  Boolean(process.stdin.isTTY && process.stderr.isTTY) && !env.CI && env.RANK === undefined;

/**
 * Asks whether to install what a command misses, and runs the command again when it is installed.
 * @returns the exit code of that run; undefined where nobody can be asked, or the answer is no
 * @throws {SoundspotError} of the installation.
 */
export async function offerInstallation(
  error: SoundspotError,
  env: NodeJS.ProcessEnv = process.env,
): Promise<number | undefined> {
  const missing = error.code === "ERR_LIBTORCH_MISSING" || error.code === "ERR_ADDON_MISSING";
  // The second run does not ask again.
  if (!missing || !canAsk(env) || process.argv[2] === "setup" || env.SOUNDSPOT_INSTALLED) return undefined;
  const { variant } = chosenAddon(packageRoot());
  const [what] = error.message.split(/: |\. /, 1);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  let answer = "no";
  try {
    answer = await new Promise<string>((done) => {
      terminal.once("close", () => done("no")); // Ctrl+D and Ctrl+C
      terminal.question(`soundspot: ${what}. Install it now? [Y/n] `).then(done, () => done("no"));
    });
  } finally {
    terminal.close();
  }
  if (!/^(y|yes|)$/i.test(answer.trim())) return undefined;
  await installVariant(variant);
  const { status } = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...env, SOUNDSPOT_INSTALLED: "1" },
  });
  return status ?? 1;
}
