/** Finds an ffmpeg and runs it: what is not a picture or a WAV goes through here. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { SoundspotError, throwIfAborted } from "../errors.js";
import { Limit } from "../limit.js";
import { Pacer } from "./wav.js";

export type FfmpegSource = "option" | "FFMPEG_PATH" | "ffmpeg-static" | "@ffmpeg-installer/ffmpeg" | "PATH";

export interface Ffmpeg {
  /** Absolute path of the program. */
  readonly path: string;
  /** Where it was found. */
  readonly source: FfmpegSource;
  /** As `ffmpeg -version` gives it, for example "6.1.1". */
  readonly version: string;
}

export interface StartFfmpegOptions {
  readonly signal?: AbortSignal | undefined;
  /** Written to its standard input, which is closed without it. */
  readonly input?: Uint8Array | undefined;
  /** Gives its standard input to be written to, in place of `input`. */
  readonly writable?: boolean | undefined;
  /** Takes no place: for who runs several that wait for each other. */
  readonly unlimited?: boolean | undefined;
  /** Path of the program; without it {@link findFfmpeg} looks. */
  readonly ffmpeg?: string | undefined;
}

export interface RunFfmpegOptions extends StartFfmpegOptions {
  /** More output than this stops it. Default 2³⁰ bytes. */
  readonly maxBytes?: number | undefined;
}

export interface FfmpegResult {
  readonly stdout: Uint8Array;
  /** The log; of a long one its first and last 32 KiB. */
  readonly stderr: string;
  /** Exit code; `null` when a signal ended it. */
  readonly code: number | null;
}

export interface FfmpegProcess {
  readonly stdout: Readable;
  /** Where it was asked for. */
  readonly stdin?: Writable;
  /** Settles when the program has ended. Rejects with ERR_FFMPEG_MISSING when it did not start. */
  readonly finished: Promise<{ readonly code: number | null; readonly stderr: string }>;
  /** Ends it at once; harmless when it has ended. */
  stop(): void;
}

const require = createRequire(import.meta.url);
const execFileAsync = promisify(execFile);
const found = new Map<string, Promise<Ffmpeg>>();

/** Programs at a time; each takes threads and memory of its own. */
const places = new Limit(Math.max(4, 2 * availableParallelism()));

/**
 * Finds ffmpeg: the option, `FFMPEG_PATH`, the package `ffmpeg-static`, the package
 * `@ffmpeg-installer/ffmpeg`, then the PATH. A candidate counts when `-version` runs. The first two
 * are somebody's decision, so when one is set and does not run, no other is tried. Cached.
 *
 * @throws {SoundspotError} ERR_FFMPEG_MISSING, saying how to get it.
 */
export function findFfmpeg(option?: string): Promise<Ffmpeg> {
  const key = JSON.stringify([option, process.env.FFMPEG_PATH, process.env.PATH]);
  const known = found.get(key);
  if (known) return known;
  const search = lookForFfmpeg(option);
  found.set(key, search);
  // A failure is not kept: the user may install ffmpeg and try again.
  search.catch(() => found.delete(key));
  return search;
}

async function lookForFfmpeg(option: string | undefined): Promise<Ffmpeg> {
  const explicit = option
    ? ({ source: "option", path: option } as const)
    : process.env.FFMPEG_PATH
      ? ({ source: "FFMPEG_PATH", path: process.env.FFMPEG_PATH } as const)
      : undefined;
  if (explicit) {
    const path = await resolveProgram(explicit.path);
    const version = path && (await versionOf(path));
    if (path && version) return { path, source: explicit.source, version };
    const where = explicit.source === "option" ? "the ffmpeg option" : "FFMPEG_PATH";
    throw new SoundspotError(
      "ERR_FFMPEG_MISSING",
      `${explicit.path}, given by ${where}, is not an ffmpeg that runs. Correct the path, or leave it out to search for one.`,
    );
  }
  const searched: [FfmpegSource, string | undefined][] = [
    ["ffmpeg-static", packagedPath("ffmpeg-static")],
    ["@ffmpeg-installer/ffmpeg", packagedPath("@ffmpeg-installer/ffmpeg")],
    ["PATH", await resolveProgram("ffmpeg")],
  ];
  for (const [source, path] of searched) {
    const version = path && (await isExecutable(path)) && (await versionOf(path));
    if (path && version) return { path, source, version };
  }
  throw new SoundspotError(
    "ERR_FFMPEG_MISSING",
    "ffmpeg was not found; it decodes video and every sound but WAV. Get it by one of: " +
      "`npm install ffmpeg-static`; `apt install ffmpeg`, `brew install ffmpeg` or `winget install ffmpeg`; " +
      "or set FFMPEG_PATH to the program.",
  );
}

/** Both packages are optional: absent, made for another platform, or without their download. */
function packagedPath(name: "ffmpeg-static" | "@ffmpeg-installer/ffmpeg"): string | undefined {
  try {
    const exported: unknown = require(name);
    const path = typeof exported === "string" ? exported : (exported as { path?: unknown } | null)?.path;
    return typeof path === "string" ? path : undefined;
  } catch {
    return undefined;
  }
}

async function resolveProgram(name: string): Promise<string | undefined> {
  if (isAbsolute(name) || /[\\/]/.test(name)) {
    const path = resolve(name);
    return (await isExecutable(path)) ? path : undefined;
  }
  const endings = process.platform === "win32" ? [".exe", ""] : [""];
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    for (const ending of endings) {
      const path = resolve(join(folder, name + ending));
      if (folder && (await isExecutable(path))) return path;
    }
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function versionOf(path: string): Promise<string | undefined> {
  try {
    const { stdout } = await execFileAsync(path, ["-version"], { timeout: 10_000, windowsHide: true });
    return /^ffmpeg version (\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

/**
 * Starts ffmpeg and gives its output as a stream; who reads slowly slows it down. Ended when the
 * signal fires. Waits while others have all places: who reads one must not wait for a second.
 *
 * @throws {SoundspotError} ERR_FFMPEG_MISSING, ERR_ABORTED
 */
export async function startFfmpeg(
  args: readonly string[],
  options: StartFfmpegOptions = {},
): Promise<FfmpegProcess> {
  const { signal, input, writable = false, unlimited = false } = options;
  throwIfAborted(signal);
  const { path } = await findFfmpeg(options.ffmpeg);
  const giveBack = unlimited ? () => undefined : await places.take(signal);
  const piped = input !== undefined || writable;
  let child: ChildProcess;
  try {
    throwIfAborted(signal);
    child = spawn(path, ["-hide_banner", "-nostats", ...(piped ? [] : ["-nostdin"]), ...args], {
      stdio: [piped ? "pipe" : "ignore", "pipe", "pipe"],
      windowsHide: true,
    });
  } catch (error) {
    giveBack();
    throw error;
  }
  child.once("exit", giveBack).once("error", giveBack);
  const stop = () => {
    child.kill("SIGKILL");
  };
  signal?.addEventListener("abort", stop, { once: true });
  const finished = waitForEnd(child, path).finally(() => signal?.removeEventListener("abort", stop));
  // Who only reads the stream must not meet an unhandled rejection.
  finished.catch(() => undefined);
  if (input && child.stdin) {
    // ffmpeg may have read enough and closed the pipe.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  }
  if (!child.stdout) throw new SoundspotError("ERR_INTERNAL", "ffmpeg was started without an output pipe.");
  return { stdout: child.stdout, ...(writable && child.stdin ? { stdin: child.stdin } : {}), finished, stop };
}

/**
 * Runs ffmpeg to its end and collects what it writes to `pipe:1`. Which exit code is a failure is
 * for the caller to judge.
 *
 * @throws {SoundspotError} ERR_FFMPEG_MISSING; ERR_MEDIA_DECODE when there is more output than
 * `maxBytes`; ERR_ABORTED.
 */
export async function runFfmpeg(
  args: readonly string[],
  options: RunFfmpegOptions = {},
): Promise<FfmpegResult> {
  const { signal, maxBytes = 2 ** 30 } = options;
  const ffmpeg = await startFfmpeg(args, options);
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of ffmpeg.stdout as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) {
        throw new SoundspotError(
          "ERR_MEDIA_DECODE",
          `ffmpeg gave more than ${maxBytes} bytes. Decode a part: give start and duration.`,
        );
      }
      chunks.push(chunk);
    }
  } finally {
    ffmpeg.stop();
  }
  const { code, stderr } = await ffmpeg.finished;
  throwIfAborted(signal);
  return { stdout: await joinChunks(chunks, length, signal), stderr, code };
}

/** Arguments that open a file: never an option or a protocol, and never the network from a playlist. */
export function inputArgs(path: string, seek = 0): string[] {
  const at = seek > 0 ? ["-ss", seek.toFixed(6)] : [];
  return ["-protocol_whitelist", "file,pipe,fd", ...at, "-i", resolve(path)];
}

/** The line of ffmpeg's log that says what went wrong. */
export function ffmpegReason(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).map((line) => line.replace(/^\[[^\]]*\]\s*/, "").trim());
  const telling = lines.filter((line) =>
    /invalid|error|not found|fail|unknown|could not|no such/i.test(line),
  );
  return (telling.at(-1) ?? lines.filter(Boolean).at(-1) ?? "no message").replace(
    /^.*: (?=Invalid data)/,
    "",
  );
}

function waitForEnd(child: ChildProcess, path: string): FfmpegProcess["finished"] {
  const log = collectLog(child.stderr);
  return new Promise((fulfil, reject) => {
    child.once("error", (cause) => {
      reject(
        new SoundspotError(
          "ERR_FFMPEG_MISSING",
          `${path} could not be started: ${cause.message}. Reinstall ffmpeg.`,
          {
            cause,
          },
        ),
      );
    });
    child.once("close", (code) => fulfil({ code, stderr: log() }));
  });
}

/** Keeps the head, which describes the input, and the tail, which holds the error. */
function collectLog(stream: Readable | null): () => string {
  const limit = 32 * 1024;
  let head = "";
  let tail = "";
  stream?.setEncoding("utf8").on("data", (text: string) => {
    const room = limit - head.length;
    head += text.slice(0, Math.max(0, room));
    tail = (tail + text.slice(Math.max(0, room))).slice(-limit);
  });
  return () => head + tail;
}

/** Joins chunks without holding the event loop, as Buffer.concat of hundreds of megabytes does. */
async function joinChunks(
  chunks: readonly Uint8Array[],
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const joined = new Uint8Array(length);
  const pacer = new Pacer(signal);
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
    if (pacer.due) await pacer.rest();
  }
  return joined;
}
