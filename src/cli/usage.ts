/** A command that reports the most helpful usage error first. */
import { Command, Option, type ParseOptionsResult } from "commander";

/**
 * Reports an unknown option before a missing or invalid one: a mistyped option is often the one that seems to be
 * missing. The message suggests the nearest name.
 */
export class UsageCommand extends Command {
  override createCommand(name?: string): Command {
    return new UsageCommand(name);
  }

  override parseOptions(args: string[]): ParseOptionsResult {
    const unknown = this.#unknownOption(args);
    if (unknown === undefined) return super.parseOptions(args);
    // Without mandatory options and values, only the unknown option is reported.
    for (const option of this.options) option.makeOptionMandatory(false);
    return { operands: [], unknown: [unknown] };
  }

  /** The first unknown option, without its value; undefined without one, or with --help. */
  #unknownOption(args: string[]): string | undefined {
    if (this.commands.length > 0) return undefined; // they may know it
    const known = new Command();
    // Parsers of their values are left out, because they throw.
    for (const { flags } of this.options) known.addOption(new Option(flags));
    // An option at the end takes the last argument as its value.
    const { unknown } = known.parseOptions([...args, "value"]);
    const literal = unknown.indexOf("--");
    const options = literal < 0 ? unknown : unknown.slice(0, literal);
    if (options.some((each) => each === "--help" || each === "-h")) return undefined;
    return unknown[0]?.replace(/^(--[^=]+)=.*$/s, "$1");
  }
}
