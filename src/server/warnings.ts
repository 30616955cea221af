/** Remarks on settings that seem to be missing: each once. */

/** Most remarks; clients can cause them. */
const MOST = 100;

export class Warnings {
  readonly #said = new Set<string>();
  readonly #say: (message: string) => void;

  constructor(say: (message: string) => void = () => undefined) {
    this.#say = say;
  }

  /** Reports a message unless one about the same was reported. */
  once(about: string, message: string): void {
    if (this.#said.size >= MOST || this.#said.has(about)) return;
    this.#said.add(about);
    this.#say(message);
  }
}
