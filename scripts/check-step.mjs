#!/usr/bin/env node
/**
 * Holds that a training step reads from its device once, at its end. In the sources that a step runs on any device, what
 * brings values to the host, looks at a tensor's memory, or makes a tensor on the CPU is an error. Exempt are two kinds
 * of lines, by a comment at their end or alone on the line before:
 *
 *   // the one read    exactly one line, in native/training/outcome.h
 *   // not in a step   saving, loading and restoring state
 *
 *   node scripts/check-step.mjs
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Files and folders of a step, from the package. The forms that are the CPU's alone are not among them. */
export const SOURCES = [
  "native/distributed/gathered.cc",
  "native/encoders",
  "native/losses",
  "native/methods",
  "native/slot_attention/decoder.cc",
  "native/slot_attention/reference.cc",
  "native/training",
];

/** Where the marked read is. */
export const READER = "native/training/outcome.h";

const READ = "the one read";
const OUTSIDE = "not in a step";

/** What is rejected, and why. */
const REJECTED = [
  [/(?:\.|->)item\s*(?:<[^>]*>)?\s*\(/, "reads a value"],
  [/(?:\.|->)cpu\s*\(/, "copies to the CPU"],
  [
    /(?:\.|->)to\s*\(\s*(?:[\w.>-]+\s*,\s*)?(?:at::|c10::|torch::)?(?:kCPU\b|Device\s*\(\s*(?:at::|c10::)?kCPU)/,
    "copies to the CPU",
  ],
  [/\bto_host\s*\(/, "copies to the CPU"],
  [/\bdata_ptr\b|\b(?:const|mutable)_data_ptr\b|\bdata_ptr_impl\b|\baccessor\s*</, "looks at memory"],
  [/\bfrom_blob\s*\(/, "makes a tensor of the CPU"],
  [/\b(?:at|torch)::tensor\s*\(/, "makes a tensor of the CPU"],
  [/\bnonzero(?:_numpy|_static)?\s*\(/, "has a size that depends on values"],
  [/\bmasked_select\s*\(/, "has a size that depends on values"],
  [/\b_?unique(?:2|_dim|_consecutive)?\s*\(/, "has a size that depends on values"],
  [/\brepeat_interleave\s*\(/, "has a size that depends on values"],
  [/\bbincount\s*\(/, "has a size that depends on values"],
  [
    /(?:\.|->)index(?:_put_?)?\s*\(\s*\{|\bat::index(?:_put_?)?\s*\(/,
    "may have a size that depends on values",
  ],
  [/\bis_nonzero\s*\(|\b(?:allclose|is_all_true)\s*\(|(?:\.|->|\bat::)equal\s*\(/, "reads a value"],
  [/\b_local_scalar_dense\b/, "reads a value"],
];

/**
 * @param {string} root The package.
 * @param {object} [options]
 * @param {readonly string[]} [options.sources] Files and folders to look at. Default SOURCES.
 * @param {string} [options.reader] The file of the marked read. Default READER.
 * @returns {{ problems: string[], files: number, exempt: number }}
 */
export function check(root, { sources = SOURCES, reader = READER } = {}) {
  const problems = [];
  const reads = [];
  let exempt = 0;
  const files = [];
  for (const source of sources) {
    if (existsSync(join(root, source))) files.push(...filesOf(root, source));
    else problems.push(`${source} is not there: correct SOURCES in scripts/check-step.mjs.`);
  }
  for (const file of files) {
    const lines = readFileSync(join(root, file), "utf8").split("\n");
    const code = withoutComments(lines.join("\n")).split("\n");
    for (const [at, line] of lines.entries()) {
      const where = `${file}:${at + 1}`;
      const found = REJECTED.filter(([pattern]) => pattern.test(code[at]));
      const mark = markOf(line) ?? (code[at - 1]?.trim() === "" ? markOf(lines[at - 1]) : undefined);
      if (mark === READ && found.length > 0) reads.push({ file, where });
      if (found.length === 0) {
        if (markOf(line) && code[at].trim() !== "") problems.push(`${where}: nothing here needs its mark.`);
        continue;
      }
      if (mark) exempt++;
      else {
        const reason = found[0][1];
        problems.push(
          `${where} ${reason} in a training step, and the host waits for the device: ${line.trim()}`,
        );
      }
    }
  }
  for (const { file, where } of reads) {
    if (file !== reader) problems.push(`${where}: the one read is in ${reader}.`);
  }
  if (reads.length !== 1) problems.push(`${reads.length} lines are marked "${READ}", not one.`);
  return { problems, files: files.length, exempt };
}

/** @returns {string | undefined} The mark of a line. */
function markOf(line = "") {
  const comment = /\/\/\s*(.*?)\s*$/.exec(line)?.[1] ?? "";
  return [READ, OUTSIDE].find((mark) => comment === mark || comment.startsWith(`${mark}:`));
}

/** The text with comments and the content of strings as spaces, lines kept. */
function withoutComments(text) {
  return text.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"/g, (part) =>
    part.replace(/[^\n]/g, " "),
  );
}

/** The sources of a file or folder, from the package. */
function filesOf(root, source) {
  if (statSync(join(root, source)).isFile()) return [source];
  return readdirSync(join(root, source), { recursive: true })
    .map((name) => `${source}/${String(name).replaceAll("\\", "/")}`)
    .filter((name) => /\.(?:cc|h)$/.test(name))
    .sort();
}

if (process.argv[1] && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  const { problems, files, exempt } = check(resolve(dirname(fileURLToPath(import.meta.url)), ".."));
  console.log(`The training step: ${files} files, ${exempt} lines exempt, one of them the read at its end`);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
