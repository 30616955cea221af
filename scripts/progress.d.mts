export type ProgressUnit = "steps" | "bytes" | "percent";

export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export class Progress {
  constructor(options?: {
    readonly enabled?: boolean;
    readonly prefix?: string;
    readonly note?: () => string;
    readonly stream?: ProgressStream;
  });
  start(title: string, options?: { readonly total?: number; readonly unit?: ProgressUnit }): void;
  update(done: number, total?: number, text?: string, unit?: ProgressUnit): void;
  add(amount: number): void;
  clear(): void;
  end(): void;
}

export function clock(milliseconds: number): string;
export function parseBuildLine(
  line: string,
): { readonly done: number; readonly total: number; readonly unit: ProgressUnit } | undefined;
