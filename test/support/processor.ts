/** What the processor that runs the tests has, and tests that need more. */
import { native } from "../../src/native.js";

export const processor = native().info().cpu;

/** Skips the running test where the processor does not multiply bfloat16; the report gives the reason. */
export function needsBfloat16({ skip }: { skip: (condition: boolean, note?: string) => void }): void {
  skip(!processor.bfloat16, "the processor does not multiply bfloat16: float32 is computed instead");
}
