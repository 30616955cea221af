#!/usr/bin/env node
/** The command `soundspot`: each command is one file in commands/, found by its name. */
import { readdirSync } from "node:fs";
import { type Command, CommanderError } from "commander";
import { isError, isSoundspotError } from "../core/errors.js";
import { packageVersion } from "../core/package.js";
import { offerInstallation } from "./installation.js";
import { UsageCommand } from "./usage.js";

/** Codes of errors in the command itself, not in its input. */
const wrongUsage: ReadonlySet<string> = new Set(["ERR_CONFIG", "ERR_OUTPUT_IS_INPUT"]);

interface CommandModule {
  register(program: Command): void;
}

const program: Command = new UsageCommand("soundspot")
  .description("Find where a sound comes from in an image.")
  .version(packageVersion())
  .showHelpAfterError("(add --help for usage)")
  .exitOverride();

// A reader that stops early, such as head, only ends the output.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

// The package's own warnings are one line each, like those of the commands.
const printers = process.listeners("warning");
process.removeAllListeners("warning");
process.on("warning", (warning) => {
  if (printers.length === 0) return; // --no-warnings
  if (warning.name === "SoundspotWarning") process.stderr.write(`warning: ${warning.message}\n`);
  else for (const print of printers) print(warning);
});

const folder = new URL("./commands/", import.meta.url);
for (const file of readdirSync(folder).sort()) {
  if (!file.endsWith(".js")) continue;
  const module = (await import(new URL(file, folder).href)) as CommandModule;
  module.register(program);
}
// A command made before exitOverride of its parent does not inherit it.
for (const command of program.commands) command.exitOverride();

/** Prints an error. @returns the exit code */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (isSoundspotError(error)) {
    process.stderr.write(`soundspot: ${error.message} [${error.code}]\n`);
    return wrongUsage.has(error.code) ? 2 : 1;
  }
  process.stderr.write(`soundspot: ${isError(error) ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
}

try {
  await program.parseAsync();
} catch (error) {
  try {
    const code = isSoundspotError(error) ? await offerInstallation(error) : undefined;
    process.exitCode = code ?? report(error);
  } catch (failure) {
    process.exitCode = report(failure);
  }
}
