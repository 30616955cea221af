/** A run of tests that is killed leaves no process of its own. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { endWithTests } from "../../support/ends-with-tests.js";
import { patience } from "../../support/patience.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "soundspot-killed-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const status = existsSync("/proc/self/stat") ? readFileSync(`/proc/${pid}/stat`, "utf8") : "";
  return !/\) [ZX] /.test(status);
}

async function until(condition: () => boolean): Promise<boolean> {
  const end = performance.now() + patience(60);
  while (!condition() && performance.now() < end) await sleep(50);
  return condition();
}

/** A file of tests whose only test starts what would go on for ever, as the samples' services do, and waits. */
const endless = `
import { spawn } from "node:child_process";
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { it } from "vitest";
import { bound, endWithTests } from ${JSON.stringify(join(root, "test/support/ends-with-tests.ts"))};

const server = "require('node:http').createServer().listen(0, () => console.log(process.pid))";
it("goes on", async () => {
  const pids = [process.pid, process.ppid];
  const started = [
    spawn(process.execPath, ["-e", server]),
    spawn(process.execPath, ["-e", server], { env: { ...endWithTests } }),
    // A process of a process, in a group of its own.
    spawn("sh", ["-c", '"$0" -e "$1" & wait', process.execPath, server], { detached: true }),
  ];
  if (process.platform === "linux") started.push(spawn(...bound("sh", ["-c", "echo $$; exec sleep 1000"])));
  for (const child of started) {
    pids.push(await new Promise((done) => child.stdout.on("data", (text) => done(Number(text)))));
  }
  const list = ${JSON.stringify(join(folder, "pids.json"))};
  writeFileSync(list + ".part", JSON.stringify(pids));
  renameSync(list + ".part", list);
  await new Promise(() => createServer().listen(0));
});
`;

describe("what tests start", () => {
  it.skipIf(process.platform === "win32").each([
    ["vitest", 1],
    ["the process of a file", 0],
  ])("ends when %s is killed", async (_name, which) => {
    const list = join(folder, "pids.json");
    rmSync(list, { force: true });
    mkdirSync(join(folder, "test"), { recursive: true });
    if (!existsSync(join(folder, "node_modules"))) {
      symlinkSync(join(root, "node_modules"), join(folder, "node_modules"), "junction");
    }
    writeFileSync(join(folder, "test", "endless.test.ts"), endless);
    const program = join(root, "node_modules", "vitest", "vitest.mjs");
    const { NODE_OPTIONS, VITEST, ...env } = process.env;
    const args = [program, "run", "--root", folder, "--config", join(root, "vitest.config.ts")];
    const vitest = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [vitest.stdout, vitest.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    let pids: number[] = [];
    try {
      await until(() => existsSync(list) || vitest.exitCode !== null);
      expect(existsSync(list), output).toBe(true);
      pids = JSON.parse(readFileSync(list, "utf8")) as number[];
      expect(pids.filter(runs)).toEqual(pids);
      process.kill(pids[which] as number, "SIGKILL");
      const left = () => pids.filter((pid, i) => i !== 1 && runs(pid));
      expect(await until(() => left().length === 0), `${left()} of ${pids} still run`).toBe(true);
    } finally {
      for (const pid of [...pids, vitest.pid as number].filter(runs)) process.kill(pid, "SIGKILL");
    }
  });

  it("is told so by every test", () => {
    expect(process.env).toMatchObject({ SOUNDSPOT_TESTS: String(process.pid) });
    expect(process.env.NODE_OPTIONS).toContain(endWithTests.NODE_OPTIONS);
  });
});
