/** `soundspot doctor`: checks the installation, and says what to fix. */
import type { Command } from "commander";
import { type Diagnosis, diagnose } from "../doctor.js";
import type { Status } from "../finding.js";

const MARK: Readonly<Record<Status, string>> = { ok: "ok", warning: "warning", missing: "MISSING" };

export function register(program: Command): void {
  program
    .command("doctor")
    .description("check Node.js, the addon, LibTorch, GPUs and ffmpeg, and say how to fix what is missing")
    .option("--json", "print the findings as JSON")
    .action(async ({ json }: { json?: true }) => {
      const diagnosis = await diagnose();
      process.stdout.write(json ? `${JSON.stringify(diagnosis, null, 2)}\n` : formatTable(diagnosis));
      if (!diagnosis.ok) process.exitCode = 1;
    });
}

function formatTable({ version, findings }: Diagnosis): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = findings.flatMap(({ name, status, found, fix }) => {
    const line = `${name.padEnd(width)}  ${MARK[status].padEnd(MARK.missing.length)}  ${found}`;
    return fix === undefined ? [line] : [line, `${" ".repeat(width + 2)}→ ${fix}`];
  });
  return `soundspot ${version}\n\n${lines.join("\n")}\n`;
}
