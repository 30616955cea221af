/** Says what processor the tests ran on, which tests it left out and why, and how many passed. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Reporter, TestCase, TestModule } from "vitest/node";
import type { ProcessorInfo } from "../../src/native.js";

interface Addon {
  info(): { cpu: ProcessorInfo };
}

function describeProcessor(): string {
  try {
    const load = createRequire(import.meta.url)("node-gyp-build") as (folder: string) => Addon;
    const { model, features, hardware } = load(fileURLToPath(new URL("../..", import.meta.url))).info().cpu;
    const unused = hardware.filter((feature) => !features.includes(feature));
    const capped = unused.length > 0 ? `; capped: ${unused.join(", ")}` : "";
    return `${model || process.arch} (${features.join(", ") || "no vectors"}${capped})`;
  } catch {
    return `${process.arch}; the addon does not load`;
  }
}

export default class ProcessorReporter implements Reporter {
  onInit(): void {
    process.stdout.write(`\nProcessor: ${describeProcessor()}\n`);
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests: TestCase[] = modules.flatMap((module) => [...module.children.allTests()]);
    const inState = (state: string) => tests.filter((test) => test.result().state === state);
    const reasons = new Map<string, TestCase[]>();
    for (const test of inState("skipped")) {
      const result = test.result();
      const reason = (result.state === "skipped" ? result.note : undefined) ?? "left out where it is defined";
      reasons.set(reason, [...(reasons.get(reason) ?? []), test]);
    }
    process.stdout.write(`\nProcessor: ${describeProcessor()}\n`);
    for (const [reason, skipped] of reasons) {
      process.stdout.write(`\nskipped ${skipped.length}: ${reason}\n`);
      for (const test of skipped)
        process.stdout.write(`  ${test.module.relativeModuleId} > ${test.fullName}\n`);
    }
    const count = (state: string) => inState(state).length;
    const failed =
      count("failed") +
      modules.filter((module) => module.state() === "failed" && module.children.size === 0).length;
    process.stdout.write(`\n${count("passed")} passed, ${failed} failed, ${count("skipped")} skipped\n`);
  }
}
