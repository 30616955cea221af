/** What the command line takes, from the commands themselves, for commands that are written and not run. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { root } from "./samples.js";

/** The program with all of its commands. */
export async function commandLine(): Promise<Command> {
  const program = new Command("soundspot").version("0");
  for (const file of readdirSync(join(root, "src", "cli", "commands"))) {
    const module = (await import(join(root, "src", "cli", "commands", file))) as {
      register?: (program: Command) => void;
    };
    module.register?.(program);
  }
  return program;
}

/** The words of every call of soundspot in a line of shell, quotes taken off. */
export function callsIn(line: string): string[][] {
  const calls: string[][] = [];
  const text = line.replace(/\\\n/g, " ");
  for (const { index } of text.matchAll(/(?<![\w/.@<-])(?<!install |rebuild )soundspot (?=[a-z-])/g)) {
    const words = text.slice(index).match(/'[^']*'|"[^"]*"|[|;&()#>`]|[^\s|;&()`]+/g) ?? [];
    const end = words.findIndex((word) => /^[|;&()#>`]/.test(word));
    calls.push(words.slice(1, end < 0 ? undefined : end).map((word) => word.replace(/^(['"])(.*)\1$/, "$2")));
  }
  return calls;
}

/**
 * What is wrong with a call: an unknown command, an unknown option or, where `whole`, an option without its value.
 */
export function wrongUsage(program: Command, [name, ...words]: readonly string[], whole = true): string[] {
  if (name === undefined || name.startsWith("-")) return [];
  const command = program.commands.find((each) => each.name() === name || each.aliases().includes(name));
  if (!command) return [`there is no command "${name}"`];
  const wrong: string[] = [];
  for (const [i, word] of words.entries()) {
    if (!/^--?[a-z]/.test(word) || word === "--help") continue;
    const [flag, value] = word.split(/=(.*)/s);
    const option = command.options.find(({ long, short }) => long === flag || short === flag);
    if (!option) wrong.push(`${name} has no option ${flag}`);
    else if (whole && option.required && value === undefined && /^(--.*)?$/.test(words[i + 1] ?? "")) {
      wrong.push(`${flag} of ${name} needs a value`);
    }
  }
  return wrong;
}
