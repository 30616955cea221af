/** Finds an ffmpeg and runs it: reads whatever is neither an image nor WAV. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { Pacer } from "../core/pacer.js";
import { Semaphore } from "../core/semaphore.js";
import { changing, limitOf } from "./limits.js";

export type FfmpegSource = "option" | "FFMPEG_PATH" | "ffmpeg-static" | "@ffmpeg-installer/ffmpeg" | "PATH";

export interface Ffmpeg {
  /** Absolute path of the program. */
  readonly path: string;
  /** Where it was found. */
  readonly source: FfmpegSource;
  /** As `ffmpeg -version` gives it, for example "6.1.1". */
  readonly version: string;
  /** Version of its libavutil, which orders builds of all kinds: 57.28 is that of ffmpeg 5.1. 0 where it is not given. */
  readonly libavutil: number;
}

export interface StartFfmpegOptions {
  readonly signal?: AbortSignal | undefined;
  /** Written to its standard input, which is closed without it. */
  readonly input?: Uint8Array | undefined;
  /** Gives its standard input to be written to, in place of `input`. */
  readonly writable?: boolean | undefined;
  /** Gives a further input, `pipe:3`, to be written to. */
  readonly secondInput?: boolean | undefined;
  /** Takes no place: for callers that run several which wait for each other. */
  readonly unlimited?: boolean | undefined;
  /** Path of the program; without it {@link findFfmpeg} looks. */
  readonly ffmpeg?: string | undefined;
  /** Called with each line of the log. Lines for which it returns true are not kept. */
  readonly onLine?: ((line: string) => boolean) | undefined;
}

export interface RunFfmpegOptions extends StartFfmpegOptions {
  /** What errors call the input. Default "The file". */
  readonly name?: string | undefined;
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
  /** Where it was requested. */
  readonly stdin?: Writable;
  readonly secondInput?: Writable;
  /** Settles when the program has ended. Rejects with ERR_FFMPEG_MISSING when it did not start. */
  readonly finished: Promise<{ readonly code: number | null; readonly stderr: string }>;
  /** Ends it at once; harmless when it has ended. */
  stop(): void;
}

const require = createRequire(import.meta.url);
const execFileAsync = promisify(execFile);
const found = new Map<string, Promise<Ffmpeg>>();

/**
 * Formats that are read: those that hold their media themselves. Playlists (HLS, DASH, concat, SDP), patterns of names
 * (image2), scripts and devices would make ffmpeg open other files and addresses, whatever the file is named.
 */
const FORMATS =
  "mov,mp4,matroska,webm,avi,flv,live_flv,asf,mpeg,mpegts,mpegvideo,ogg,m4v,h261,h263,h264," +
  "hevc,obu,av1,ivf,dirac,vc1,dv,mxf,gxf,nut,rm,wtv,swf,mjpeg,mjpeg_2000,yuv4mpegpipe,gif,apng," +
  "wav,w64,aiff,au,caf,voc,nistsphere,ircam,sox,iff,dsf,ac3,eac3,dts,dtshd,truehd,mlp,aac,loas," +
  "mp3,mpc,mpc8,flac,ape,wv,tak,tta,shn,oma,amr,amrnb,amrwb,gsm,qcp,xwma";

/** The largest block that ffmpeg may take at once, in bytes: a frame of 16-bit RGBA with what is around it. */
const maxBlock = () => Math.min(2 ** 31 - 1, 2 ** 27 + 8 * limitOf("SOUNDSPOT_MAX_FRAME_PIXELS"));

/** Those at work, which end with this process. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) end(child);
});

/** Ends a program and what it has started; harmless when it has ended. */
function end(child: ChildProcess): void {
  try {
    // It leads a group of its own; Windows has none.
    if (process.platform !== "win32" && child.pid && child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid, "SIGKILL");
    } else child.kill("SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

/** Programs at a time; each takes threads and memory of its own. */
const places = new Semaphore(Math.max(4, 2 * availableParallelism()));

/**
 * Finds ffmpeg: the option, then `FFMPEG_PATH`, then the newest of the package `ffmpeg-static`, the package
 * `@ffmpeg-installer/ffmpeg` and the PATH. A candidate counts when `-version` runs. The first two
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
    if (path && version) return { path, source: explicit.source, ...version };
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
  const found = await Promise.all(
    searched.map(async ([source, path]) => {
      const version = path && (await isExecutable(path)) && (await versionOf(path));
      return path && version ? [{ path, source, ...version }] : [];
    }),
  );
  // The sort is stable: of equals the first.
  const [newest] = found.flat().sort((a, b) => b.libavutil - a.libavutil);
  if (newest) return newest;
  throw new SoundspotError(
    "ERR_FFMPEG_MISSING",
    "ffmpeg was not found; it decodes video and all audio but WAV. Get it by one of: " +
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

async function versionOf(path: string): Promise<Pick<Ffmpeg, "version" | "libavutil"> | undefined> {
  try {
    const { stdout } = await execFileAsync(path, ["-version"], { timeout: 10_000, windowsHide: true });
    const version = /^ffmpeg version (\S+)/.exec(stdout)?.[1];
    const [, major = 0, minor = 0] = /^libavutil +(\d+)\. *(\d+)\./m.exec(stdout) ?? [];
    return version === undefined ? undefined : { version, libavutil: Number(major) + Number(minor) / 1000 };
  } catch {
    return undefined;
  }
}

/**
 * Starts ffmpeg and gives its output as a stream; a slow reader slows it down. Ended when the
 * signal fires. Waits while others have all places: the reader of one must not wait for a second.
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
    const general = ["-hide_banner", "-nostats", "-max_alloc", String(maxBlock())];
    child = spawn(path, [...general, ...(piped ? [] : ["-nostdin"]), ...args], {
      stdio: [piped ? "pipe" : "ignore", "pipe", "pipe", ...(options.secondInput ? (["pipe"] as const) : [])],
      windowsHide: true,
      detached: process.platform !== "win32",
    });
  } catch (error) {
    giveBack();
    throw error;
  }
  running.add(child);
  const ended = () => {
    running.delete(child);
    giveBack();
  };
  child.once("exit", ended).once("error", ended);
  const stop = () => end(child);
  signal?.addEventListener("abort", stop, { once: true });
  const finished = waitForEnd(child, path, options.onLine).finally(() =>
    signal?.removeEventListener("abort", stop),
  );
  // A caller that only reads the stream must not meet an unhandled rejection.
  finished.catch(() => undefined);
  if (input && child.stdin) {
    // ffmpeg may have read enough and closed the pipe.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  }
  if (!child.stdout) throw new SoundspotError("ERR_INTERNAL", "ffmpeg was started without an output pipe.");
  const second = options.secondInput ? (child.stdio[3] as Writable | null | undefined) : undefined;
  return {
    stdout: child.stdout,
    ...(writable && child.stdin ? { stdin: child.stdin } : {}),
    ...(second ? { secondInput: second } : {}),
    finished,
    stop,
  };
}

/**
 * Output of ffmpeg, in pieces. ffmpeg is ended when its reader waits for too long; the reader's own work does not count.
 * @param counted "each" wait by itself, where much is read that comes slowly, or "all" of them together.
 * @throws {SoundspotError} ERR_MEDIA_DECODE that names the input and the limit.
 */
export async function* outputOf(
  ffmpeg: FfmpegProcess,
  name: string,
  counted: "each" | "all" = "all",
): AsyncGenerator<Buffer, void, void> {
  const most = 1000 * limitOf("SOUNDSPOT_MAX_DECODE_SECONDS");
  const pieces = ffmpeg.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let waited = 0;
  try {
    for (;;) {
      const since = performance.now();
      let late = false;
      const timer = setTimeout(
        () => {
          late = true;
          ffmpeg.stop();
        },
        Math.min(Math.max(0, most - waited), 2 ** 31 - 1),
      );
      const { value, done } = await pieces.next().finally(() => clearTimeout(timer));
      if (late) {
        const seconds = changing("SOUNDSPOT_MAX_DECODE_SECONDS");
        throw new SoundspotError(
          "ERR_MEDIA_DECODE",
          `${name} takes ffmpeg more seconds than it may. Give a part, or another file. ${seconds}.`,
        );
      }
      if (done) return;
      if (counted === "all") waited += performance.now() - since;
      yield value;
    }
  } finally {
    ffmpeg.stop();
    // A reader that stops early leaves it paused, and a paused pipe is never closed.
    ffmpeg.stdout.destroy();
  }
}

/**
 * Runs ffmpeg to its end and collects what it writes to `pipe:1`. Which exit code is a failure is
 * for the caller to judge.
 *
 * @throws {SoundspotError} ERR_FFMPEG_MISSING; ERR_MEDIA_DECODE when there are more samples, of 4 bytes, or it takes
 * longer than the limits allow; ERR_ABORTED.
 */
export async function runFfmpeg(
  args: readonly string[],
  options: RunFfmpegOptions = {},
): Promise<FfmpegResult> {
  const { signal, name = "The file" } = options;
  const maxBytes = 4 * limitOf("SOUNDSPOT_MAX_SAMPLES") + 4096;
  // Orphans end as well, where the system counts processor time.
  const seconds = limitOf("SOUNDSPOT_MAX_DECODE_SECONDS") * availableParallelism();
  const ffmpeg = await startFfmpeg(["-timelimit", String(Math.min(seconds, 2 ** 31 - 1)), ...args], options);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of outputOf(ffmpeg, name)) {
    length += chunk.length;
    if (length > maxBytes) {
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${name} has more samples than are decoded at once. Decode a part: give start and duration. ${changing("SOUNDSPOT_MAX_SAMPLES")}.`,
      );
    }
    chunks.push(chunk);
  }
  const { code, stderr } = await ffmpeg.finished;
  throwIfAborted(signal);
  return { stdout: await joinChunks(chunks, length, signal), stderr, code };
}

/**
 * Arguments that open a file: never an option, another file or the network, and no more pixels than are allowed.
 * @param before Further options of this input.
 */
export function inputArgs(path: string, before: readonly string[] = []): string[] {
  const pixels = Math.min(2 ** 31 - 1, limitOf("SOUNDSPOT_MAX_FRAME_PIXELS"));
  return [
    ...["-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-max_pixels", String(pixels)],
    ...before,
    ...["-i", resolve(path)],
  ];
}

/** Arguments by which every decoded frame is written once, whatever its time. */
export function eachFrameOnce({ libavutil }: Pick<Ffmpeg, "libavutil">): string[] {
  // Renamed in 5.1, removed under its old name later.
  return libavutil >= 58 ? ["-fps_mode", "passthrough"] : ["-vsync", "0"];
}

/** The line of ffmpeg's log with the reason of a failure. */
export function ffmpegReason(stderr: string): string {
  const format = /^\[([^\s,]+)\S* @ [^\]]*\] Format not on whitelist/m.exec(stderr)?.[1];
  if (format) return `it looks like the format ${format}, which is not supported`;
  const lines = stderr.split(/[\r\n]+/).map((line) => line.replace(/^\[[^\]]*\]\s*/, "").trim());
  const telling = lines.filter((line) =>
    /invalid|error|not found|fail|unknown|could not|no such/i.test(line),
  );
  return (telling.at(-1) ?? lines.filter(Boolean).at(-1) ?? "no message").replace(
    /^.*: (?=Invalid data)/,
    "",
  );
}

function waitForEnd(
  child: ChildProcess,
  path: string,
  onLine: StartFfmpegOptions["onLine"],
): FfmpegProcess["finished"] {
  const log = collectLog(child.stderr, onLine);
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
function collectLog(stream: Readable | null, onLine: StartFfmpegOptions["onLine"]): () => string {
  const limit = 32 * 1024;
  let head = "";
  let tail = "";
  /** Of a line that has not ended. */
  let open = "";
  const keep = (text: string) => {
    const room = limit - head.length;
    head += text.slice(0, Math.max(0, room));
    tail = (tail + text.slice(Math.max(0, room))).slice(-limit);
  };
  const ended = (line: string) => {
    if (!onLine?.(line)) keep(`${line}\n`);
  };
  stream?.setEncoding("utf8").on("data", (text: string) => {
    if (!onLine) return keep(text);
    const lines = (open + text).split("\n");
    // A line of any length is not kept whole.
    open = (lines.pop() ?? "").slice(-limit);
    for (const line of lines) ended(line);
  });
  return () => {
    if (open) ended(open);
    open = "";
    return head + tail;
  };
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
