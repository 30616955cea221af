/** `soundspot serve`: serves models over HTTP until a signal ends it. */
import { existsSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import sharp from "sharp";
import { isError, SoundspotError } from "../../core/errors.js";
import type { Device, Precision } from "../../model/compute.js";
import { demoPackage, warnOfDemoModel } from "../../model/demo.js";
import type { Model } from "../../model/model.js";
import { SearchIndex } from "../../search/search-index.js";
import { Clients } from "../../server/clients.js";
import { DEFAULT_NAME, isModelName } from "../../server/models.js";
import { basePathOf, DEFAULTS, type ServedRequest, type TrustProxy } from "../../server/options.js";
import { serve } from "../../server/server.js";
import { loadCheckpoint, withConfigOption } from "../checkpoints.js";
import { collectLess, yieldCores } from "../cores.js";
import { deviceOption, numberFrom, precisions, wholeFrom } from "../options.js";

interface Flags {
  model?: string;
  demo?: true;
  config?: string;
  index?: string;
  host: string;
  port: number;
  maxUpload: number;
  maxPixels: number;
  concurrency: number;
  queue: number;
  perClient?: number;
  trustProxy?: TrustProxy;
  basePath?: string;
  uploadTimeout: number;
  timeout: number;
  grace: number;
  device: Device;
  precision: Precision;
  cors?: string[];
  json?: true;
}

export function register(program: Command): void {
  const command = program
    .command("serve")
    .description("answer requests over HTTP, with a page to try it")
    .argument(
      "[checkpoint...]",
      "checkpoint (.safetensors or .pth); more of them as NAME=CHECKPOINT, for requests to choose from",
    )
    .option("--model <file>", "the first checkpoint, instead of the argument")
    .option("--demo", "the demo model as the first one; it knows drawn scenes only");
  withConfigOption(command)
    .option("--index <folder>", "of `soundspot index`, to search in")
    .option("--host <address>", "0.0.0.0 for every network of this computer", "127.0.0.1")
    .option("--port <number>", "0 takes a free one", portNumber, 8080)
    .option("--max-upload <MB>", "of a file", numberFrom(0.001, 1e6), DEFAULTS.uploadBytes / 1e6)
    .option("--max-pixels <number>", "of an image or frame", wholeFrom(1), DEFAULTS.pixels)
    .option("--concurrency <number>", "requests in work at a time", wholeFrom(1), DEFAULTS.concurrency)
    .option("--queue <number>", "requests that may wait", wholeFrom(0), DEFAULTS.queue)
    .option(
      "--per-client <number>",
      "requests of one address, or IPv6 /64, while it is alone; not for this computer; default half of both",
      wholeFrom(1),
    )
    .option(
      "--trust-proxy <proxies>",
      "their number before the service, or their addresses and blocks with commas between them, whose X-Forwarded-For and Forwarded name the client",
      proxies,
    )
    .option("--base-path <path>", "below which a proxy offers the service, such as /sound", pathBelow)
    .option("--upload-timeout <seconds>", "for a request to arrive", numberFrom(0.1), DEFAULTS.uploadTimeout)
    .option("--timeout <seconds>", "from there to the answer", numberFrom(0.1), DEFAULTS.timeout)
    .option("--grace <seconds>", "for accepted requests after SIGTERM or SIGINT", numberFrom(0), 30)
    .addOption(deviceOption())
    .addOption(new Option("--precision <type>", "of the encoders").choices(precisions).default("auto"))
    .option("--cors <origin...>", "origins whose pages may call the service, or *")
    .option("--json", "print the address and every request as a line of JSON")
    .action(run);
}

function portNumber(text: string): number {
  return numberFrom(0, 65_535)(text) && wholeFrom(0)(text);
}

/** Lets the command reject a value as wrong usage before a checkpoint is loaded. */
function checked<T>(value: T, check: (value: T) => unknown): T {
  try {
    check(value);
    return value;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** A number of proxies, or their addresses. */
function proxies(text: string): TrustProxy {
  const isNumber = /^\s*\d+\s*$/.test(text);
  const trust = isNumber ? Number(text) : text.split(",").map((each) => each.trim());
  return checked(trust, (given) => new Clients(given));
}

function pathBelow(text: string): string {
  return checked(text, (basePath) => basePathOf({ basePath }));
}

/** A checkpoint and the name that requests give it. */
interface NamedPath {
  readonly name: string;
  readonly path: string;
}

/** @throws {SoundspotError} ERR_CONFIG unless every checkpoint but the first has a name of its own. */
export function namedPaths(
  checkpoints: readonly string[],
  model: string | undefined,
): [NamedPath, ...NamedPath[]] {
  const named: NamedPath[] = model === undefined ? [] : [{ name: DEFAULT_NAME, path: model }];
  for (const text of checkpoints) {
    const at = text.indexOf("=");
    const isNamed = isModelName(text.slice(0, Math.max(0, at))) && !existsSync(text);
    if (!isNamed && named.length > 0) {
      throw new SoundspotError(
        "ERR_CONFIG",
        checkpoints.length === 1
          ? "The checkpoint was given twice. Leave --model out, or name the other: NAME=CHECKPOINT."
          : `Requests choose among several checkpoints by name. Give ${text} one: NAME=${text}.`,
      );
    }
    const { name, path } = isNamed
      ? { name: text.slice(0, at), path: text.slice(at + 1) }
      : { name: DEFAULT_NAME, path: text };
    if (named.some((other) => other.name === name)) {
      throw new SoundspotError("ERR_CONFIG", `Two checkpoints have the name ${name}. Give each its own.`);
    }
    named.push({ name, path });
  }
  const [first, ...others] = named;
  if (first) return [first, ...others];
  throw new SoundspotError(
    "ERR_CONFIG",
    "Give a checkpoint: soundspot serve model.safetensors, or --demo to try it.",
  );
}

async function run(checkpoints: string[], flags: Flags): Promise<void> {
  if (flags.demo && flags.model !== undefined) {
    throw new SoundspotError("ERR_CONFIG", "--demo is the first model. Leave --model out, or --demo.");
  }
  if (flags.demo && flags.config !== undefined) {
    throw new SoundspotError("ERR_CONFIG", "--config is for a checkpoint. Leave it out with --demo.");
  }
  const named = namedPaths(checkpoints, flags.demo ? demoPackage().model : flags.model);
  if (flags.demo) warnOfDemoModel();
  if (named.length > 1 && flags.config !== undefined) {
    throw new SoundspotError(
      "ERR_CONFIG",
      "--config is for one checkpoint. Put config.json beside each that has none, and leave --config out.",
    );
  }
  sharp.concurrency(1); // several images are decoded at a time, each by one thread
  yieldCores();
  collectLess();
  const ending = firstSignal();
  const loaded: Model[] = [];
  try {
    for (const { path } of named) loaded.push(await loadCheckpoint(path, flags));
    await serveUntil(ending, named, loaded as [Model, ...Model[]], flags);
  } finally {
    for (const model of loaded) model.dispose();
  }
}

async function serveUntil(
  ending: Promise<void>,
  named: readonly [NamedPath, ...NamedPath[]],
  [model, ...others]: readonly [Model, ...Model[]],
  flags: Flags,
): Promise<void> {
  using index = flags.index === undefined ? undefined : await SearchIndex.open(flags.index);
  if (others.length === 0) await index?.checkModel(model);
  for (const each of [model, ...others]) await warmUp(each, flags.precision);
  const { server, url } = await serve({
    model,
    modelName: named[0].name,
    models: Object.fromEntries(named.slice(1).map(({ name }, i) => [name, others[i] as Model])),
    ...(index ? { index } : {}),
    host: flags.host,
    port: flags.port,
    precision: flags.precision,
    uploadBytes: Math.round(flags.maxUpload * 1e6),
    pixels: flags.maxPixels,
    concurrency: flags.concurrency,
    queue: flags.queue,
    ...(flags.perClient === undefined ? {} : { perClient: flags.perClient }),
    ...(flags.trustProxy === undefined ? {} : { trustProxy: flags.trustProxy }),
    ...(flags.basePath === undefined ? {} : { basePath: flags.basePath }),
    uploadTimeout: flags.uploadTimeout,
    timeout: flags.timeout,
    ...(flags.cors ? { cors: flags.cors } : {}),
    onRequest: flags.json ? printJson : printLine,
    onWarning: flags.json ? warnJson : warnLine,
  });
  const list = named
    .map(({ name, path }, i) => {
      const shown = flags.demo && i === 0 ? "the demo model" : path;
      return others.length === 0 ? shown : `${name} (${shown})`;
    })
    .join(", ");
  process.stdout.write(flags.json ? `${JSON.stringify({ url })}\n` : `soundspot serves ${list} on ${url}\n`);
  await ending;
  await server.close({ grace: flags.grace });
}

/** The first pair takes several times as long as the next ones: no client should wait for it. */
async function warmUp(model: Model, precision: Precision): Promise<void> {
  const { imageSize: size, audio } = model.config;
  const image = { data: new Uint8Array(3 * size * size), width: size, height: size };
  await model.localize(
    { image, audio: { samples: new Float32Array(1), sampleRate: audio.sampleRate } },
    { precision },
  );
}

/** Waits for SIGINT or SIGTERM; the second one ends the process at once. */
function firstSignal(): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    for (const [signal, number] of [
      ["SIGINT", 2],
      ["SIGTERM", 15],
    ] as const) {
      process.on(signal, () => {
        if (++signals > 1) process.exit(128 + number);
        resolve();
      });
    }
  });
}

function printJson({ error, ...request }: ServedRequest): void {
  const milliseconds = Math.round(request.milliseconds * 10) / 10;
  const reason = error === undefined ? {} : { error: stackOf(error) };
  process.stdout.write(
    `${JSON.stringify({ time: new Date().toISOString(), ...request, milliseconds, ...reason })}\n`,
  );
}

function printLine({ method, path, status, milliseconds, code, error }: ServedRequest): void {
  process.stdout.write(
    `${method} ${path} ${status} ${milliseconds.toFixed(0)} ms${code ? ` ${code}` : ""}\n`,
  );
  if (error !== undefined) process.stderr.write(`${stackOf(error)}\n`);
}

function warnJson(warning: string): void {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), warning })}\n`);
}

function warnLine(warning: string): void {
  process.stderr.write(`warning: ${warning}\n`);
}

function stackOf(error: unknown): string {
  return isError(error) ? (error.stack ?? error.message) : String(error);
}
