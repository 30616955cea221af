// From the start of this process to the first localization with the model in the file given, for bench/startup.mjs.
const stages = { node: performance.now() };
const stage = (name, since) => {
  stages[name] = performance.now() - since;
};

let since = performance.now();
const { Model } = await import("../../dist/index.js");
stage("import", since);
since = performance.now();
const model = await Model.load(process.argv[2]);
stage("load", since);

const { pair } = await import("./inputs.mjs");
const input = pair(1);
since = performance.now();
await model.localize(input);
stage("first", since);
stages.total = stages.node + stages.import + stages.load + stages.first;

process.stdout.write(`${JSON.stringify(stages)}\n`);
