/** Values of a form's fields. */
import { SoundspotError } from "../core/errors.js";

type Fields = ReadonlyMap<string, string>;

function wrong(name: string, expected: string, text: string): SoundspotError {
  return new SoundspotError("ERR_INPUT", `${name} must be ${expected}; it was ${JSON.stringify(text)}.`);
}

/** @throws {SoundspotError} ERR_INPUT when the field is not a number from `low` to `high`. */
export function numberIn(fields: Fields, name: string, low: number, high: number): number | undefined {
  const text = fields.get(name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== "" && value >= low && value <= high) return value;
  const range = high === Number.MAX_VALUE ? `of at least ${low}` : `from ${low} to ${high}`;
  throw wrong(name, `a number ${range}`, text);
}

/** @throws {SoundspotError} ERR_INPUT when the field is none of `values`. */
export function choice<Value extends string>(
  fields: Fields,
  name: string,
  values: readonly Value[],
): Value | undefined {
  const text = fields.get(name);
  if (text === undefined) return undefined;
  const value = values.find((each) => each === text);
  if (value === undefined) throw wrong(name, `one of ${values.join(", ")}`, text);
  return value;
}

/** Names separated by commas. @throws {SoundspotError} ERR_INPUT when one of them is none of `values`. */
export function list<Value extends string>(
  fields: Fields,
  name: string,
  values: readonly Value[],
): ReadonlySet<Value> {
  const text = fields.get(name) ?? "";
  const names = text.split(",").map((each) => each.trim());
  return new Set(
    names
      .filter((each) => each !== "")
      .map((each) => {
        const value = values.find((known) => known === each);
        if (value === undefined) throw wrong(name, `a list of ${values.join(", ")}`, each);
        return value;
      }),
  );
}
