import type { Variant } from "./locate.mjs";

export const TEST_ADDON: string;
export function compile(options: {
  quiet?: boolean;
  variant?: Variant;
  target?: "soundspot" | "soundspot_test";
}): Promise<void>;
export function isUpToDate(addon?: string): boolean;
