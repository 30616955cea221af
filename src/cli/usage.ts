/** A command that reports wrong usage in the order in which it is easiest to correct. */
import { Command, Option, type ParseOptionsResult } from "commander";

/**
 * Reports an option that it does not know before one that is missing or has a wrong value: a mistyped option is often
 * the one that seems to be missing. The message suggests the nearest name.
 */
export class UsageCommand extends Command {
  override createCommand(name?: string): Command {
    return new UsageCommand(name);
  }

  override parseOptions(args: string[]): ParseOptionsResult {
    const unknown = this.#unknownOption(args);
    if (unknown === undefined) return super.parseOptions(args);
    // Without a mandatory option and without values nothing is reported but this.
    for (const option of this.options) option.makeOptionMandatory(false);
    return { operands: [], unknown: [unknown] };
  }

  /** The first option that is not known, without its value; undefined when there is none, or help is asked for. */
  #unknownOption(args: string[]): string | undefined {
    if (this.commands.length > 0) return undefined; // they may know it
    const known = new Command();
    // Without parsers of their values, which throw.
    for (const { flags } of this.options) known.addOption(new Option(flags));
    // An option at the end takes the last argument as its value.
    const { unknown } = known.parseOptions([...args, "value"]);
    const literal = unknown.indexOf("--");
    const options = literal < 0 ? unknown : unknown.slice(0, literal);
    if (options.some((each) => each === "--help" || each === "-h")) return undefined;
    return unknown[0]?.replace(/^(--[^=]+)=.*$/s, "$1");
  }
}
