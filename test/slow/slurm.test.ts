/** The recipe for SLURM of docs/distributed.md, in a SLURM with two nodes on this machine. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { freePort } from "../../src/cli/processes.js";
import { cli, parametersOf, smallTraining, trainedHere } from "../support/cluster.js";
import { bound } from "../support/ends-with-tests.js";
import { TestNetwork } from "../support/network.js";

function missing(): string | undefined {
  // Without a configuration they fail, but they start.
  const absent = ["sbatch", "srun", "slurmctld", "slurmd", "munged"].find(
    (tool) => spawnSync(tool, ["--version"]).error,
  );
  if (absent) return `there is no ${absent}: install slurm-wlm and munge`;
  return TestNetwork.obstacle();
}
const obstacle = missing();
if (obstacle) console.warn(`test/slow/slurm.test.ts is skipped: ${obstacle}`);

const folder = obstacle ? "" : mkdtempSync(join(tmpdir(), "soundspot-slurm-"));
afterAll(() => obstacle || rmSync(folder, { recursive: true, force: true }));
const EPOCHS = 2;

/** The daemons of a cluster, each of them a child of this process. */
class Cluster {
  readonly network = new TestNetwork(2);
  readonly env = { ...process.env, SLURM_CONF: join(folder, "slurm.conf") };
  readonly #daemons: ChildProcess[] = [];

  async start(): Promise<void> {
    // Of this machine; the others have their nodes' networks to themselves.
    const port = await freePort();
    const socket = join(folder, "munge.socket");
    const key = join(folder, "munge.key");
    writeFileSync(key, Buffer.from(Array.from({ length: 1024 }, (_, i) => (i * i) % 251)), { mode: 0o400 });
    const { network } = this;
    const nodes = network.names.map(
      (name) => `NodeName=${name} NodeAddr=${network.addressOf(name)} CPUs=2 RealMemory=500 State=UNKNOWN`,
    );
    writeFileSync(
      this.env.SLURM_CONF,
      `ClusterName=soundspot
SlurmctldHost=${hostname()}(${network.addressOf("head")})
AuthInfo=socket=${socket}
SlurmUser=root
SlurmdUser=root
StateSaveLocation=${join(folder, "state")}
SlurmdSpoolDir=${join(folder, "spool-%n")}
SlurmctldPidFile=${join(folder, "slurmctld.pid")}
SlurmdPidFile=${join(folder, "slurmd-%n.pid")}
SlurmctldLogFile=${join(folder, "slurmctld.log")}
SlurmdLogFile=${join(folder, "slurmd-%n.log")}
SlurmctldPort=${port}
SlurmdPort=7818
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
${nodes.join("\n")}
PartitionName=all Nodes=${network.names.join(",")} Default=YES State=UP
`,
    );
    for (const name of ["state", ...network.names.map((node) => `spool-${node}`)])
      mkdirSync(join(folder, name));
    const files = ["key-file=munge.key", "socket=munge.socket", "pid-file=munge.pid", "log-file=munge.log"];
    const munge = [...files, "seed-file=munge.seed"].map((file) => `--${file.replace("=", `=${folder}/`)}`);
    const options = { env: this.env, stdio: "ignore" } as const;
    this.#daemons.push(spawn(...bound("munged", ["--foreground", "--force", ...munge]), options));
    this.#daemons.push(spawn(...bound("slurmctld", ["-D"]), options));
    for (const name of network.names)
      this.#daemons.push(network.spawn(name, "slurmd", ["-D", "-N", name], options));
  }

  /** Until all nodes are idle. @throws with SLURM's own logs */
  async ready(): Promise<void> {
    for (let tries = 0; tries < 120; tries++) {
      const { stdout } = spawnSync("sinfo", ["-h", "-o", "%t %D"], { env: this.env, encoding: "utf8" });
      if (stdout.trim() === "idle 2") return;
      await delay(500);
    }
    throw new Error(`The nodes did not become idle.\n${this.logs()}`);
  }

  logs(): string {
    return ["slurmctld", ...this.network.names.map((name) => `slurmd-${name}`)]
      .map((name) => spawnSync("tail", ["-n", "8", join(folder, `${name}.log`)], { encoding: "utf8" }).stdout)
      .join("\n");
  }

  async stop(): Promise<void> {
    const ends = this.#daemons.map((each) => new Promise((done) => each.once("close", done)));
    for (const each of this.#daemons.toReversed()) each.kill();
    await Promise.race([Promise.all(ends), delay(10_000)]);
    for (const each of this.#daemons) each.kill("SIGKILL");
    this.network.dispose();
  }
}

/** The block after the word, as it stands in the docs. */
function recipe(name: string): string {
  const text = readFileSync("docs/distributed.md", "utf8");
  const found = new RegExp(`\\*\\*${name}\\*\\*[^\`]*\`\`\`sh\\n([^]*?)\`\`\``).exec(text)?.[1];
  if (!found) throw new Error(`docs/distributed.md has no recipe for ${name}.`);
  return found;
}

describe.skipIf(obstacle)("SLURM", () => {
  it("runs the recipe of the docs on two nodes, with the parameters of two local processes", async () => {
    const expected = await trainedHere(folder, 2, EPOCHS);
    const replaced = recipe("SLURM")
      .replace("npx soundspot", `${process.execPath} ${cli}`)
      .replace("--data train.jsonl", smallTraining(folder, EPOCHS).join(" "))
      .replace("/shared", folder);
    expect(replaced).toContain("srun ");
    const [job, printed] = ["job.sh", "printed.txt"].map((name) => join(folder, name)) as [string, string];
    writeFileSync(job, replaced);
    const cluster = new Cluster();
    try {
      await cluster.start();
      await cluster.ready();
      // Options of the command line go before those of the script, which asks for four large machines.
      const size = ["--wait", "--nodes", "2", "--cpus-per-task", "1", "--output", printed];
      const { status } = spawnSync("sbatch", [...size, job], {
        env: { ...cluster.env, OMP_NUM_THREADS: "1" },
        timeout: 240_000,
      });
      const text = readFileSync(printed, "utf8");
      expect(status, `${text}\n${cluster.logs()}`).toBe(0);
      expect(text).toContain("2 processes; each exchanged");
      expect(text).not.toMatch(/hostname|socket\.cpp/);
      expect(await parametersOf(join(folder, "runs", "a"))).toEqual(expected);
      console.log(execFileSync("sinfo", ["-V"], { env: cluster.env, encoding: "utf8" }).trim());
    } finally {
      await cluster.stop();
    }
  }, 600_000);
});
