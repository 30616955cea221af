import type { Variant } from "./locate.mjs";

export function openLibTorch(folder: string, variant: Variant): void;
