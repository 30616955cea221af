#!/usr/bin/env node
/**
 * Writes the components of the package as CycloneDX 1.5: the npm packages of package-lock.json that are installed with
 * it, and LibTorch, which it downloads.
 *
 *   node scripts/sbom.mjs sbom.cdx.json
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findLibTorch, VERSIONS } from "./locate.mjs";

const PACKAGE = resolve(fileURLToPath(new URL("..", import.meta.url)));

const file = process.argv[2];
if (!file) {
  console.error("Give the file to write: node scripts/sbom.mjs sbom.cdx.json");
  process.exit(2);
}
const npm = ["sbom", "--sbom-format=cyclonedx", "--package-lock-only", "--omit=dev"];
const options = { cwd: PACKAGE, encoding: "utf8", maxBuffer: 64 << 20, shell: process.platform === "win32" };
const bom = JSON.parse(execFileSync("npm", npm, options));
bom.metadata.component.name = "soundspot"; // npm gives the name of the folder
const libtorch = {
  "bom-ref": `libtorch@${VERSIONS.cpu}`,
  type: "library",
  name: "libtorch",
  version: VERSIONS.cpu,
  scope: "required",
  description: "PyTorch's C++ library. Downloaded when the package is installed, not part of it.",
  purl: `pkg:pypi/torch@${VERSIONS.cpu}`,
  licenses: [{ license: { id: "BSD-3-Clause" } }],
  ...archive(),
};
bom.components.push(libtorch);
bom.dependencies
  .find(({ ref }) => ref === bom.metadata.component["bom-ref"])
  .dependsOn.push(libtorch["bom-ref"]);
writeFileSync(file, `${JSON.stringify(bom, null, 2)}\n`);
console.log(`${file}: ${bom.components.length} components`);

/** Checksum and name of the archive of the LibTorch that is found, if any. */
function archive() {
  try {
    const { folder } = findLibTorch({ root: PACKAGE });
    const [content, name] = readFileSync(join(folder, "archive-sha256"), "utf8").trim().split("  ");
    return {
      hashes: [{ alg: "SHA-256", content }],
      properties: [{ name: "soundspot:archive", value: name }],
    };
  } catch {
    return {};
  }
}
