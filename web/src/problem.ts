/** Failures, told to the reader in words. */
import { block, button } from "./dom.js";

let retry: (() => void) | undefined;

export function listenToProblems(): void {
  button("problem-close").addEventListener("click", hideProblem);
  button("problem-retry").addEventListener("click", () => {
    const again = retry;
    hideProblem();
    again?.();
  });
}

/** @param again what "Try again" does; without it there is no such button */
export function showProblem(error: unknown, again?: () => void): void {
  retry = again;
  block("problem-text").textContent =
    error instanceof Error ? error.message : "Something failed. Load the page anew.";
  button("problem-retry").hidden = again === undefined;
  block("problem").hidden = false;
}

export function hideProblem(): void {
  retry = undefined;
  block("problem").hidden = true;
}
