/** Recognizes code that a bundler moved out of the package's folder, before anything of the package is loaded. */
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SoundspotError } from "./errors.js";

/** The file of which V8 runs the caller of this module; undefined where it does not say. */
export function runningFile(): string | undefined {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 1;
    Error.prepareStackTrace = (_, [site]) => site?.getFileName();
    const file: unknown = new Error().stack;
    return typeof file === "string" ? file : undefined;
  } catch {
    return undefined; // frozen intrinsics
  } finally {
    try {
      Object.assign(Error, { prepareStackTrace, stackTraceLimit });
    } catch {
      // They were not changed either.
    }
  }
}

/** Whether a file, by its path or URL, lies in dist/ of the package. */
export function isInPackage(file: string): boolean {
  try {
    // Loaders add a query to have a module twice.
    const folder = dirname(/^file:/.test(file) ? fileURLToPath(file) : file);
    const manifest: unknown = JSON.parse(readFileSync(join(folder, "..", "package.json"), "utf8"));
    return (
      basename(folder) === "dist" && (manifest as { readonly name?: unknown } | null)?.name === "soundspot"
    );
  } catch {
    return false;
  }
}

export const BUNDLED =
  'soundspot does not work inside a bundle, away from its addon: mark the package "soundspot" as external in the settings of the bundler (docs/bundlers.md has them for each).';

/**
 * @param place.url import.meta.url of the entry point. Bundlers write the place of a source into it, or nothing at all.
 * @param place.running The file of which V8 runs it, where that is known.
 * @param place.webpack Whether webpack's loader runs it, or that of a bundler like it.
 * @throws {SoundspotError} ERR_BUNDLED where the entry point was moved out of the package.
 */
export function assertNotBundled({
  url,
  webpack,
  running = runningFile(),
}: {
  readonly url: string | undefined;
  readonly webpack: boolean;
  readonly running?: string | undefined;
}): void {
  const files = [url ?? "", ...(running === undefined ? [] : [running])];
  if (!webpack && files.every(isInPackage)) return;
  const error = new SoundspotError("ERR_BUNDLED", BUNDLED);
  // Its frames would be those of the bundle.
  error.stack = `${error.name}: ${error.message}`;
  throw error;
}
