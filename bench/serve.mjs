// The service under load: its answers a second as a share of the engine's pairs, decoding included; latency and memory
// beyond its limits.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { Model } from "../dist/index.js";
import { pair } from "./lib/inputs.mjs";
import { figures, files, form, load, watch } from "./lib/load.mjs";
import { median } from "./lib/turns.mjs";

const cli = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const PAIRS = 8;
/** Most pairs of the service's batches. */
const TOGETHER = 32;
const CLIENTS = 64;
/** More than the service's 144 places. */
const CROWD = 256;
/** Clients of their own addresses beside a crowd of one address. */
const FEW = 8;
const columns = ["who", "pairs/s", "× engine", "p50 ms", "p99 ms", "statuses"];
const widths = [40, 0, 0, 0, 0, 20];

/** An address of each client. */
const ownAddress = (client) => `10.1.${client >> 8}.${client & 255}`;

/** Pairs a second of the engine without HTTP, from files and from prepared tensors, in turns. */
async function engineRates(weights, sources, rounds, expect) {
  const model = await Model.load(weights);
  const inputs = {
    files: Array.from({ length: TOGETHER }, (_, i) => sources[i % sources.length]),
    prepared: Array.from({ length: TOGETHER }, (_, i) => pair(i + 1)),
  };
  const times = { files: [], prepared: [] };
  for (let i = 0; i < rounds + 2; i++) {
    for (const kind of Object.keys(inputs)) {
      const started = performance.now();
      await model.localize(inputs[kind]);
      times[kind].push(performance.now() - started);
    }
    if (i === 1) expect((rounds * (times.files[1] + times.prepared[1])) / 1000);
  }
  model.dispose();
  const rate = (kind) => (1000 * TOGETHER) / median(times[kind].slice(2));
  return { files: rate("files"), prepared: rate("prepared") };
}

/** Writes the paper's model with the settings of the service, which OpenMP reads when the addon is loaded. */
async function untrained(weights) {
  process.env.GOMP_SPINCOUNT ??= "3000";
  sharp.concurrency(1);
  const model = await Model.create();
  await model.save(weights);
  model.dispose();
}

async function start(weights, flags) {
  const child = spawn(process.execPath, [cli, "serve", weights, "--port", "0", "--json", ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise((resolve, reject) => {
    lines.once("line", (line) => resolve(JSON.parse(line).url));
    child.once("exit", () => reject(new Error("the service did not start")));
  });
  return { child, url };
}

const rounded = (values) => values.map((value) => value.toFixed(0)).join(", ");

export async function serve({ seconds = 60, rounds: engineRounds = 16, flags = [], report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  let child;
  try {
    await untrained(weights);
    const title = `the service with the paper's model, ${seconds} s`;
    const [warmUp, forOne, overload] = [Math.min(10, seconds), Math.min(15, seconds / 2), seconds / 2];
    const sources = await Promise.all(Array.from({ length: PAIRS }, (_, i) => files(i + 1)));
    const forms = sources.map(form);
    const engine = await engineRates(weights, sources, engineRounds, (engineSeconds) => {
      report.expect(engineSeconds + 2 + forOne + warmUp + seconds + 2 * overload, 7);
      report.table(title, columns, widths);
      report.step("the engine");
    });
    const rows = [];
    const row = (name, { rate, p50, p99, statuses }) => {
      rows.push([
        name,
        rate.toFixed(1),
        (rate / engine.files).toFixed(2),
        p50?.toFixed(0) ?? "",
        p99?.toFixed(0) ?? "",
        statuses ? [...statuses].map(([status, count]) => `${status}: ${count}`).join(", ") : "",
      ]);
      report.row(rows.at(-1));
    };
    row(`engine with decoding, batches of ${TOGETHER}`, { rate: engine.files });
    row(`engine alone, batches of ${TOGETHER}`, { rate: engine.prepared });

    report.step("one client");
    const service = await start(weights, ["--trust-proxy", "1", ...flags]);
    child = service.child;
    const { url } = service;
    await load(url, forms, { clients: 1, seconds: Math.min(2, seconds) });
    row("one client", await load(url, forms, { clients: 1, seconds: forOne }));

    report.step(`${CLIENTS} clients, to the size that the memory takes under load`);
    await load(url, forms, { clients: CLIENTS, seconds: warmUp, addressOf: ownAddress });
    const memory = [(await figures(url)).memory];
    const delays = [];
    const loads = [];
    /** Several groups of clients at a time, watched in parts; a row for each. */
    const phase = async (step, duration, parts, groups) => {
      const progress = report.step(step, parts);
      const running = groups.map(([, options]) => load(url, forms, { ...options, seconds: duration }));
      const seen = await watch(url, { seconds: duration, parts, onPart: progress });
      memory.push(...seen.map((each) => each.memory));
      delays.push(...seen.map((each) => each.delay));
      for (const [i, done] of (await Promise.all(running)).entries()) {
        row(groups[i][0], done);
        loads.push(done);
      }
    };
    await phase(`${CLIENTS} clients`, seconds, 4, [
      [`${CLIENTS} clients`, { clients: CLIENTS, addressOf: ownAddress }],
    ]);
    await phase(`${CROWD} clients`, overload, 2, [
      [`${CROWD} clients: overload`, { clients: CROWD, addressOf: ownAddress }],
    ]);
    await phase("a crowd of one address", overload, 2, [
      [`${CROWD} clients of one address`, { clients: CROWD, addressOf: () => "10.2.0.1" }],
      [`${FEW} clients of others beside them`, { clients: FEW, addressOf: ownAddress }],
    ]);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const code = await ended;
    return {
      title,
      table: { columns, rows },
      notes: [
        `MiB resident before the load, after each quarter of ${CLIENTS} clients, and after each half of the overload and of the crowd: ${rounded(memory)}; most: ${Math.max(...memory).toFixed(0)}`,
        `event loop, p99 of each of these parts, of which the measurement itself takes 10 ms: ${rounded(delays)} ms`,
        `rejections without Retry-After: ${loads.reduce((sum, { silent }) => sum + silent, 0)}; exit code after SIGTERM: ${code}`,
      ],
    };
  } finally {
    child?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}
