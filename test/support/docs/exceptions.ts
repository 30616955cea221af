/**
 * What the samples of the documentation need beside the world of `world.ts`, as tables. An entry that meets no sample
 * fails the test, so that none outlives the sample that it was made for.
 */

import { tiny } from "../tiny.js";
import { PORT } from "./service.js";

/** A part of a sample that is run with less work. What people read stays as it is. */
export interface Rewrite {
  readonly find: RegExp;
  /** As in String.replace; SERVER stands for the address of the world's files on a web server. */
  readonly become: string;
  readonly why: string;
}

/** What training samples are run with: the file tiny.yaml of the world, and in code. */
export const settings = {
  model: tiny,
  train: {
    epochs: 1,
    batchSize: 4,
    precision: "float32",
    augment: false,
    losses: { contrastive: { weight: 1 }, matching: { weight: 1 } },
  },
};

/** Made in every command and script, in this order. */
export const rewrites: readonly Rewrite[] = [
  {
    find: /\b(soundspot (?:train|ablate)\b(?![^|;&]*--config)[^|;&#\n]*)/g,
    become: "$1 --config tiny.yaml ",
    why: "one epoch of a small model in place of the preset's",
  },
  {
    find: /\b(soundspot compare\b[^|;&#\n]*)/g,
    become:
      "$1 --seeds 1 --methods joint-slot-attention,ez-vsl --pairs 4 --batch-size 4 --epochs 1 --images 1 --evaluation test.jsonl --two-sources test.jsonl ",
    why: "one step of two methods in place of three trainings of seven",
  },
  {
    find: / --epochs \d+/g,
    become: "",
    why: "the settings file says how many",
  },
  {
    find: /\b(length[=:] ?)\d{3,}/g,
    become: "$18",
    why: "eight samples in place of hundreds",
  },
  {
    find: /stamps:(?:size=\d+,seconds=\d+,)?/g,
    become: "stamps:root=stamps,backgrounds=stamps,size=32,seconds=0.5,length=8,",
    why: "small cut-outs of the world, whether or not Tux Paint's are installed",
  },
  {
    find: /datasets\.stamps\(\{/g,
    become: 'datasets.stamps({ root: "stamps", backgrounds: "stamps",',
    why: "the same in code",
  },
  {
    find: /(--fail-under [\w.-]+=)(?!95)[\d.]+/g,
    become: "$10",
    why: "the world's checkpoint is not trained; 95 is the floor that fails in the documentation",
  },
  {
    find: /preset: "scratch",/g,
    become: `preset: "scratch", ...${JSON.stringify(settings.train)}, model: ${JSON.stringify(settings.model)},`,
    why: "one epoch of a small model in place of the preset's",
  },
  {
    find: /\{000000\.\.000143\}/g,
    become: "{000000..000001}",
    why: "two shards",
  },
  {
    find: /\b127\.0\.0\.1:8080\b/g,
    become: `127.0.0.1:$(< ${PORT})`,
    why: "a port that is free; in commands, whose service has written it to a file",
  },
  {
    find: /\bport: \d+/g,
    become: "port: 0",
    why: "a port that is free; in scripts",
  },
  {
    find: /https:\/\/example\.org\//g,
    become: "SERVER/",
    why: "no network",
  },
];

/** A command or a block that cannot be run here; its syntax and the options that it gives soundspot are checked. */
export interface NotRun {
  readonly document: string;
  /** Beginning of the command, or of the first line of a block in another language. */
  readonly begins: string;
  readonly why: string;
}

const install = "would install the published package into the world, in place of the one under test";
const cluster =
  "needs a launcher and several machines; test/integration/distributed/distributed.test.ts sets what it sets";

const server = "a server of another package; support/docs/examples.ts runs it and sends what curl would";

const verifying =
  "compiles for minutes, or needs a GPU; scripts/test-cuda.mjs builds the program and runs it without one";

const setup = "downloads and compiles; test/unit/scripts/setup.test.ts and test/slow run it";

const managers = "needs other package managers; test/slow/install.test.ts runs them";

const bundlers = "needs bundlers, Babel or Jest; test/slow/bundlers.test.ts runs it";

export const notRun: readonly NotRun[] = [
  { document: "README.md", begins: "git clone <this repository>", why: "needs the repository's address" },
  { document: "README.md", begins: "npm install && npm run demo", why: "compiles, and trains for minutes" },
  { document: "README.md", begins: "npm install && npm test", why: "would run this test" },
  { document: "README.md", begins: "npm install soundspot", why: install },
  { document: "README.md", begins: "npx soundspot setup --cuda", why: setup },
  { document: "docs/platforms.md", begins: "npm install soundspot", why: install },
  { document: "docs/platforms.md", begins: "npx soundspot setup", why: setup },
  { document: "docs/platforms.md", begins: "yarn soundspot setup", why: managers },
  { document: "docs/platforms.md", begins: "pnpm approve-builds", why: managers },
  { document: "docs/platforms.md", begins: "HTTPS_PROXY=http://proxy.example", why: setup },
  { document: "docs/platforms.md", begins: "export LIBTORCH=", why: "needs an installed PyTorch" },
  { document: "docs/platforms.md", begins: "cmake -S verify", why: verifying },
  { document: "docs/platforms.md", begins: "cmake --build build/verify", why: verifying },
  { document: "docs/platforms.md", begins: "build/verify/verify", why: verifying },
  { document: "docs/platforms.md", begins: "compute-sanitizer", why: verifying },
  { document: "docs/platforms.md", begins: "npm run verify:gpu", why: verifying },
  { document: "docs/platforms.md", begins: "docker run", why: "needs Docker" },
  { document: "docs/bundlers.md", begins: "// app.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "// webpack.config.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "npm install --save-dev webpack", why: bundlers },
  { document: "docs/bundlers.md", begins: "npx webpack", why: bundlers },
  { document: "docs/bundlers.md", begins: "node dist/webpack.cjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "npm install --save-dev esbuild", why: bundlers },
  { document: "docs/bundlers.md", begins: "npx esbuild", why: bundlers },
  { document: "docs/bundlers.md", begins: "node dist/esbuild.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "// rollup.config.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "npm install --save-dev rollup", why: bundlers },
  { document: "docs/bundlers.md", begins: "npx rollup", why: bundlers },
  { document: "docs/bundlers.md", begins: "node dist/rollup.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "// vite.config.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "npm install --save-dev vite", why: bundlers },
  { document: "docs/bundlers.md", begins: "npx vite", why: bundlers },
  { document: "docs/bundlers.md", begins: "node dist/vite.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "// commonjs.test.js", why: bundlers },
  { document: "docs/bundlers.md", begins: "// next.config.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "// babel.config.cjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "// modules.test.mjs", why: bundlers },
  { document: "docs/bundlers.md", begins: "npm install --save-dev jest", why: bundlers },
  { document: "docs/bundlers.md", begins: "npx jest", why: bundlers },
  { document: "docs/bundlers.md", begins: "NODE_OPTIONS=", why: bundlers },
  {
    document: "docs/bundlers.md",
    begins: "# electron-builder.yml",
    why: "needs Electron; the page says that it was not run",
  },
  {
    document: "docs/datasets.md",
    begins: "apt-get install tuxpaint",
    why: "installs packages of the system",
  },
  {
    document: "docs/comparison.md",
    begins: "npx soundspot neighbours --encoder resnet18.pth",
    why: "needs a ResNet-18 of whole size; test/unit/cli/compare.test.ts runs the command with a checkpoint",
  },
  {
    document: "docs/comparison.md",
    begins: "npx soundspot train --preset alignment",
    why: "reads what that command writes",
  },
  {
    document: "docs/comparison.md",
    begins: "npx soundspot evaluate fnac.pth",
    why: "needs a published checkpoint; test/unit/methods/comparison.test.ts reads files like it",
  },
  {
    document: "docs/comparison.md",
    begins: "npx soundspot compare --data vggsound",
    why: "needs VGG-Sound; test/integration/comparison/compare.test.ts runs the command with --published",
  },
  { document: "docs/distributed.md", begins: "torchrun", why: cluster },
  { document: "docs/distributed.md", begins: "srun", why: cluster },
  { document: "docs/distributed.md", begins: "export MASTER_ADDR", why: cluster },
  { document: "docs/distributed.md", begins: "apiVersion: kubeflow.org/v1", why: cluster },
  { document: "docs/guide.md", begins: "npm install soundspot", why: install },
  {
    document: "docs/guide.md",
    begins: "npx soundspot demo ",
    why: "trains for minutes; README.md's demo --quick is run",
  },
  { document: "docs/recipes.md", begins: "npm install soundspot", why: install },
  { document: "docs/recipes.md", begins: "MODEL=", why: server },
  { document: "docs/recipes.md", begins: "curl", why: server },
  { document: "docs/search.md", begins: "npm install @lancedb", why: install },
  {
    document: "docs/serve.md",
    begins: "location /sound/ {",
    why: "needs nginx; test/integration/server/nginx.test.ts runs it",
  },
  { document: "docs/page.md", begins: "npm run build:ts", why: "builds the package that the tests run on" },
  { document: "docs/page.md", begins: "npx vitest", why: "would run the tests" },
  { document: "examples/evaluate.yml", begins: "npm install soundspot", why: install },
];

/**
 * Names that a fragment of JavaScript uses and that the text around it, not the fragment, speaks of. Beside these a
 * fragment may use what an earlier sample of its document imported from soundspot. `$` is the package.
 */
export const given: Readonly<Record<string, string>> = {
  data: 'await $.datasets.manifest({ path: "train.jsonl" })',
  testData: 'await $.datasets.manifest({ path: "test.jsonl" })',
};
