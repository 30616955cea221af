#!/usr/bin/env node
/**
 * Checks how the C++ sources include each other, and how long files are; part of `npm run lint`.
 *
 *   node scripts/check-includes.mjs
 *
 * - A file below native/ includes from its own module, a folder of native/, and from modules to the left of it in ORDER.
 *   addon.cc may include from all of them.
 * - Every `#include "…"` names a file by its path from native/, and no headers include each other in a circle.
 * - Only native/binding/ and native/addon.cc include Node-API.
 * - Only the sources of CUDA_PLACES include a header of CUDA; others where a guard of CUDA_GUARDS is around it.
 * - No header of native/kernels/cuda/ has __CUDA_ARCH__ in it: the tests compile the same source for the host.
 * - No source file has more than MOST_LINES lines.
 *
 * Known violations are listed below and reported by their number. An entry that no longer occurs fails the check: the
 * lists only shrink.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Modules from left to right; those of one entry do not include from each other. */
export const ORDER = [
  ["core", "memory"],
  ["signal", "distributed"],
  ["kernels"],
  ["encoders", "checkpoint"],
  ["store"],
  ["slot_attention", "losses"],
  ["methods"],
  ["inference"],
  ["localization", "training", "retrieval"],
  ["binding"],
];

/** Known includes against the order: file → include. */
export const KNOWN_INCLUDES = [];

export const MOST_LINES = 500;

/** Folders whose source files are counted. */
export const COUNTED = ["native", "verify", "src", "scripts", "bench", "web/src"];

/** Files that are still longer. */
export const KNOWN_LONG = [];

/** Sources that builds with CUDA alone compile, without the headers that the tests compile for the host, too. */
export const CUDA_PLACES = /^((?!kernels\/cuda\/[^/]+\.h$)[a-z_]+\/cuda\/.+|distributed\/nccl\.(cc|h))$/;

/** Macros that are defined where CUDA's headers are there. */
export const CUDA_GUARDS = /\b(SOUNDSPOT_CUDA|SOUNDSPOT_NCCL|__CUDACC__)\b/;

const CUDA_HEADER = new RegExp(
  [
    "cuda([_A-Z]\\w*)?\\.h|cuda/.+|cooperative_groups.*|(cub|thrust|nvtx3|cutlass)/.+",
    "(cublas|cudnn|cufft|curand|cusolver|cusparse|nvrtc|nccl)\\w*\\.h|(mma|device_launch_parameters|vector_types)\\.h",
    "(c10|ATen|torch/csrc)/(.+/)?cuda/.+|.*ProcessGroupNCCL.*|.*\\.cuh",
  ]
    .map((names) => `^(${names})$`)
    .join("|"),
);
const ADDON = "addon.cc";
const NODE_API = /^(napi|napi-inl|node_api|node_api_types|js_native_api)\.h$/;
const SOURCE = /\.(cc|h|cu|cuh|ts|mts|cts|mjs|cjs|js|css)$/;

/**
 * @param {string} root Folder of the package.
 * @param {object} [rules] In place of the lists above.
 * @param {string[][]} [rules.order]
 * @param {string[][]} [rules.knownIncludes]
 * @param {string[]} [rules.knownLong]
 * @returns {{
 *   problems: string[], modules: number, files: number, includes: number, between: number, circles: string[][],
 *   exceptions: number, long: string[]
 * }} `includes` counts those of the package's own files, `between` those from one module to another; `circles` are sets
 *   of files that reach each other; `exceptions` known includes against the order; `long` has "file: lines".
 */
export function check(root, { order = ORDER, knownIncludes = KNOWN_INCLUDES, knownLong = KNOWN_LONG } = {}) {
  const problems = [];
  const native = join(root, "native");
  const files = filesBelow(native).filter((file) => /\.(cc|h|cu|cuh)$/.test(file));
  const own = new Set(files);
  const place = new Map(order.flatMap((modules, at) => modules.map((name) => [name, at])));
  const allows = (from, to) => from === to || from === ADDON || place.get(to) < place.get(from);
  const isKnown =
    ([file, include]) =>
    ([a, b]) =>
      a === file && b === include;

  const modules = new Set(files.map(moduleOf));
  for (const name of modules) {
    if (name !== ADDON && !place.has(name)) problems.push(`native/${name} is no module of ORDER.`);
  }

  /** @type {Map<string, string[]>} */
  const graph = new Map(files.map((file) => [file, []]));
  const against = [];
  let between = 0;
  for (const file of files) {
    const from = moduleOf(file);
    const text = readFileSync(join(native, file), "utf8");
    if (/^kernels\/cuda\/[^/]+\.h$/.test(file) && text.includes("__CUDA_ARCH__")) {
      problems.push(`native/${file} has __CUDA_ARCH__ in it: the host runs the same source as the GPU.`);
    }
    for (const { line, path, quoted, guards } of includesOf(text)) {
      const where = `native/${file}:${line}`;
      if (
        CUDA_HEADER.test(path) &&
        !CUDA_PLACES.test(file) &&
        !guards.some((each) => CUDA_GUARDS.test(each))
      ) {
        problems.push(
          `${where} includes ${path}, which builds for the CPU do not have: guard it by SOUNDSPOT_CUDA.`,
        );
      }
      if (NODE_API.test(path) && from !== "binding" && from !== ADDON) {
        problems.push(`${where} includes ${path}: only native/binding/ and native/${ADDON} know Node-API.`);
      }
      if (!quoted) continue;
      if (!own.has(path)) {
        if (!NODE_API.test(path))
          problems.push(`${where} includes "${path}", which is no file below native/.`);
        continue;
      }
      graph.get(file).push(path);
      const to = moduleOf(path);
      if (to !== from) between++;
      if (!place.has(to) || !(place.has(from) || from === ADDON) || allows(from, to)) continue;
      against.push([file, path]);
      if (!knownIncludes.some(isKnown([file, path]))) {
        problems.push(`${where} includes "${path}": ${from} may not include from ${to}.`);
      }
    }
  }
  for (const known of knownIncludes) {
    if (against.some(isKnown(known))) continue;
    problems.push(`${known[0]} → ${known[1]} occurs no more: take it from KNOWN_INCLUDES.`);
  }

  const circles = circlesOf(graph);
  for (const circle of circles) problems.push(`These include each other in a circle: ${circle.join(", ")}.`);

  const long = [];
  for (const file of COUNTED.flatMap((folder) =>
    filesBelow(join(root, folder)).map((f) => `${folder}/${f}`),
  )) {
    if (!SOURCE.test(file)) continue;
    const lines = readFileSync(join(root, file), "utf8").split("\n").length - 1;
    if (lines <= MOST_LINES) continue;
    long.push(`${file}: ${lines} lines`);
    if (!knownLong.includes(file)) problems.push(`${file} has ${lines} lines, more than ${MOST_LINES}.`);
  }
  for (const file of knownLong) {
    if (long.some((text) => text.startsWith(`${file}: `))) continue;
    problems.push(`${file} has at most ${MOST_LINES} lines: take it from KNOWN_LONG.`);
  }

  const includes = [...graph.values()].reduce((sum, edges) => sum + edges.length, 0);
  return {
    problems,
    modules: [...modules].filter((name) => name !== ADDON).length,
    files: files.length,
    includes,
    between,
    circles,
    exceptions: against.length,
    long,
  };
}

/** @returns {string} The folder of native/ that a path lies in, or `addon.cc`. */
function moduleOf(file) {
  return file.split("/")[0];
}

/** Paths of all files below a folder, from there, with `/`, in order. */
function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => !file.split("/").includes("node_modules"))
    .sort();
}

/**
 * @returns {{ line: number, path: string, quoted: boolean, guards: string[] }[]} Directives outside comments, with the
 *   conditions that hold there; that of an `#else` is left out.
 */
function includesOf(text) {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "));
  const guards = [];
  return code.split("\n").flatMap((content, at) => {
    const [, directive, rest] = /^\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)/.exec(content) ?? [];
    if (directive === "endif") guards.pop();
    else if (directive === "elif" || directive === "else")
      guards.splice(-1, 1, directive === "elif" ? rest : "");
    else if (directive !== undefined) guards.push(directive === "ifndef" || /!/.test(rest) ? "" : rest);
    const [, open, path] = /^\s*#\s*include\s*(["<])([^">]+)[">]/.exec(content) ?? [];
    return path === undefined ? [] : [{ line: at + 1, path, quoted: open === '"', guards: [...guards] }];
  });
}

/** Sets of nodes that reach each other, by Tarjan's algorithm; a node that names itself counts. */
function circlesOf(graph) {
  const index = new Map();
  const low = new Map();
  const stack = [];
  const circles = [];
  const visit = (node) => {
    index.set(node, index.size);
    low.set(node, index.get(node));
    stack.push(node);
    for (const next of graph.get(node)) {
      if (!index.has(next)) {
        visit(next);
        low.set(node, Math.min(low.get(node), low.get(next)));
      } else if (stack.includes(next)) low.set(node, Math.min(low.get(node), index.get(next)));
    }
    if (low.get(node) !== index.get(node)) return;
    const circle = stack.splice(stack.indexOf(node));
    if (circle.length > 1 || graph.get(node).includes(node)) circles.push(circle.sort());
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return circles;
}

if (process.argv[1] && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
  const { problems, modules, files, includes, between, circles, exceptions, long } = check(root);
  console.log(
    `native/: ${modules} modules, ${files} files, ${includes} includes, ${between} between modules, ` +
      `${circles.length} circles, ${exceptions} known exceptions`,
  );
  for (const text of long) console.log(`more than ${MOST_LINES}: ${text}`);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
