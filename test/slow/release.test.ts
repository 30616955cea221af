/**
 * Runs the shell steps of .github/workflows/release.yml in a clean copy of the tracked files, as they stand in the
 * workflow. A step that is neither run nor listed here fails, and so does an entry without a step.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { FLOORS } from "../../scripts/demo-floors.mjs";
import { makeDemoModel } from "../../scripts/demo-model.mjs";
import { findLibTorch } from "../../scripts/locate.mjs";
import { PLATFORMS } from "../../scripts/platform.mjs";
import * as api from "../../src/index.js";
import { root } from "../support/docs/samples.js";
import { canPack } from "../support/packed.js";

interface Step {
  readonly run?: string;
  readonly name?: string;
  readonly env?: Readonly<Record<string, string | number>>;
}
const { jobs } = parse(readFileSync(join(root, ".github/workflows/release.yml"), "utf8")) as {
  readonly jobs: Readonly<Record<string, { readonly steps: readonly Step[] }>>;
};
const steps = Object.entries(jobs).flatMap(([job, { steps: each }]) =>
  each.flatMap(({ run, env = {} }) => (run === undefined ? [] : [{ job, run: run.trim(), env }])),
);

/** What is not run, by the beginning of its command. */
const notRun = [
  { job: "prebuild", begins: "npm ci --ignore-scripts", why: "the job pack runs npm ci" },
  { job: "prebuild", begins: "npm run prebuild", why: "compiles for minutes; the addon of build/ is taken" },
  { job: "prebuild-cuda", begins: "apt-get update", why: "installs packages of the system" },
  { job: "prebuild-cuda", begins: "npm ci --ignore-scripts", why: "the job pack runs npm ci" },
  {
    job: "prebuild-cuda",
    begins: "npm run prebuild",
    why: "needs nvcc; scripts/test-cuda.mjs builds the variant",
  },
  { job: "demo-model", begins: "npm ci", why: "the job pack runs npm ci" },
  {
    job: "demo-model",
    begins: "npm run demo-model",
    why: "trains for minutes; a model with random weights stands for it",
  },
  { job: "publish", begins: "for each in", why: "publishes; its order of files is tested below" },
];
const reasonOf = ({ job, run }: { readonly job: string; readonly run: string }) =>
  notRun.find((each) => each.job === job && run.startsWith(each.begins))?.why;

const torch = findLibTorch({ root });
const online = () =>
  spawnSync("npm", ["view", "esbuild", "name", "--fetch-retries", "0"], { stdio: "ignore" }).status === 0;
const ready = process.platform === "linux" && canPack && torch !== undefined && online();
if (!ready) {
  console.warn("test/slow/release.test.ts is skipped: it needs Linux, a build, LibTorch and npm's registry.");
}

describe.skipIf(!ready)("the release workflow (skipped without a build or a registry)", () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-release-")));
  const checkout = join(folder, "checkout");
  const empty = join(folder, "empty");

  beforeAll(async () => {
    const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0");
    for (const file of files.filter((each) => each !== "" && existsSync(join(root, each)))) {
      mkdirSync(dirname(join(checkout, file)), { recursive: true });
      copyFileSync(join(root, file), join(checkout, file));
    }
    // The artifacts of the other jobs. Addons of other platforms cannot be made here: this one stands for them.
    for (const platform of PLATFORMS) {
      const target = join(checkout, "prebuilds", platform.folder);
      mkdirSync(target, { recursive: true });
      for (const name of ["soundspot.node", "libtorch.json"]) {
        copyFileSync(join(root, "build/Release", name), join(target, name));
      }
    }
    // A model with random weights, whose file of figures says that it reached the floors.
    const demo = join(checkout, "demo-model");
    await makeDemoModel({ api, output: demo, standIn: true });
    const figures = join(demo, "figures.json");
    const facts: object = JSON.parse(readFileSync(figures, "utf8"));
    writeFileSync(figures, JSON.stringify({ ...facts, standIn: false, figures: FLOORS }));
    mkdirSync(empty);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (command: string, cwd: string, more: Readonly<Record<string, string | number>>) => {
    const { npm_config_user_agent, VITEST, NODE_ENV, ...inherited } = process.env;
    const env = {
      ...inherited,
      LIBTORCH: torch?.folder,
      GITHUB_SERVER_URL: "https://github.com",
      GITHUB_REPOSITORY: "owner/name",
      GITHUB_REF_NAME: `v${(JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version}`,
      ...Object.fromEntries(Object.entries(more).map(([name, value]) => [name, `${value}`])),
    };
    // The shell options of GitHub's runners.
    return spawnSync("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", command], {
      cwd,
      env,
      encoding: "utf8",
      maxBuffer: 64 << 20,
    });
  };

  it("has a reason for every step that is not run", () => {
    const unused = notRun.filter(
      ({ job, begins }) => !steps.some((each) => each.job === job && each.run.startsWith(begins)),
    );
    expect(unused).toEqual([]);
    expect(new Set(steps.filter((each) => reasonOf(each) === undefined).map(({ job }) => job))).toEqual(
      new Set(["prebuild", "pack", "try"]),
    );
  });

  // The job that installs needs the packages, and install.mjs what npm ci installs.
  const order = ["pack", "prebuild", "try"];
  const runs = order.flatMap((job) =>
    steps.filter((each) => each.job === job && reasonOf(each) === undefined),
  );
  it.each(runs)("$job: $run", ({ job, run: command, env }) => {
    if (job === "try") {
      for (const name of readdirSync(checkout).filter((each) => each.endsWith(".tgz"))) {
        cpSync(join(checkout, name), join(empty, name));
      }
    }
    const { status, stdout, stderr } = run(command, job === "try" ? empty : checkout, env);
    expect(status, `${command}\n${stdout.slice(-4000)}\n${stderr.slice(-4000)}`).toBe(0);
  });

  it("publishes the package that needs the others last", () => {
    const loop = steps.find(({ job }) => job === "publish")?.run ?? "";
    expect(loop).toContain("npm publish");
    const { status, stdout } = run(loop.replace(/npm publish .*$/m, 'echo "$each"'), checkout, {});
    const names = stdout.trim().split("\n");
    expect(status).toBe(0);
    // Those of the platforms, the demo model, and soundspot itself.
    expect(names.length).toBe(PLATFORMS.length + 2);
    expect(new Set(names).size).toBe(names.length);
    expect(names.at(-1)).toMatch(/^soundspot-\d/);
  });
});
