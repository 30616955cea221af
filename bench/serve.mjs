// The service under load: 64 clients on loopback against one client and against the engine without HTTP.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, get, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { Model } from "../dist/index.js";
import { pair, wav } from "./lib/inputs.mjs";
import { median } from "./lib/turns.mjs";

const cli = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const CLIENTS = 64;
const PAIRS = 8;
const TOGETHER = 16;
const BOUNDARY = "soundspot-bench";
const columns = ["who", "pairs/s", "× one client", "× engine", "p50 ms", "p99 ms", "statuses"];

/** A form with an image of 224 px and audio of 5 s, as a browser would send it. */
async function form(seed) {
  const pixels = new Uint8Array(224 * 224 * 3);
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [(i / 3) % 224, Math.floor(i / 672)];
    pixels[i] =
      128 + 90 * Math.sin((x * (1 + (i % 3)) + seed * y) / 23) + 30 * Math.sin((x * y) / (97 * seed));
  }
  const raw = { width: 224, height: 224, channels: 3 };
  const image = await sharp(pixels, { raw }).jpeg({ quality: 85 }).toBuffer();
  const samples = Float32Array.from(
    { length: 80_000 },
    (_, i) => 0.4 * Math.sin(i * 0.03 * seed) + 0.2 * Math.sin(i * 0.171),
  );
  const part = (name, type, file) => [
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n`,
    file,
    "\r\n",
  ];
  const parts = [...part("image", "image/jpeg", image), ...part("audio", "audio/wav", wav(samples, 16_000))];
  return Buffer.concat([...parts, `--${BOUNDARY}--\r\n`].map((each) => Buffer.from(each)));
}

/** Sends one form. @returns status, milliseconds and the seconds of Retry-After */
function send(url, agent, body) {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": `multipart/form-data; boundary=${BOUNDARY}`,
      "content-length": body.length,
    };
    const sent = request(`${url}/v1/localize`, { method: "POST", agent, headers }, (response) => {
      response.resume().on("error", reject);
      response.on("end", () => {
        const retryAfter = response.headers["retry-after"];
        resolve({ status: response.statusCode, ms: performance.now() - started, retryAfter });
      });
    });
    sent.on("error", reject).end(body);
  });
}

/** `clients` that send one form after the other for some seconds. */
async function load(url, forms, clients, seconds) {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const [statuses, times] = [new Map(), []];
  let silent = 0; // rejections without Retry-After
  const started = performance.now();
  const end = started + 1000 * seconds;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = client; performance.now() < end; i++) {
        const { status, ms, retryAfter } = await send(url, agent, forms[i % forms.length]).catch(() => ({
          status: "broken",
        }));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 200) times.push(ms);
        else if (retryAfter === undefined) silent++;
        else await sleep(Math.min(1000 * retryAfter, Math.max(0, end - performance.now())));
      }
    }),
  );
  agent.destroy();
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
  const rate = (1000 * times.length) / (performance.now() - started);
  return { statuses, silent, rate, p50: at(0.5), p99: at(0.99) };
}

/** The service's metrics: MiB resident, and the event loop's delay since the last request for them. */
function figures(url) {
  return new Promise((resolve, reject) => {
    get(`${url}/metrics`, async (response) => {
      let text = "";
      for await (const chunk of response.setEncoding("utf8")) text += chunk;
      const value = (name) => Number(new RegExp(`^${name} (\\S+)`, "m").exec(text)[1]);
      resolve({
        memory: value("process_resident_memory_bytes") / 2 ** 20,
        delay: 1000 * value("nodejs_eventloop_lag_p99_seconds"),
      });
    }).on("error", reject);
  });
}

/** Pairs a second of the engine in batches of 16, from prepared tensors. */
async function engineRate(weights, rounds, expect) {
  const model = await Model.load(weights);
  const inputs = Array.from({ length: TOGETHER }, (_, i) => pair(i + 1));
  const times = [];
  for (let i = 0; i < rounds + 2; i++) {
    const started = performance.now();
    await model.localize(inputs);
    times.push(performance.now() - started);
    if (i === 1) expect((rounds * times[1]) / 1000);
  }
  model.dispose();
  return (1000 * TOGETHER) / median(times.slice(2));
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

export async function serve({ seconds = 60, engineRounds = 16, flags = [], report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  let child;
  try {
    const model = await Model.create();
    await model.save(weights);
    model.dispose();
    const title = `the service with the paper's model, ${seconds} s`;
    const warmUp = Math.min(10, seconds);
    const forOne = Math.min(15, seconds / 2);
    const engine = await engineRate(weights, engineRounds, (engineSeconds) => {
      report.expect(engineSeconds + 2 + forOne + warmUp + seconds, 3);
      report.table(title, columns, [24, 0, 0, 0, 0, 0, 20]);
      report.step("the engine");
    });
    const rows = [];
    let alone;
    const row = (name, { rate, p50, p99, statuses }) => {
      rows.push([
        name,
        rate.toFixed(1),
        alone ? (rate / alone.rate).toFixed(2) : "",
        (rate / engine).toFixed(2),
        p50?.toFixed(0) ?? "",
        p99?.toFixed(0) ?? "",
        statuses ? [...statuses].map(([status, count]) => `${status}: ${count}`).join(", ") : "",
      ]);
      report.row(rows.at(-1));
    };
    row(`engine, batches of ${TOGETHER}`, { rate: engine });
    report.step("one client");
    const forms = await Promise.all(Array.from({ length: PAIRS }, (_, i) => form(i + 1)));
    const service = await start(weights, flags);
    child = service.child;
    const { url } = service;
    await load(url, forms, 1, 2);
    alone = await load(url, forms, 1, forOne);
    row("one client", alone);
    report.step(`${CLIENTS} clients, to the size that the memory takes under load`);
    await load(url, forms, CLIENTS, warmUp);
    const progress = report.step(`${CLIENTS} clients`, 4);
    const memory = [(await figures(url)).memory];
    const delays = [];
    const loaded = load(url, forms, CLIENTS, seconds);
    for (let quarter = 1; quarter <= 4; quarter++) {
      await sleep((1000 * seconds) / 4 - (quarter === 4 ? 500 : 0));
      const { memory: now, delay } = await figures(url);
      memory.push(now);
      delays.push(delay);
      progress(quarter);
    }
    const many = await loaded;
    row(`${CLIENTS} clients`, many);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const code = await ended;
    return {
      title,
      table: {
        columns,
        // The engine's ratio to one client is known once a client was measured.
        rows: rows.map(([name, rate, , ...rest]) => [
          name,
          rate,
          (Number(rate) / alone.rate).toFixed(2),
          ...rest,
        ]),
      },
      notes: [
        `MiB resident at the start and after each quarter: ${memory.map((each) => each.toFixed(0)).join(", ")}`,
        `event loop, p99 of each quarter, of which the measurement itself takes 10 ms: ${delays.map((each) => each.toFixed(0)).join(", ")} ms`,
        `rejections without Retry-After: ${many.silent}; exit code after SIGTERM: ${code}`,
      ],
    };
  } finally {
    child?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}
