// From the start of this process to the first localization with the model in the file given, by the package in the folder
// given, for bench/startup.mjs.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const stages = { node: performance.now() };
const stage = (name, since) => {
  stages[name] = performance.now() - since;
};

let since = performance.now();
const [, , weights, folder] = process.argv;
const { Model } = await import(pathToFileURL(join(folder, "dist/index.js")).href);
stage("import", since);
since = performance.now();
const model = await Model.load(weights);
stage("load", since);

const { pair } = await import("./inputs.mjs");
const input = pair(1);
since = performance.now();
await model.localize(input);
stage("first", since);
stages.total = stages.node + stages.import + stages.load + stages.first;

process.stdout.write(`${JSON.stringify(stages)}\n`);
