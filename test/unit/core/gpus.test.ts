/** Which GPUs have code in a build, over the lists that CMake takes. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "soundspot-gpus-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const compiles = spawnSync("g++", ["--version"], { stdio: "ignore" }).status === 0;

describe.skipIf(!compiles)("code for a GPU (skipped without g++)", () => {
  const program = join(folder, "gpus");
  const ask = (questions: readonly string[]): boolean[] => {
    const sources = ["native/core/cuda/architectures.cc", "test/native/gpus.cc"];
    execFileSync("g++", ["-std=c++20", "-Inative", ...sources, "-o", program], { cwd: root });
    const answers = execFileSync(program, { input: questions.join("\n"), encoding: "utf8" });
    return answers
      .trim()
      .split("\n")
      .map((answer) => answer === "1");
  };

  it("runs on the same generation from its version on, and on newer ones where it can be compiled", () => {
    const versions = [50, 61, 70, 75, 80, 86, 87, 89, 90, 100, 103, 120, 121];
    const kinds = ["-real", "-virtual", ""];
    const all = versions.flatMap((has) =>
      kinds.flatMap((kind) => versions.map((gpu) => ({ has, kind, gpu }))),
    );
    const answers = ask(all.map(({ has, kind, gpu }) => `${has}${kind} ${Math.floor(gpu / 10)} ${gpu % 10}`));
    all.forEach(({ has, kind, gpu }, i) => {
      const machine = kind !== "-virtual" && gpu >= has && Math.floor(gpu / 10) === Math.floor(has / 10);
      const compiled = kind !== "-real" && gpu >= has;
      expect(answers[i], `${has}${kind} on ${gpu}`).toBe(machine || compiled);
    });
    expect(new Set(answers).size).toBe(2);
  });

  it("of the default list runs on every GPU from 7.5 on", () => {
    const list = "75-real,80-real,86-real,89-real,90-real,100-real,120";
    const gpus = [
      "7 0",
      "7 5",
      "8 0",
      "8 6",
      "8 7",
      "8 9",
      "9 0",
      "10 0",
      "10 3",
      "11 0",
      "12 0",
      "12 1",
      "13 0",
    ];
    const expected = [false, true, true, true, true, true, true, true, true, false, true, true, true];
    expect(ask(gpus.map((gpu) => `${list} ${gpu}`))).toEqual(expected);
    expect(ask(["90a-real 9 0", "90a-real 10 0", "75 12 0"])).toEqual([true, false, true]);
  });
});
