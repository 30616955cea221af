/** Elements of the page by their id. */

/** @throws {Error} when the page has no such element: page and script belong together. */
export function find<T extends HTMLElement>(id: string, kind: new () => T): T {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new Error(`The page has no ${kind.name} with the id "${id}".`);
}

export const button = (id: string): HTMLButtonElement => find(id, HTMLButtonElement);
export const input = (id: string): HTMLInputElement => find(id, HTMLInputElement);
export const canvas = (id: string): HTMLCanvasElement => find(id, HTMLCanvasElement);
export const block = (id: string): HTMLElement => find(id, HTMLElement);

export function contextOf(target: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = target.getContext("2d");
  if (!context) throw new Error("The browser provides no drawing context.");
  return context;
}

/** An element with a class and text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  { className, text }: { readonly className?: string; readonly text?: string } = {},
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== undefined) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** A canvas outside the page. */
export function blank(width: number, height: number): HTMLCanvasElement {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made;
}

/** A number as text, with a true minus sign. */
export const decimal = (value: number, digits = 2): string => value.toFixed(digits).replace("-", "−");
