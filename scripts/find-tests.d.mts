export const NUMERIC_TESTS: readonly string[];
export const MEMORY_TESTS: readonly string[];
export function findTests(names: readonly string[]): string[];
