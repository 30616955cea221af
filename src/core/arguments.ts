/** Checks of public calls' arguments: a wrong type is rejected before use, and the error names the argument. */

import { types } from "node:util";
import { type ErrorCode, SoundspotError } from "./errors.js";

/** Whether a value fits, and the name of the expected type. */
export type Check = readonly [fits: (value: unknown) => boolean, wanted: string];

export const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

/** Whether a value is a Uint8Array or a Buffer, of any realm: code run by Jest or `vm` has its own classes. */
export function isBytes(value: unknown): value is Uint8Array {
  return types.isUint8Array(value);
}

/** The same memory as a Uint8Array of this realm, which sharp requires. */
export function ownBytes({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The same for a Float32Array. */
export function isFloats(value: unknown): value is Float32Array {
  return types.isFloat32Array(value);
}

export const anObject: Check = [isObject, "an object"];
export const aList: Check = [Array.isArray, "a list"];
export const aFunction: Check = [(value) => typeof value === "function", "a function"];
export const aText: Check = [(value) => typeof value === "string", "a text"];
export const aFlag: Check = [(value) => typeof value === "boolean", "true or false"];
export const aPath: Check = [(value) => typeof value === "string" && !value.includes("\0"), "a path"];
// Checked by its methods: a signal of another realm or of a polyfill is accepted.
export const aSignal: Check = [
  (value) =>
    isObject(value) &&
    typeof (value as AbortSignal).aborted === "boolean" &&
    typeof (value as AbortSignal).addEventListener === "function" &&
    typeof (value as AbortSignal).removeEventListener === "function",
  "an AbortSignal",
];
export const aCount: Check = [
  (value) => Number.isSafeInteger(value) && (value as number) >= 1,
  "an integer of at least 1",
];
export const aShare: Check = [
  (value) => typeof value === "number" && value >= 0 && value <= 1,
  "a number from 0 to 1",
];
export const anInteger: Check = [Number.isSafeInteger, "an integer"];

/** One of these values. */
export function oneOf(...values: readonly string[]): Check {
  return [(value) => (values as readonly unknown[]).includes(value), `one of ${values.join(", ")}`];
}

/** A value with these methods. */
export function having(wanted: string, ...methods: readonly string[]): Check {
  const has = (value: object) =>
    methods.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
  return [(value) => isObject(value) && has(value), wanted];
}

/** @throws {SoundspotError} ERR_INPUT, or another code, when the value does not fit. */
export function check(
  value: unknown,
  [fits, wanted]: Check,
  name: string,
  code: ErrorCode = "ERR_INPUT",
): void {
  if (!fits(value)) throw new SoundspotError(code, `${name} must be ${wanted}, got ${shown(value)}.`);
}

/**
 * Checks an object and those of its fields that are not undefined.
 * @throws {SoundspotError} ERR_INPUT, or another code, with the name of the first field that does not fit.
 */
export function checkFields(
  value: unknown,
  fields: Readonly<Record<string, Check>>,
  name = "The options",
  code: ErrorCode = "ERR_INPUT",
): void {
  check(value, anObject, name, code);
  for (const [field, own] of Object.entries(fields)) {
    const given = (value as Record<string, unknown>)[field];
    if (given !== undefined) check(given, own, field, code);
  }
}

/** Kind of a value, for a message. Never fails. */
export function kindOf(value: unknown): string {
  if (!isObject(value)) return value === null ? "null" : typeof value;
  const name: unknown = value.constructor?.name;
  return typeof name === "string" ? name : "object";
}

/** A primitive value as text, or the kind of an object, for a message. */
export function shown(value: unknown): string {
  return isObject(value) || typeof value === "function" ? kindOf(value) : String(value);
}

/** @internal @throws {SoundspotError} ERR_INPUT when an option is not a number from `low` to `high`. */
export function inRange(value: number, low: number, high: number, name: string): number {
  if (typeof value === "number" && value >= low && value <= high) return value;
  throw new SoundspotError(
    "ERR_INPUT",
    `${name} must be a number from ${low} to ${high}; it was ${shown(value)}.`,
  );
}
