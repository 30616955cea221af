#!/usr/bin/env node
/**
 * npm's install script: LibTorch, then the addon, prebuilt if available, else compiled.
 *
 *   SOUNDSPOT_SKIP_BUILD=1   do nothing
 *   PREBUILDS_ONLY=1         never compile
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { compile, isUpToDate, PACKAGE, requireTools } from "./build.mjs";
import { ensureLibTorch } from "./libtorch.mjs";
import { Progress } from "./progress.mjs";

const progress = new Progress({ prefix: "soundspot: " });
const log = (line) => {
  progress.clear();
  console.error(`soundspot: ${line}`);
};

async function install() {
  const prebuilt = findPrebuilt();
  if (prebuilt) {
    await ensureLibTorch({ log, progress, include: false });
    const failure = loadFailure(prebuilt);
    if (!failure) return log("the prebuilt addon is used.");
    log(`the prebuilt addon does not load here (${failure}).`);
  }
  if (process.env.PREBUILDS_ONLY) {
    throw new Error(
      `PREBUILDS_ONLY is set, and no prebuilt addon works for ${process.platform}-${process.arch}.`,
    );
  }

  const upToDate = isUpToDate();
  if (!upToDate) requireTools();
  await ensureLibTorch({ log, progress, include: !upToDate });
  if (upToDate) return log("the compiled addon is up to date.");
  log("compiling the addon, which takes some minutes.");
  await compile({ quiet: true, progress });
  log("the addon is compiled.");
}

/** The addon in prebuilds/ for this platform, never the one in build/. */
function findPrebuilt() {
  const before = process.env.PREBUILDS_ONLY;
  // node-gyp-build reads the variable once, when it is loaded.
  process.env.PREBUILDS_ONLY = "1";
  try {
    const path = createRequire(import.meta.url)("node-gyp-build").path(PACKAGE);
    return path.startsWith(PACKAGE) ? path : undefined;
  } catch {
    return undefined;
  } finally {
    if (before === undefined) delete process.env.PREBUILDS_ONLY;
    else process.env.PREBUILDS_ONLY = before;
  }
}

/** Loads the addon in another process: an older system library or another LibTorch shows only then. */
function loadFailure(addon) {
  const libraries = join(PACKAGE, "vendor", "libtorch", "lib");
  const { status, signal, stderr } = spawnSync(
    process.execPath,
    ["-e", `process.dlopen({ exports: {} }, ${JSON.stringify(addon)})`],
    { encoding: "utf8", env: { ...process.env, PATH: `${libraries}${delimiter}${process.env.PATH ?? ""}` } },
  );
  if (status === 0) return undefined;
  return /Error: (.*)/.exec(stderr)?.[1] ?? signal ?? `exit code ${status}`;
}

if (process.env.SOUNDSPOT_SKIP_BUILD) {
  log("SOUNDSPOT_SKIP_BUILD is set: neither LibTorch nor the addon is installed.");
} else {
  try {
    await install();
  } catch (error) {
    progress.clear();
    console.error(
      `\nsoundspot could not be installed. ${error.message}\n\n` +
        `Mend that and run \`node ${join(PACKAGE, "scripts", "install.mjs")}\`, or set SOUNDSPOT_SKIP_BUILD=1 to ` +
        "install without the addon; `npx soundspot doctor` then says what is missing.",
    );
    process.exitCode = 1;
  } finally {
    progress.end();
  }
}
