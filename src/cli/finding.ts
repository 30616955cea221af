/** What `soundspot doctor` finds. */

/** `missing`: a requirement is absent; `warning`: a feature is unavailable, or slow. */
export type Status = "ok" | "warning" | "missing";

export interface Finding {
  readonly name: "node" | "addon" | "libtorch" | "threads" | "cpu" | "gpu" | "ffmpeg";
  readonly status: Status;
  /** The finding, in one line. */
  readonly found: string;
  /** How to fix it; absent when the status is `ok`. */
  readonly fix?: string;
  /** The same as values: paths, versions, numbers. */
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
}
