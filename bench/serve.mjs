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
/** Turns of the engine and of the service. */
const TURNS = 10;
const columns = ["who", "pairs/s", "× engine", "p50 ms", "p99 ms", "statuses"];
const widths = [40, 0, 0, 0, 0, 20];

/** An address of each client. */
const ownAddress = (client) => `10.1.${client >> 8}.${client & 255}`;

/** The engine without HTTP. `rates` gives its pairs a second by the medians of some batches, from files and of tensors. */
async function engineOf(weights, sources) {
  const model = await Model.load(weights);
  const inputs = {
    files: Array.from({ length: TOGETHER }, (_, i) => sources[i % sources.length]),
    prepared: Array.from({ length: TOGETHER }, (_, i) => pair(i + 1)),
  };
  const rates = async (rounds) => {
    const times = { files: [], prepared: [] };
    for (let i = 0; i <= rounds; i++) {
      for (const kind of Object.keys(inputs)) {
        const started = performance.now();
        await model.localize(inputs[kind]);
        if (i > 0) times[kind].push(performance.now() - started); // the first brings the weights back into the caches
      }
    }
    const rate = (kind) => (1000 * TOGETHER) / median(times[kind]);
    return { files: rate("files"), prepared: rate("prepared") };
  };
  return { rates, dispose: () => model.dispose() };
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

/** Turns of a load as one: medians of their figures, the longest of their 99th percentiles, the sums of their answers. */
function together(parts) {
  const statuses = new Map();
  for (const [status, count] of parts.flatMap((part) => [...part.statuses])) {
    statuses.set(status, (statuses.get(status) ?? 0) + count);
  }
  const of = (figure) => median(parts.map((part) => part[figure]));
  return { rate: of("rate"), p50: of("p50"), p99: Math.max(...parts.map(({ p99 }) => p99)), statuses };
}

const rounded = (values) => values.map((value) => value.toFixed(0)).join(", ");

export async function serve({ seconds = 60, rounds = 3, flags = [], report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  let child;
  try {
    await untrained(weights);
    const title = `the service with the paper's model, ${seconds} s`;
    const [warmUp, forOne, overload] = [Math.min(10, seconds), Math.min(15, seconds / 2), seconds / 2];
    const sources = await Promise.all(Array.from({ length: PAIRS }, (_, i) => files(i + 1)));
    const forms = sources.map(form);
    const engine = await engineOf(weights, sources);
    const { files: before } = await engine.rates(1);
    const engineSeconds = (2 * TURNS * (rounds + 1) * TOGETHER) / before;
    report.expect(engineSeconds + 2 + warmUp + seconds + forOne + 2 * overload, 7);
    report.table(title, columns, widths);
    const rows = [];
    let whole;
    const row = (name, { rate, share = rate / whole, p50, p99, statuses }) => {
      rows.push([
        name,
        rate.toFixed(1),
        share.toFixed(2),
        p50?.toFixed(0) ?? "",
        p99?.toFixed(0) ?? "",
        statuses ? [...statuses].map(([status, count]) => `${status}: ${count}`).join(", ") : "",
      ]);
      report.row(rows.at(-1));
    };
    const service = await start(weights, ["--trust-proxy", "1", ...flags]);
    child = service.child;
    const { url } = service;

    report.step(`${CLIENTS} clients, to the size that the memory takes under load`);
    await load(url, forms, { clients: CLIENTS, seconds: warmUp, addressOf: ownAddress });
    const memory = [(await figures(url)).memory];
    const delays = [];
    const loads = [];
    const keep = (seen) => {
      memory.push(...seen.map((each) => each.memory));
      delays.push(...seen.map((each) => each.delay));
    };
    // In turns, because the speed of a machine changes within seconds: the share is the median of those of the turns.
    const [engines, served] = [[], []];
    const inTurns = report.step(`the engine and ${CLIENTS} clients in turns`, TURNS);
    for (let turn = 0; turn < TURNS; turn++) {
      engines.push(await engine.rates(rounds));
      const running = load(url, forms, { clients: CLIENTS, seconds: seconds / TURNS, addressOf: ownAddress });
      const seen = await watch(url, { seconds: seconds / TURNS, parts: 1 });
      if (turn % 3 === 0) keep(seen);
      served.push(await running);
      inTurns(turn + 1);
    }
    engine.dispose();
    whole = median(engines.map(({ files }) => files));
    const shares = served.map(({ rate }, turn) => rate / engines[turn].files);
    row(`engine with decoding, batches of ${TOGETHER}`, { rate: whole });
    row(`engine alone, batches of ${TOGETHER}`, { rate: median(engines.map(({ prepared }) => prepared)) });
    row(`${CLIENTS} clients`, { ...together(served), share: median(shares) });
    loads.push(...served);

    report.step("one client");
    await load(url, forms, { clients: 1, seconds: Math.min(2, seconds) });
    row("one client", await load(url, forms, { clients: 1, seconds: forOne }));
    /** Several groups of clients at a time, watched in parts; a row for each. */
    const phase = async (step, duration, parts, groups) => {
      const progress = report.step(step, parts);
      const running = groups.map(([, options]) => load(url, forms, { ...options, seconds: duration }));
      keep(await watch(url, { seconds: duration, parts, onPart: progress }));
      for (const [i, done] of (await Promise.all(running)).entries()) {
        row(groups[i][0], done);
        loads.push(done);
      }
    };
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
        `MiB resident before the load, after every third turn of ${CLIENTS} clients, and after each half of the overload and of the crowd: ${rounded(memory)}; most: ${Math.max(...memory).toFixed(0)}`,
        `shares of the turns of ${CLIENTS} clients: ${shares.map((share) => share.toFixed(2)).join(", ")}`,
        `event loop, p99 of each of these parts, of which the measurement itself takes 10 ms: ${rounded(delays)} ms`,
        `rejections without Retry-After: ${loads.reduce((sum, { silent }) => sum + silent, 0)}; exit code after SIGTERM: ${code}`,
      ],
    };
  } finally {
    child?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}
