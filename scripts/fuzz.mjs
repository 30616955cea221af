#!/usr/bin/env node
/**
 * Builds the fuzz targets of test/fuzz with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, and runs
 * them one after the other. Needs clang++ (or CLANG) with its runtime libraries, on Linux.
 *
 *   node scripts/fuzz.mjs [json|pickle|zip|pth|tensors|legacy|safetensors …] [--seconds N | --runs N]
 *
 * N is for each reader, by default 60 seconds. Interesting inputs stay in build/fuzz/READER/corpus and start the next
 * run. An input that ends a target stays in build/fuzz/READER/, and the exit code is 1.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { latin1, pickle, safetensors, word, zip } from "../test/support/archives.mjs";

const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const LIBTORCH = join(PACKAGE, "vendor", "libtorch");
const FOLDER = join(PACKAGE, "build", "fuzz");
const MAX_INPUT = 4096; // bytes
const MAX_BLOCK = 2; // MB in one allocation, far more than MAX_INPUT bytes may need
const MAX_MEMORY = 1024; // MB, sanitizers included

const PTH = ["pth", "legacy", "storages", "pickle", "zip", "file", "format"];
/** Sources below native/checkpoint, beside test/fuzz/NAME.cc. */
const TARGETS = {
  json: { sources: ["json", "format"] },
  pickle: { sources: ["pickle", "format"] },
  zip: { sources: ["zip", "file", "format"] },
  pth: { sources: PTH, torch: true },
  tensors: { sources: PTH, torch: true },
  legacy: { sources: PTH, torch: true },
  safetensors: {
    sources: ["safetensors", "json", "checksum", "file", "format", "../core/threads"],
    torch: true,
  },
};

const JSON_WORDS = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\u00e9",
  "\\ud83d\\ude00",
  "9223372036854775807",
].concat(
  ["dtype", "shape", "data_offsets", "__metadata__", "soundspot.checksum"].map((word) => `"${word}"`),
  ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"].map((word) => `"${word}"`),
);
const STORAGES = ["Float", "Double", "Half", "Long", "BFloat16", "Int", "Short", "Char", "Byte", "Bool"];
const PICKLE_WORDS = [
  "ctorch._utils\n_rebuild_tensor_v2\n",
  "ctorch._utils\n_rebuild_parameter\n",
  "ccollections\nOrderedDict\n",
  "ctorch\nSize\n",
  "cargparse\nNamespace\n",
  "ctorch._utils\n_rebuild_tensor\n",
  "ctorch\nFloatTensor\n",
  "ctorch.nn.parameter\nParameter\n",
  "ctorch.autograd.variable\nVariable\n",
  "U\x06module",
  "X\x05\0\0\0model",
  "X\x0a\0\0\0state_dict",
  "X\x03\0\0\0net",
  "X\x07\0\0\0storage",
  "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
  ...STORAGES.map((type) => `ctorch\n${type}Storage\n`),
];
const ZIP_WORDS = [
  "PK\x01\x02",
  "PK\x03\x04",
  "PK\x05\x06",
  "PK\x06\x06",
  "PK\x06\x07",
  "\x01\0\x18\0",
].concat(["a/data.pkl", "a/data/0", "a/byteorder", "a/constants.pkl"]);
const WORDS = {
  json: JSON_WORDS,
  pickle: PICKLE_WORDS,
  zip: ZIP_WORDS,
  pth: [...PICKLE_WORDS, ...ZIP_WORDS],
  tensors: PICKLE_WORDS,
  legacy: PICKLE_WORDS,
  safetensors: JSON_WORDS,
};

/** The first two tensors of test/fixtures/tiny.pth: their pickle, and the archive with their data. */
function published() {
  const fixture = readFileSync(join(PACKAGE, "test", "fixtures", "tiny.pth"));
  const entry = (name) => {
    const header = fixture.indexOf(`tiny/${name}`) - 30;
    return header + 30 + fixture.readUInt16LE(header + 26) + fixture.readUInt16LE(header + 28);
  };
  const data = (name, bytes) => [`a/${name}`, fixture.subarray(entry(name), entry(name) + bytes)];
  const third = fixture.indexOf(latin1(word("aud_decoder.mlp.2.bias")));
  const start = Buffer.concat([fixture.subarray(entry("data.pkl"), third), latin1("u.")]);
  return {
    pickle: start,
    archive: zip([["a/data.pkl", start], data("byteorder", 6), data("data/0", 64), data("data/1", 1024)]),
  };
}

/** Files from before PyTorch 1.6, and what stands behind their first three pickles. */
function old() {
  const whole = ["saved", "old"].map((name) =>
    readFileSync(join(PACKAGE, "test", "fixtures", "legacy", `${name}.pth`)),
  );
  const objects = whole.map((bytes) => {
    let at = 0;
    for (let i = 0; i < 3; i++) at = bytes.indexOf(latin1("\x80\x02"), at + 1);
    return bytes.subarray(at);
  });
  return { whole, objects };
}

function seeds() {
  const fixture = published();
  const legacy = old();
  const views = [
    ["Float", "0", 16, 0, [4, 4], [1, 4]],
    ["Float", "0", 16, 3, [2, 2], [4, 2]],
    ["Long", "1", 1, 0, [], []],
    ["Float", "0", 16, 0, [0, 3], [3, 1]],
  ];
  const pickles = [pickle(views), pickle(views, "model"), pickle([["Bool", "1", 8, 0, [8], [1]]])];
  const archives = pickles.map((data) =>
    zip([
      ["a/data.pkl", data],
      ["a/byteorder", latin1("little")],
      ["a/data/0", Buffer.alloc(64, 1)],
      ["a/data/1", Buffer.alloc(8, 1)],
    ]),
  );
  const headers = [
    {},
    { __metadata__: { format: "pt" }, a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] } },
    {
      a: { dtype: "I64", shape: [], data_offsets: [0, 8] },
      b: { dtype: "BOOL", shape: [3, 1], data_offsets: [8, 11] },
      c: { dtype: "BF16", shape: [0], data_offsets: [11, 11] },
    },
    { __metadata__: { "soundspot.checksum": "xxh64:0000000000000000", é: '"\\\u0001' } },
  ];
  const data = [0, 16, 11, 0];
  return {
    json: headers.map((header) => Buffer.from(JSON.stringify(header))),
    pickle: [fixture.pickle, ...pickles],
    zip: [fixture.archive, ...archives],
    pth: [fixture.archive, ...archives, ...legacy.whole],
    tensors: [fixture.pickle, ...pickles],
    legacy: legacy.objects,
    safetensors: headers.map((header, i) => safetensors(header, data[i])),
  };
}

function build(name) {
  const { sources, torch } = TARGETS[name];
  const program = join(FOLDER, name, name);
  const files = [join("test", "fuzz", `${name}.cc`)].concat(
    sources.map((source) => join("native", "checkpoint", `${source}.cc`)),
  );
  const compiler = process.env.CLANG ?? "clang++";
  const include = [join(LIBTORCH, "include"), join(LIBTORCH, "include", "torch", "csrc", "api", "include")];
  const library = join(LIBTORCH, "lib");
  const { status, error } = spawnSync(
    compiler,
    [
      ..."-std=c++20 -O1 -g -fno-omit-frame-pointer".split(" "),
      ..."-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined".split(" "),
      ...["-I", "native", "-I", join("test", "fuzz")],
      ...(torch ? include.flatMap((folder) => ["-isystem", folder]) : []),
      ...files,
      ...(torch ? ["-L", library, "-ltorch_cpu", "-lc10", `-Wl,-rpath,${library}`] : []),
      ...["-o", program],
    ],
    { cwd: PACKAGE, stdio: "inherit" },
  );
  if (error) throw new Error(`${compiler} does not run (${error.message}). Install clang, or set CLANG.`);
  if (status !== 0) throw new Error(`${files[0]} could not be compiled.`);
  return program;
}

/** @returns {Promise<{ executions: number, seconds: number, edges: number, crash?: string }>} */
function run(name, program, limit) {
  const folder = join(FOLDER, name);
  const quoted = (text) =>
    [...latin1(text)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  writeFileSync(join(folder, "words.dict"), WORDS[name].map((text) => `"${quoted(text)}"\n`).join(""));
  const begun = performance.now();
  const child = spawn(
    program,
    [
      "corpus",
      "seeds",
      limit,
      "-dict=words.dict",
      "-timeout=10",
      "-print_final_stats=1",
      `-max_len=${MAX_INPUT}`,
      `-malloc_limit_mb=${MAX_BLOCK}`,
      `-rss_limit_mb=${MAX_MEMORY}`,
    ],
    {
      cwd: folder,
      env: { ...process.env, ASAN_OPTIONS: "quarantine_size_mb=16", OMP_NUM_THREADS: "1" },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  let end = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    end = (end + text).slice(-100_000);
  });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code, signal) => {
      const last = (pattern) => Number([...end.matchAll(pattern)].at(-1)?.[1] ?? 0);
      if (code !== 0) console.error(end.slice(-6000));
      done({
        executions: last(/number_of_executed_units: (\d+)/g) || last(/^#(\d+)/gm),
        seconds: (performance.now() - begun) / 1000,
        edges: last(/cov: (\d+)/g),
        crash:
          code === 0
            ? undefined
            : (/Test unit written to \.?\/?(\S+)/.exec(end)?.[1] ?? String(signal ?? code)),
      });
    });
  });
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string" }, runs: { type: "string" } },
});
const number = values.runs ?? values.seconds ?? "60";
const unknown = positionals.find((name) => !Object.hasOwn(TARGETS, name));
if (unknown !== undefined || !/^[1-9]\d*$/.test(number) || (values.runs && values.seconds)) {
  console.error(`node scripts/fuzz.mjs [${Object.keys(TARGETS).join("|")} …] [--seconds N | --runs N]`);
  process.exit(2);
}
const limit = values.runs ? `-runs=${number}` : `-max_total_time=${number}`;
const inputs = seeds();
for (const name of positionals.length > 0 ? positionals : Object.keys(TARGETS)) {
  for (const part of ["corpus", "seeds"]) mkdirSync(join(FOLDER, name, part), { recursive: true });
  inputs[name].forEach((bytes, i) => {
    writeFileSync(join(FOLDER, name, "seeds", String(i)), bytes);
  });
  const { executions, seconds, edges, crash } = await run(name, build(name), limit);
  console.log(
    `${name}: ${executions} executions in ${seconds.toFixed(0)} s, ${edges} edges covered, ` +
      (crash ? `ended by build/fuzz/${name}/${crash}` : "no crash"),
  );
  if (crash) process.exitCode = 1;
}
