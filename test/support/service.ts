/** A service with the smallest model, and requests to it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeImage } from "../../src/drawing/encode.js";
import { Model, type Server, type ServerOptions, serve } from "../../src/index.js";
import { encodeWav } from "../../src/media/wav.js";
import { patience } from "./patience.js";
import { tiny } from "./tiny.js";

export type Values = Readonly<Record<string, string | Uint8Array>>;

/** A sine of a second. */
export const audio = Buffer.from(
  encodeWav({
    samples: Float32Array.from({ length: 16_000 }, (_, i) => Math.sin(i / 9) / 2),
    sampleRate: 16_000,
  }),
);

/** An image of 60 × 40 pixels. */
export function png(): Promise<Buffer> {
  const data = Uint8Array.from({ length: 60 * 40 * 3 }, (_, i) => (i * 31 + ((i * i) % 97)) % 256);
  return encodeImage({ data, width: 60, height: 40 }, { format: "png" });
}

export function form(values: Values): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "string") data.append(name, value);
    else data.append(name, new Blob([new Uint8Array(value)]), name);
  }
  return data;
}

export function post(url: string, values: Values, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/v1/localize`, { method: "POST", body: form(values), headers });
}

/** Status, code and message of a failure. */
export async function failure(response: Promise<Response>): Promise<[number, string, string]> {
  const { status, ...rest } = await response.then(async (each) => ({
    status: each.status,
    body: await each.json(),
  }));
  const { code, message } = (rest.body as { error: { code: string; message: string } }).error;
  return [status, code, message];
}

/** The value of a metric, by its name with labels; 0 where it is missing. */
export async function metric(url: string, line: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.split("\n").find((each) => each.startsWith(`${line} `));
  return found === undefined ? 0 : Number(found.slice(line.length + 1));
}

export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + patience(60);
  while (performance.now() < end) {
    if (await condition()) return;
    await sleep(10);
  }
  throw new Error(`it did not happen within ${patience(60) / 1000} s`);
}

/** Services that one file of tests starts. */
export class Services {
  readonly folder = mkdtempSync(join(tmpdir(), "soundspot-services-"));
  readonly #opened: Server[] = [];
  model!: Model;

  /** Makes the model. */
  async begin(): Promise<void> {
    this.model = await Model.create(tiny);
  }

  async start(options: Partial<ServerOptions> = {}): Promise<{ server: Server; url: string }> {
    const started = await serve({
      model: this.model,
      port: 0,
      page: join(this.folder, "no-page"),
      ...options,
    });
    this.#opened.push(started.server);
    return started;
  }

  /** Closes all services. */
  async close(): Promise<void> {
    await Promise.all(this.#opened.splice(0).map((server) => server.close({ grace: 0 })));
  }

  async end(): Promise<void> {
    await this.close();
    this.model.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
