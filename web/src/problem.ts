/** Error messages for users. */
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

/** @param again the action of "Try again"; without it the button is hidden */
export function showProblem(error: unknown, again?: () => void): void {
  retry = again;
  block("problem-text").textContent =
    error instanceof Error ? error.message : "Something failed. Reload the page.";
  button("problem-retry").hidden = again === undefined;
  block("problem").hidden = false;
}

export function hideProblem(): void {
  retry = undefined;
  block("problem").hidden = true;
}
