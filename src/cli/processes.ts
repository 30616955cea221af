/** Commands that run in several processes: as a member that a launcher started, or as the launcher. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { availableParallelism } from "node:os";
import { SoundspotError } from "../core/errors.js";
import { ProcessGroup } from "../distributed/process-group.js";
import { native } from "../native.js";

/** Milliseconds that processes have to save and exit after one has failed. */
const GRACE = 120_000;

const LOOPBACK = "127.0.0.1";

/** A currently free TCP port. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, fail) => server.once("error", fail).listen(0, LOOPBACK, done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

/** The command line without `--processes N`. */
function ownArguments(): string[] {
  const kept: string[] = [];
  const given = process.argv.slice(2);
  for (let i = 0; i < given.length; i++) {
    const each = given[i] as string;
    if (each === "--processes") i++;
    else if (!each.startsWith("--processes=")) kept.push(each);
  }
  return kept;
}

/**
 * Runs this command in `count` processes on this machine, which share its cores, and waits for all of them. Signals are
 * forwarded to them; when one fails the others are ended.
 * @returns the exit code: that of the first process that failed, or 0
 */
async function launch(count: number): Promise<number> {
  const env = {
    ...process.env,
    MASTER_ADDR: LOOPBACK,
    MASTER_PORT: String(await freePort()),
    WORLD_SIZE: String(count),
    OMP_NUM_THREADS:
      process.env.OMP_NUM_THREADS ?? String(Math.max(1, Math.floor(availableParallelism() / count))),
  };
  const children = Array.from({ length: count }, (_, rank) =>
    spawn(process.execPath, [...process.execArgv, process.argv[1] as string, ...ownArguments()], {
      env: { ...env, RANK: String(rank), LOCAL_RANK: String(rank) },
      stdio: ["ignore", rank === 0 ? "inherit" : "ignore", "inherit"],
      // They get a terminal's signals only from here, once: a second one would not let them save.
      detached: process.platform !== "win32",
    }),
  );
  let signalled = false;
  const forward = (name: NodeJS.Signals) => {
    signalled = true;
    for (const child of children) child.kill(name);
  };
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, forward);
  let [failure, timer]: [number, NodeJS.Timeout | undefined] = [0, undefined];
  try {
    await Promise.all(
      children.map(
        (child) =>
          new Promise<void>((done) => {
            const failed = (code: number, why: string | undefined) => {
              failure ||= code;
              if (why !== undefined) process.stderr.write(`soundspot: a process ${why}\n`);
              // After a signal all of them end by themselves.
              if (!signalled) timer ??= setTimeout(() => forward("SIGKILL"), GRACE);
            };
            child.once("error", ({ message }) => {
              failed(1, `could not be started: ${message}`);
              done();
            });
            child.once("exit", (code, signal) => {
              if (code !== 0) failed(code ?? 1, signal ? `was ended by ${signal}` : undefined);
              done();
            });
          }),
      ),
    );
  } finally {
    clearTimeout(timer);
    for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, forward);
  }
  return failure;
}

/** Processes for `--processes`: with "auto" one for each GPU, one without. */
export function processesFor(
  wanted: number | "auto" | undefined,
  devices: readonly string[],
): number | undefined {
  if (wanted !== "auto") return wanted;
  return Math.max(1, devices.filter((name) => name.startsWith("cuda:")).length);
}

/**
 * Runs a command's work: in this process, as a member of a group if the environment defines one, or in `wanted`
 * processes that it launches.
 */
export async function inProcesses(
  wanted: number | "auto" | undefined,
  work: (group: ProcessGroup | undefined) => Promise<void>,
): Promise<void> {
  const member = ProcessGroup.fromEnvironment();
  // A launcher decides; members do not count GPUs.
  const processes =
    wanted === "auto" ? (member ? undefined : processesFor(wanted, native().info().devices)) : wanted;
  if (!member && processes !== undefined && processes > 1) {
    process.exitCode = await launch(processes);
    return;
  }
  if (member && processes !== undefined && processes !== member.size) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `--processes is ${processes}, but a launcher has started ${member.size} (WORLD_SIZE). Leave --processes out.`,
    );
  }
  const group = member && (await ProcessGroup.join(member));
  try {
    await work(group);
  } finally {
    await group?.leave();
  }
}
