/** `soundspot setup`: gets LibTorch and the addon of a variant, as the install script does. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { hasDriver, type Variant } from "../../../scripts/locate.mjs";
import { setupCommand } from "../../core/addon.js";
import { isError, SoundspotError } from "../../core/errors.js";
import { packageRoot } from "../../core/package.js";
import { Progress } from "../progress.js";

/** What scripts/setup.mjs has installed, or found installed. */
interface Installed {
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

export function register(program: Command): void {
  program
    .command("setup")
    .description("download LibTorch and install the addon, for the CPU or for NVIDIA GPUs")
    .option("--cuda", "the variant for NVIDIA GPUs; takes some GB")
    .option("--json", "print what is installed as JSON")
    .action(async ({ cuda, json }: { cuda?: true; json?: true }) => {
      const installed = await install(cuda ? "cuda" : "cpu");
      process.stdout.write(json ? `${JSON.stringify(installed, null, 2)}\n` : describe(installed));
    });
}

async function install(variant: Variant): Promise<Installed> {
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

function describe({ variant, libtorch, addon }: Installed): string {
  const lines = [
    `variant   ${variant}`,
    `libtorch  ${libtorch.version ?? "unknown version"} in ${libtorch.folder}`,
    `addon     ${addon.path} (${addon.kind})`,
  ];
  if (variant === "cpu" && process.platform !== "darwin" && hasDriver()) {
    lines.push(
      "",
      `This machine has an NVIDIA driver: \`${setupCommand("cuda")}\` installs the variant for its GPUs.`,
    );
  }
  return `${lines.join("\n")}\n`;
}
