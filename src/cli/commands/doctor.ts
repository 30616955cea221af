/** `soundspot doctor`: what this installation consists of, and what to mend. */
import type { Command } from "commander";
import { type Diagnosis, diagnose, type Status } from "../doctor.js";

const MARK: Readonly<Record<Status, string>> = { ok: "ok", warning: "warning", missing: "MISSING" };

export function register(program: Command): void {
  program
    .command("doctor")
    .description(
      "say what was found of Node.js, the addon, LibTorch and ffmpeg, and how to mend what is missing",
    )
    .option("--json", "print the findings as JSON")
    .action(async ({ json }: { json?: true }) => {
      const diagnosis = await diagnose();
      process.stdout.write(json ? `${JSON.stringify(diagnosis, null, 2)}\n` : formatTable(diagnosis));
      if (!diagnosis.ok) process.exitCode = 1;
    });
}

function formatTable({ version, findings }: Diagnosis): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = findings.flatMap(({ name, status, found, mend }) => {
    const line = `${name.padEnd(width)}  ${MARK[status].padEnd(MARK.missing.length)}  ${found}`;
    return mend === undefined ? [line] : [line, `${" ".repeat(width + 2)}→ ${mend}`];
  });
  return `soundspot ${version}\n\n${lines.join("\n")}\n`;
}
