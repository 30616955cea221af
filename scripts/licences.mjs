#!/usr/bin/env node
/**
 * Writes THIRD_PARTY.md from package-lock.json: the licence of every package that is installed with soundspot.
 *
 *   node scripts/licences.mjs [--check]     --check only reports whether the file is current
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { VERSIONS } from "./locate.mjs";

const PACKAGE = resolve(fileURLToPath(new URL("..", import.meta.url)));
const FILE = join(PACKAGE, "THIRD_PARTY.md");

const { packages } = JSON.parse(readFileSync(join(PACKAGE, "package-lock.json"), "utf8"));
const { allowScripts } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));

const rows = [];
for (const [path, { version, license, optional, dev, peer, hasInstallScript }] of Object.entries(packages)) {
  if (path === "" || dev || peer) continue;
  const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
  if (hasInstallScript && !allowScripts[name] && !name.startsWith("@ffmpeg-installer/")) {
    throw new Error(`${name} has an install script that package.json's allowScripts does not name.`);
  }
  const script = hasInstallScript ? "yes" : "";
  const licence = (license ?? "see the package").replace(
    /^https:.*LICENSE.*$/,
    "GPL or LGPL: see the package",
  );
  rows.push([name, version, licence, optional ? "optional" : "", script]);
}
const text = `# Third-party software

Written by \`node scripts/licences.mjs\` from package-lock.json. soundspot itself is under MIT, see LICENSE.

The package contains only soundspot's own sources, which Vite and tsup bundle into \`dist\`, and in \`dist/api.cjs\` a part of zod (MIT, Copyright (c) 2025 Colin McDonnell). The prebuilt addons, in packages of their own, contain parts of the headers of LibTorch (BSD-3-Clause) and node-addon-api (MIT).

Downloaded during installation: LibTorch ${VERSIONS.cpu}, BSD-3-Clause, with the libraries that PyTorch builds into it; PyTorch's sources list their licences. The variant for NVIDIA GPUs downloads LibTorch ${VERSIONS.cuda} instead, and NVIDIA's libraries (cuBLAS, cuDNN, NCCL and others) under NVIDIA's own licences. \`ffmpeg-static\` downloads an ffmpeg under GPL-3.0-or-later, which runs as a separate program. Any other ffmpeg works as well.

Installed by npm with soundspot, some of them on one platform only:

${table(["package", "version", "licence", "", "install script"], rows)}
`;

/** A table in Markdown, sorted, each row once, in columns. */
function table(head, unsorted) {
  const body = [...new Map(unsorted.map((row) => [row.join(), row]))].sort().map(([, row]) => row);
  const widths = head.map((_, i) => Math.max(3, ...[head, ...body].map((row) => row[i].length)));
  const line = (row) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("\n");
}

if (!process.argv.includes("--check")) writeFileSync(FILE, text);
else if (readFileSync(FILE, "utf8") !== text) {
  console.error("THIRD_PARTY.md does not match package-lock.json: run `node scripts/licences.mjs`.");
  process.exitCode = 1;
}
