/**
 * Runs what the documentation shows. Every fenced block of README.md and docs/*.md is a sample, and is found without
 * being named here: scripts are checked against the types and run against the built package, commands are run through
 * the built command line, settings are read by their schema, rows of manifests are opened. What a sample reads is made
 * in support/docs/world.ts; what is run with less work, or cannot be run, stands in support/docs/exceptions.ts.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { ModelOptions } from "../../../src/config/model.js";
import { mergeTrain } from "../../../src/config/presets.js";
import type { TrainOptions } from "../../../src/config/train.js";
import { Semaphore } from "../../../src/core/semaphore.js";
import {
  datasets,
  type PresetName,
  parseModelConfig,
  parseTrainConfig,
  presets,
} from "../../../src/index.js";
import { examples, lacking } from "../../support/docs/examples.js";
import { given, notRun, rewrites } from "../../support/docs/exceptions.js";
import {
  checkSyntax,
  commandsIn,
  endService,
  exceptionFor,
  met,
  type Place,
  runScript,
  runShell,
  shapeOf,
} from "../../support/docs/run.js";
import {
  brokenLinks,
  exampleFiles,
  placeOf,
  readDocuments,
  root,
  type Sample,
} from "../../support/docs/samples.js";
import { isScript, standAlone, typeErrors } from "../../support/docs/scripts.js";
import { callsIn, commandLine, wrongUsage } from "../../support/docs/usage.js";
import { copyWorld, makeWorld, type World } from "../../support/docs/world.js";

const { documents, samples, mentions } = readDocuments();
const { scripts, givenNames } = standAlone(samples.filter((sample) => isScript(sample) && !sample.shows));
const scriptOf = new Map(scripts.map((script) => [script.sample, script]));

/** Commands of a block, which in a `console` block stand after `$ `. */
function commandsOf({ language, text }: Sample): string[] {
  if (/^(sh|bash|shell)$/.test(language)) return commandsIn(text);
  if (language !== "console") return [];
  return text.split("\n").flatMap((line) => (line.startsWith("$ ") ? [line.slice(2)] : []));
}

interface Workflow {
  readonly jobs?: Record<string, { readonly steps?: readonly { readonly run?: string }[] }>;
}

/** Settings, or the commands of a workflow; both must be valid. */
function checkYaml(sample: Sample): string[] {
  const value = parse(sample.text, { merge: true }) as Record<string, unknown>;
  if ("jobs" in value) {
    const jobs = Object.values((value as Workflow).jobs ?? {});
    return jobs.flatMap(({ steps = [] }) => steps.flatMap(({ run }) => (run ? commandsIn(run) : [])));
  }
  if (exceptionFor(sample.document, sample.text)) {
    const arrays = sample.text.replace(/\[npx, ([^\]]*)\]/g, (_, words: string) => words.replaceAll(",", ""));
    for (const call of callsIn(arrays)) expect(wrongUsage(program, call)).toEqual([]);
    return [];
  }
  const unknown = Object.keys(value).filter((key) => !["preset", "model", "train"].includes(key));
  expect(unknown, "keys beside preset, model and train").toEqual([]);
  const {
    preset = "paper",
    model,
    train,
  } = value as { preset?: PresetName; model?: ModelOptions; train?: TrainOptions };
  const recipe = presets[preset];
  parseModelConfig({ ...recipe.model, ...model });
  parseTrainConfig(mergeTrain(recipe.train, train ?? {}));
  return [];
}

/** JSON, or a JSON value a line; rows of a manifest are opened and loaded. */
async function checkJson(sample: Sample, { folder }: Place): Promise<void> {
  const lines = sample.text.trim().split("\n");
  const isRows = lines.length > 1 && lines.every((line) => line.startsWith("{") && line.endsWith("}"));
  const rows = (isRows ? lines : [sample.text]).map((text) => JSON.parse(text) as Record<string, unknown>);
  if (!rows.every((row) => "image" in row || "video" in row)) return;
  const path = join(folder, `sample-${sample.line}.jsonl`);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const data = await datasets.manifest({ path });
  for (let i = 0; i < data.length; i++) await data.load(i);
}

let world: World;
let files: Server;
let program: Awaited<ReturnType<typeof commandLine>>;
let typed: Promise<Map<Sample, string[]>>;

const isText = ({ language }: Sample) => /^(text|bibtex|mermaid)?$/.test(language);

async function check(sample: Sample, place: Place): Promise<void> {
  const { language, text, shows } = sample;
  if (shows) {
    expect(text).toBe(readFileSync(join(root, shows), "utf8"));
    return;
  }
  if (isText(sample)) {
    expect(text, "a block with commands or code needs its language after the fence").not.toMatch(
      /^\s*(\$ |npx |npm |import |const )/m,
    );
    return;
  }
  const script = scriptOf.get(sample);
  if (script) {
    if (exceptionFor(sample.document, text)) return;
    const { code, output } = await runScript(script, place);
    expect((await typed).get(sample)).toEqual([]);
    expect(code, output).toBe(0);
    return;
  }
  if (language === "json" || language === "jsonl") return checkJson(sample, place);
  const isYaml = /^ya?ml$/.test(language);
  const commands = isYaml ? checkYaml(sample) : commandsOf(sample);
  if (!isYaml && commands.length === 0) {
    expect(exceptionFor(sample.document, text), `nothing runs a block of "${language}"`).toBeTruthy();
    return;
  }
  for (const command of commands) {
    checkSyntax(command);
    for (const call of callsIn(command)) expect(wrongUsage(program, call)).toEqual([]);
  }
  const { code, output } = await runShell(sample, commands, place);
  if (language === "console") {
    expect(shapeOf(output)).toBe(shapeOf(text.replace(/^\$ .*\n/gm, "")));
  } else {
    expect(code, output).toBe(0);
  }
}

type Verdict = { readonly error?: unknown };
const verdicts = new Map<Sample, Promise<Verdict>>();
/** Of each document, once its service has ended too. */
const ended: Promise<Verdict>[] = [];

/** The ports that samples name: they are taken here, and every sample has to use another one. */
const named = [8080, 8081].map((port) =>
  createServer()
    .once("error", () => undefined)
    .listen(port),
);

/** Starts every document; the samples of one wait for each other. */
function start(): void {
  const { port } = files.address() as AddressInfo;
  const atOnce = new Semaphore(2);
  for (const document of new Set(samples.map((sample) => sample.document))) {
    const own = samples.filter((each) => each.document === document);
    const folder = copyWorld(world, document.replaceAll(/\W/g, "-"));
    const place = { world, folder, server: `http://127.0.0.1:${port}` };
    let last: Promise<Verdict> = Promise.resolve({});
    for (const sample of own) {
      last = last.then(() =>
        atOnce
          .run(() => check(sample, place))
          .then(
            () => ({}),
            (error: unknown) => ({ error }),
          ),
      );
      verdicts.set(sample, last);
    }
    ended.push(last.finally(() => endService(folder)));
  }
}

beforeAll(async () => {
  program = await commandLine();
  world = await makeWorld();
  files = createServer((request, response) => {
    const path = join(world.files, decodeURIComponent(new URL(request.url ?? "/", "http://files").pathname));
    if (!existsSync(path)) return response.writeHead(404).end();
    const content = readFileSync(path);
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    if (from === undefined) {
      return response
        .writeHead(200, { "content-length": content.length, "accept-ranges": "bytes" })
        .end(content);
    }
    const end = to ? Math.min(Number(to), content.length - 1) : content.length - 1;
    const part = content.subarray(Number(from), end + 1);
    const range = `bytes ${from}-${end}/${content.length}`;
    return response.writeHead(206, { "content-length": part.length, "content-range": range }).end(part);
  });
  await new Promise<void>((done) => files.listen(0, "127.0.0.1", done));
  start();
  // The compiler holds this thread; the first samples run beside it in their own processes.
  typed = new Promise((done) => setImmediate(() => done(typeErrors(scripts, join(world.folder, "types")))));
});

afterAll(async () => {
  await Promise.all(ended);
  for (const server of named) server.close();
  files?.close();
  world?.remove();
});

for (const document of new Set(samples.map((sample) => sample.document))) {
  describe(document, () => {
    for (const sample of samples.filter((each) => each.document === document)) {
      const first = sample.text.split("\n")[0]?.slice(0, 60);
      it(`runs line ${sample.line}: ${first}`, async () => {
        const { error } = (await verdicts.get(sample)) ?? {};
        if (error) throw error;
      });
    }
  });
}

describe("examples", () => {
  for (const [name, { modules = [], run }] of Object.entries(examples)) {
    const absent = lacking(modules);
    const why =
      absent.length > 0
        ? ` (skipped without ${absent.join(" and ")}: give their folder in EXAMPLES_MODULES)`
        : "";
    it.skipIf(absent.length > 0)(`${name}${why}`, async () => {
      const folder = copyWorld(world, name.replaceAll(/\W/g, "-"));
      await run({ world, folder, server: "" });
    });
  }

  it("are all run", () => {
    const run = Object.values(examples).flatMap(({ files: names }) => names);
    expect(run.sort()).toEqual(exampleFiles());
  });
});

describe("the documentation", () => {
  it("gives soundspot the options that it has, in sentences as well", () => {
    const wrong = mentions.flatMap((mention) =>
      callsIn(mention.command).flatMap((call) =>
        wrongUsage(program, call, false).map((text) => `${placeOf(mention)}: ${text}`),
      ),
    );
    expect(mentions.length).toBeGreaterThan(0);
    expect(wrong).toEqual([]);
  });

  it("leads to files and headings that are there", () => {
    const wrong = documents.flatMap((document) => brokenLinks(document));
    expect(wrong).toEqual([]);
  });

  it("needs every exception that is made for it", async () => {
    await Promise.all(verdicts.values());
    expect(rewrites.filter((each) => !met.has(each)).map(({ find }) => String(find))).toEqual([]);
    expect(
      notRun.filter((each) => !met.has(each)).map(({ document, begins }) => `${document}: ${begins}`),
    ).toEqual([]);
    expect(Object.keys(given).filter((name) => !givenNames.has(name))).toEqual([]);
  });
});
