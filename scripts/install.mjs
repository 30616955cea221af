#!/usr/bin/env node
/**
 * npm's install script: LibTorch, then the addon, prebuilt if available, else compiled. `soundspot setup` does the same
 * where package managers run no install scripts.
 *
 *   SOUNDSPOT_VARIANT=cuda   the variant for NVIDIA GPUs
 *   SOUNDSPOT_SKIP_BUILD=1   do nothing
 *   PREBUILDS_ONLY=1         never compile
 */
import { hasDriver, variantOf } from "./locate.mjs";
import { Progress } from "./progress.mjs";
import { setup } from "./setup.mjs";

const progress = new Progress({ prefix: "soundspot: " });
const log = (line) => {
  progress.clear();
  console.error(`soundspot: ${line}`);
};

if (process.env.SOUNDSPOT_SKIP_BUILD) {
  log("SOUNDSPOT_SKIP_BUILD is set: neither LibTorch nor the addon is installed.");
} else {
  try {
    const variant = variantOf() ?? "cpu";
    await setup({ variant, log, progress });
    if (variant === "cpu" && process.platform !== "darwin" && hasDriver()) {
      log(
        "this machine has an NVIDIA driver: `npx soundspot setup --cuda` installs the variant for its GPUs.",
      );
    }
  } catch (error) {
    progress.clear();
    console.error(
      `\nsoundspot could not be installed. ${error.message}\n\n` +
        "Fix that and install again, or set SOUNDSPOT_SKIP_BUILD=1 to install without LibTorch and the addon, and run " +
        "`npx soundspot setup` later; `npx soundspot doctor` says what is missing.",
    );
    process.exitCode = 1;
  } finally {
    progress.end();
  }
}
