/** Runs a script in several processes that join one group. */
import { type ChildProcess, spawn } from "node:child_process";
import { freePort } from "../../src/cli/processes.js";

export interface ProcessOutcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

/**
 * @param watch sees what a process has written so far, each time there is more of it
 * @returns how each process ended, in the order of ranks
 */
export async function inGroup(
  size: number,
  args: readonly string[],
  watch: (rank: number, output: string, children: readonly ChildProcess[]) => void = () => undefined,
  env: Readonly<Record<string, string>> = {},
): Promise<ProcessOutcome[]> {
  const port = String(await freePort());
  const children = Array.from({ length: size }, (_, rank) =>
    spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        OMP_NUM_THREADS: "1",
        RANK: String(rank),
        WORLD_SIZE: String(size),
        MASTER_ADDR: "127.0.0.1",
        MASTER_PORT: port,
        SOUNDSPOT_TIMEOUT: "60",
        ...env,
      },
    }),
  );
  return Promise.all(
    children.map((child, rank) => {
      let [output, errors] = ["", ""];
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        watch(rank, output, children);
      });
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        errors += text;
      });
      return new Promise<ProcessOutcome>((resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code, signal) => resolve({ code, signal, output, errors }));
      });
    }),
  );
}
