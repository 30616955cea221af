/** The addon that the package loads, for measurements and tests below the public API. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { chooseAddon, findLibTorch } from "./locate.mjs";
import { openLibTorch } from "./open-addon.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { variant, addon: path, version } = chooseAddon({ root });
const torch = findLibTorch({ root, variant, version: version.replace(/\+.*/, "") });
if (path === undefined || torch === undefined)
  throw new Error(`The addon of the variant ${variant} or its LibTorch is missing: see CONTRIBUTING.md.`);
openLibTorch(torch.folder, variant);

export const addon = createRequire(import.meta.url)(path);
