/** The package's own folder and version. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SoundspotError } from "./errors.js";

/** The fields of package.json that are read. */
export interface Manifest {
  readonly name?: string;
  readonly version: string;
  readonly engines: { readonly node: string };
}

/**
 * The package's folder, both from src/ and from any depth of dist/.
 * @throws {SoundspotError} ERR_INTERNAL when the code is no longer inside the package.
 */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    if (existsSync(join(folder, "package.json")) && readManifest(folder).name === "soundspot") return folder;
    const parent = dirname(folder);
    if (parent === folder) {
      throw new SoundspotError(
        "ERR_INTERNAL",
        "soundspot's package.json was not found: install the package again.",
      );
    }
    folder = parent;
  }
}

/** The package.json of a folder. */
export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

export function packageVersion(): string {
  return readManifest(packageRoot()).version;
}
