/** The command line reports a mistyped name first, and suggests the right one. */
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { type Command, CommanderError } from "commander";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageCommand } from "../../../src/cli/usage.js";

/** A program with all commands of `soundspot`, whose actions do nothing. */
async function programOf(written: string[] = []): Promise<Command> {
  const program: Command = new UsageCommand("soundspot").version("1.0.0").exitOverride();
  program.configureOutput({ writeErr: (text) => written.push(text), writeOut: (text) => written.push(text) });
  for (const file of readdirSync("src/cli/commands")) {
    const module = (await import(`../../../src/cli/commands/${basename(file, ".ts")}.ts`)) as {
      register(program: Command): void;
    };
    module.register(program);
  }
  for (const command of program.commands) command.action(() => undefined);
  return program;
}

async function outputOf(...args: string[]): Promise<{ readonly code: string; readonly text: string }> {
  const lines: string[] = [];
  const program = await programOf(lines);
  try {
    await program.parseAsync(["node", "soundspot", ...args]);
    return { code: "none", text: lines.join("") };
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { code: error.code, text: lines.join("") };
  }
}

const commands = (await programOf()).commands.map((command) => ({
  name: command.name(),
  longs: command.options.flatMap(({ long }) => (long?.startsWith("--no-") ? [] : (long ?? []))),
  withValue: command.options.filter(({ required }) => required).flatMap(({ long }) => long ?? []),
}));

/** A name with one letter left out, doubled, or exchanged with the next. */
const mistyped = (longs: readonly string[]) =>
  fc
    .tuple(
      fc.constantFrom(...longs.filter((each) => each.length > 5)),
      fc.nat(),
      fc.constantFrom("out", "twice", "swapped"),
    )
    .map(([long, seed, how]) => {
      const at = 2 + (seed % (long.length - 3));
      const [before, letter, next, after] = [
        long.slice(0, at),
        long.charAt(at),
        long.charAt(at + 1),
        long.slice(at + 2),
      ];
      const middle = { out: next, twice: letter + letter + next, swapped: next + letter }[how] as string;
      return before + middle + after;
    })
    .filter((typed) => !longs.includes(typed));

describe.each(commands)("soundspot $name", ({ name, longs, withValue }) => {
  it("reports an unknown option before missing ones, and suggests one", async () => {
    const values = withValue.map((long) => [long, "no valid value"]);
    await fc.assert(
      fc.asyncProperty(
        mistyped(longs),
        fc.subarray(values, { maxLength: Math.min(3, values.length) }),
        fc.subarray(values, { maxLength: Math.min(3, values.length) }),
        fc.constantFrom([], ["value"], ["=value"], ["--output"]),
        async (typed, before, after, value) => {
          const option = value[0]?.startsWith("=") ? [`${typed}${value[0]}`] : [typed, ...value];
          const { code, text } = await outputOf(name, ...before.flat(), ...option, ...after.flat());
          expect(code, text).toBe("commander.unknownOption");
          expect(text).toMatch(new RegExp(`^error: unknown option '${typed}'\n\\(Did you mean .*--`));
        },
      ),
      { numRuns: 25 },
    );
  });

  it("shows its help whatever else is given", async () => {
    for (const help of ["--help", "-h"]) {
      const { code, text } = await outputOf(name, "--not-known", help);
      expect([code, text.startsWith(`Usage: soundspot ${name}`)]).toEqual(["commander.helpDisplayed", true]);
    }
  });
});

describe("soundspot", () => {
  it("reports missing options and arguments when every option is known", async () => {
    expect(await outputOf("index")).toMatchObject({ code: "commander.missingMandatoryOptionValue" });
    expect(await outputOf("index", "--model", "m.pth", "--output", "pets.index")).toMatchObject({
      code: "commander.missingArgument",
    });
    expect(await outputOf("localize", "a.mp4", "--model")).toMatchObject({
      code: "commander.optionMissingArgument",
    });
    expect(await outputOf("localize", "a.mp4", "--model", "m", "--threshold", "2")).toMatchObject({
      code: "commander.invalidArgument",
    });
    expect(await outputOf("prepare", "--output", "data")).toMatchObject({
      code: "commander.missingArgument",
    });
  });

  it("takes values and operands that look like options", async () => {
    expect(await outputOf("localize", "a.mp4", "--model", "--odd", "--min-confidence", "-0.5")).toMatchObject(
      {
        code: "none",
      },
    );
    expect(await outputOf("localize", "--model", "m", "--", "--clip.mp4")).toMatchObject({ code: "none" });
    expect(
      await outputOf("search", "--index", "i", "--model", "m", "-k", "3", "--label", "a", "b"),
    ).toMatchObject({
      code: "none",
    });
    expect(await outputOf("search", "--index", "i", "--model", "m", "-k3")).toMatchObject({ code: "none" });
  });

  it("knows its own options and commands", async () => {
    expect(await outputOf("--verson")).toMatchObject({
      code: "commander.unknownOption",
      text: expect.stringContaining("(Did you mean --version?)"),
    });
    expect(await outputOf("localise")).toMatchObject({
      code: "commander.unknownCommand",
      text: expect.stringContaining("(Did you mean localize?)"),
    });
  });
});
