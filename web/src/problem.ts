/** Error messages for users. */
import { block, button } from "./dom.js";

let retry: (() => void) | undefined;
/** What had the focus when the message appeared. */
let before: Element | null = null;

export function listenToProblems(): void {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || block("problem").hidden) return;
    event.preventDefault();
    hideProblem();
  });
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
  if (block("problem").hidden) before = document.activeElement;
  block("problem").hidden = false;
}

/** The focus does not vanish with the message: it goes back to where it was. */
export function hideProblem(): void {
  retry = undefined;
  const problem = block("problem");
  const focused = problem.contains(document.activeElement);
  problem.hidden = true;
  if (focused && before instanceof HTMLElement) before.focus();
  before = null;
}
