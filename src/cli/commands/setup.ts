/** `soundspot setup`: gets LibTorch and the addon of a variant, as the install script does. */
import type { Command } from "commander";
import { hasDriver } from "../../../scripts/locate.mjs";
import { setupCommand } from "../../core/addon.js";
import { type Installed, installVariant } from "../installation.js";

export function register(program: Command): void {
  program
    .command("setup")
    .description("download LibTorch and install the addon, for the CPU or for NVIDIA GPUs")
    .option("--cuda", "the variant for NVIDIA GPUs; takes some GB")
    .option("--json", "print what is installed as JSON")
    .action(async ({ cuda, json }: { cuda?: true; json?: true }) => {
      const installed = await installVariant(cuda ? "cuda" : "cpu");
      process.stdout.write(json ? `${JSON.stringify(installed, null, 2)}\n` : describe(installed));
    });
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
