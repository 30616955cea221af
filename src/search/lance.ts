/** LanceDB, an optional peer dependency, loaded on first use. */
import { createRequire } from "node:module";
import type * as lancedb from "@lancedb/lancedb";
import type * as arrow from "apache-arrow";
import { SoundspotError } from "../core/errors.js";

export interface Lance {
  readonly lancedb: typeof lancedb;
  readonly arrow: typeof arrow;
}

let loaded: Lance | undefined;

/** @throws {SoundspotError} ERR_LANCEDB_MISSING when it is not installed, or not for this platform. */
export function lance(): Lance {
  loaded ??= load();
  return loaded;
}

function load(): Lance {
  // Both by require: LanceDB requires Arrow itself, and the two must share its classes.
  const require = createRequire(import.meta.url);
  // Read once, when the library is loaded: it warns for every table that it creates.
  const level = process.env.LANCEDB_LOG;
  process.env.LANCEDB_LOG ??= "error";
  try {
    return { lancedb: require("@lancedb/lancedb"), arrow: require("apache-arrow") };
  } catch (cause) {
    const [reason] = (cause as Error).message.split("\n");
    throw new SoundspotError(
      "ERR_LANCEDB_MISSING",
      `Search needs LanceDB. Run \`npm install @lancedb/lancedb apache-arrow\`. (${reason})`,
      { cause },
    );
  } finally {
    if (level === undefined) delete process.env.LANCEDB_LOG;
  }
}
