/** Says what processor the tests ran on, which tests it left out and why, and how many passed. */
import type { Reporter, TestCase, TestModule } from "vitest/node";

async function describeProcessor(): Promise<string> {
  try {
    const { addon } = await import("../../scripts/addon.mjs");
    const { model, features, hardware } = addon.info().cpu;
    const unused = hardware.filter((feature) => !features.includes(feature));
    const capped = unused.length > 0 ? `; capped: ${unused.join(", ")}` : "";
    return `${model || process.arch} (${features.join(", ") || "no vectors"}${capped})`;
  } catch {
    return `${process.arch}; the addon does not load`;
  }
}

export default class ProcessorReporter implements Reporter {
  async onInit(): Promise<void> {
    process.stdout.write(`\nProcessor: ${await describeProcessor()}\n`);
  }

  async onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    const tests: TestCase[] = modules.flatMap((module) => [...module.children.allTests()]);
    const inState = (state: string) => tests.filter((test) => test.result().state === state);
    const reasons = new Map<string, TestCase[]>();
    for (const test of inState("skipped")) {
      const result = test.result();
      const reason = (result.state === "skipped" ? result.note : undefined) ?? "left out where it is defined";
      reasons.set(reason, [...(reasons.get(reason) ?? []), test]);
    }
    process.stdout.write(`\nProcessor: ${await describeProcessor()}\n`);
    for (const [reason, skipped] of reasons) {
      process.stdout.write(`\nskipped ${skipped.length}: ${reason}\n`);
      for (const test of skipped)
        process.stdout.write(`  ${test.module.relativeModuleId} > ${test.fullName}\n`);
    }
    const count = (state: string) => inState(state).length;
    // A file that cannot be read, or whose hook fails, has no failed test.
    const withoutTest = modules.filter(
      (module) => module.state() === "failed" && [...module.children.allTests("failed")].length === 0,
    );
    const failed = count("failed") + withoutTest.length;
    process.stdout.write(`\n${count("passed")} passed, ${failed} failed, ${count("skipped")} skipped\n`);
  }
}
