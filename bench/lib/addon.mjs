// The addon, for measurements below the public API.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

export const addon = createRequire(import.meta.url)("node-gyp-build")(
  fileURLToPath(new URL("../..", import.meta.url)),
);
