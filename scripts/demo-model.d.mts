export function makeDemoModel(options: {
  /** What `import("soundspot")` gives. */
  readonly api: object;
  readonly output: string;
  readonly runs?: string;
  readonly seed?: number;
  readonly attempts?: number;
  readonly standIn?: boolean;
  readonly log?: (line: string) => void;
}): Promise<void>;
