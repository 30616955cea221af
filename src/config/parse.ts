/** Checks a configuration against its schema, and reports every invalid field by its path. */
import * as z from "zod";
import { SoundspotError } from "../core/errors.js";

/** A whole number from `least` to `most`. */
export const count = (least: number, most: number) => z.int().min(least).max(most);
/** A number from 0 to 1. */
export const probability = z.number().min(0).max(1);

/**
 * Completes and checks a value.
 * @throws {SoundspotError} ERR_CONFIG with the path, below `root`, of every invalid field.
 */
export function parse<T extends z.ZodType>(schema: T, value: unknown, root: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.flatMap(inside).map((issue) => {
    const unknown = issue.code === "unrecognized_keys" ? `.${issue.keys.join(", ")}` : "";
    return `${[root, ...issue.path].map(String).join(".")}${unknown}: ${issue.message}`;
  });
  throw new SoundspotError("ERR_CONFIG", `The configuration is not valid. ${lines.join("; ")}.`);
}

/** Of a value that fits none of several schemas: what is wrong with it for the one that it resembles, or for all. */
function inside(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [issue];
  const branches = issue.errors.map((branch) => branch.flatMap(inside));
  const resembled = branches.find(
    (branch) => branch.length > 0 && branch.every(({ path }) => path.length > 0),
  );
  if (resembled) return resembled.map((each) => ({ ...each, path: [...issue.path, ...each.path] }));
  const messages = [...new Set(branches.flat().map(({ message }) => message))];
  return [{ ...issue, message: messages.join(" or ") || issue.message }];
}

/** The fields of a configuration by their path below `root`; those of `method` one by one. */
export function fieldsByPath(config: object, root: string): Record<string, unknown> {
  const entries = Object.entries(config).flatMap(([name, value]): [string, unknown][] =>
    name === "method"
      ? Object.entries(value as object).map(([own, each]) => [`${root}.method.${own}`, each])
      : [[`${root}.${name}`, value]],
  );
  return Object.fromEntries(entries);
}
