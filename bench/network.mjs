// Two processes of one thread in two network namespaces of this machine, joined by a link without a limit or limited to
// 100 Mbit/s in both directions by a token bucket filter. Linux, as root, with iproute2.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { config, secondsOf, training } from "./processes.mjs";

const command = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const [PAIRS, BATCH, RATE] = [1024, 64, "100mbit"];
const names = ["soundspot-0", "soundspot-1"];
const address = (rank) => `10.213.0.${rank + 1}`;
const link = (rank) => `soundspot${rank}`;

const ip = (...args) => execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
const inside = (rank, ...args) => ["netns", "exec", names[rank], ...args];

function connect() {
  for (const name of names) ip("netns", "add", name);
  ip("link", "add", link(0), "netns", names[0], "type", "veth", "peer", "name", link(1), "netns", names[1]);
  for (const rank of [0, 1]) {
    ip(...inside(rank, "ip", "address", "add", `${address(rank)}/24`, "dev", link(rank)));
    for (const device of ["lo", link(rank)]) ip(...inside(rank, "ip", "link", "set", device, "up"));
  }
}

function shape() {
  for (const rank of [0, 1]) {
    const filter = ["root", "tbf", "rate", RATE, "burst", "64kb", "latency", "50ms"];
    ip(...inside(rank, "tc", "qdisc", "add", "dev", link(rank), ...filter));
  }
}

function disconnect() {
  for (const name of names) {
    try {
      ip("netns", "delete", name);
    } catch {
      // It was not made.
    }
  }
}

/** The output of rank 0 in a run of both. */
async function run(file, output, port, pairs = PAIRS) {
  const ends = names.map((_, rank) => {
    const args = training(pairs, file, output);
    const child = spawn("ip", inside(rank, process.execPath, command, ...args), {
      stdio: ["ignore", rank === 0 ? "pipe" : "ignore", "inherit"],
      env: {
        ...process.env,
        OMP_NUM_THREADS: "1",
        RANK: String(rank),
        WORLD_SIZE: "2",
        MASTER_ADDR: address(0),
        MASTER_PORT: String(port),
        GLOO_SOCKET_IFNAME: link(rank),
        SOUNDSPOT_TIMEOUT: "60",
      },
    });
    let text = "";
    child.stdout?.setEncoding("utf8").on("data", (part) => {
      text += part;
    });
    return new Promise((done, fail) => {
      child.on("error", fail);
      child.on("close", (code) =>
        code === 0 ? done(text) : fail(new Error(`rank ${rank} ended with ${code}`)),
      );
    });
  });
  const [text] = await Promise.all(ends);
  const [epoch, result] = text.trim().split("\n").map(JSON.parse);
  return { seconds: epoch.seconds, traffic: result.traffic };
}

const steps = PAIRS / BATCH;
const title = `two processes in two network namespaces, preset scratch with every loss, batch ${BATCH}, ${steps} steps`;
const columns = ["link", "s", "pairs/s", "MB a step", "ms a step in exchange"];

export async function network({ report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const file = join(folder, "run.yaml");
  writeFileSync(file, config(BATCH));
  const rows = [];
  try {
    connect();
    const few = 2 * BATCH;
    const seconds = await secondsOf(PAIRS, few, () => run(file, join(folder, "short"), 29_599, few));
    report.expect(2 * seconds, 2);
    report.table(title, columns, [12]);
    for (const [i, name] of ["as it is", RATE].entries()) {
      if (i === 1) shape();
      report.step(`link: ${name}`);
      const { seconds, traffic } = await run(file, join(folder, String(i)), 29_600 + i);
      rows.push([
        name,
        seconds.toFixed(1),
        (PAIRS / seconds).toFixed(1),
        (traffic.bytes / steps / 1e6).toFixed(2),
        ((1000 * traffic.seconds) / steps).toFixed(0),
      ]);
      report.row(rows.at(-1));
    }
  } finally {
    disconnect();
    rmSync(folder, { recursive: true, force: true });
  }
  return { title, table: { columns, rows } };
}
