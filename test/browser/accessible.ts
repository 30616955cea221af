/** Checks of a page in the browser. Each returns what is wrong, in words; an empty list is a page without faults. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";

export const CHROMIUM = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
export const installed = existsSync(CHROMIUM);

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface Axe {
  run(): Promise<{
    violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
    passes: { id: string }[];
  }>;
}

/** Of all rules of axe: WCAG 2.1 A and AA with contrast, and best practices. */
export async function axeFaults(page: Page): Promise<string[]> {
  // As the browser's own evaluation, which the page's policy does not bind.
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const { violations, passes } = await (window as unknown as { axe: Axe }).axe.run();
    const faults = violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 300)} ${failureSummary}`),
    );
    // A page without visible text would pass every rule.
    return passes.some(({ id }) => id === "color-contrast") ? faults : [...faults, "no contrast was checked"];
  });
}

/** The page does not scroll sideways, and no text is cut outside of regions that scroll by themselves. */
export function widthFaults(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    const faults = scrollWidth > clientWidth ? [`the page is ${scrollWidth} px wide in ${clientWidth}`] : [];
    const name = (element: Element) => `${element.outerHTML.slice(0, 120)}…`;
    for (const element of document.querySelectorAll("body *")) {
      if (element.closest("svg, .unseen, [hidden]") || !element.checkVisibility()) continue;
      const { overflowX } = getComputedStyle(element);
      const scrolls = overflowX === "auto" || overflowX === "scroll";
      if (scrolls && element.scrollWidth > element.clientWidth) {
        if (!element.matches('[tabindex="0"][aria-label], [tabindex="0"][aria-labelledby]'))
          faults.push(`scrolls without keyboard or name: ${name(element)}`);
        continue;
      }
      if (overflowX === "hidden" && element.scrollWidth > element.clientWidth + 1)
        faults.push(`is cut: ${name(element)}`);
      const around = element.parentElement?.closest(".scroll");
      const { left, right } = element.getBoundingClientRect();
      if (!around && (left < -1 || right > clientWidth + 1)) faults.push(`is out of view: ${name(element)}`);
    }
    return faults;
  });
}

/** Controls of at least 24 × 24 px; those inside of a label count with it. */
export function targetFaults(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const faults: string[] = [];
    const controls = "a[href], button, input, select, textarea, summary, audio[controls], video[controls]";
    for (const element of document.querySelectorAll(controls)) {
      if (element.closest(".unseen") || !element.checkVisibility({ opacityProperty: false })) continue;
      // A link in a sentence is as tall as its line.
      if (element.matches("p a")) continue;
      const { width, height } = (element.closest("label") ?? element).getBoundingClientRect();
      if (width < 23.99 || height < 23.99)
        faults.push(`${Math.round(width)} × ${Math.round(height)}: ${element.outerHTML.slice(0, 120)}`);
    }
    return faults;
  });
}

/** Language, title, landmarks, the order of headings, names of images, captions and scopes of tables. */
export function structureFaults(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const faults: string[] = [];
    if (document.documentElement.lang !== "en") faults.push("no language");
    if (document.title === "") faults.push("no title");
    for (const [selector, count] of [
      ["h1", 1],
      ["main", 1],
    ] as const) {
      const found = document.querySelectorAll(selector).length;
      if (found !== count) faults.push(`${found} of ${selector}`);
    }
    let level = 0;
    for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
      if (!heading.checkVisibility()) continue;
      const next = Number(heading.tagName[1]);
      if (next > level + 1) faults.push(`h${next} after h${level}: ${heading.textContent}`);
      level = next;
    }
    for (const image of document.querySelectorAll("img, [role=img]")) {
      if (!(image.getAttribute("alt") ?? image.getAttribute("aria-label"))?.trim())
        faults.push(`without text: ${image.outerHTML.slice(0, 120)}`);
    }
    for (const table of document.querySelectorAll("table")) {
      if (!table.caption?.textContent?.trim()) faults.push(`no caption: ${table.textContent?.slice(0, 80)}`);
      for (const heading of table.querySelectorAll("th")) {
        if (!heading.scope) faults.push(`no scope: ${heading.outerHTML}`);
      }
    }
    return faults;
  });
}

/** A stop of the Tab key: what it is, and whether its focus can be seen. */
export interface Stop {
  readonly name: string;
  readonly ring: boolean;
  /** Its place among all elements of the document. */
  readonly place: number;
}

/** Presses Tab from the begin of the document until the focus leaves it, or `most` times. */
export async function tabStops(page: Page, most = 500): Promise<Stop[]> {
  const stops: Stop[] = [];
  await page.evaluate(() => {
    // The focus of the body is where Tab starts from; blurring an element would leave the start at that.
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
    window.scrollTo(0, 0);
  });
  for (let i = 0; i < most; i++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body || element === document.documentElement) return undefined;
      const shown = element.matches('input[type="radio"]') ? element.nextElementSibling : element;
      const { outlineStyle, outlineWidth } = getComputedStyle(shown as Element);
      return {
        name:
          element.id || element.getAttribute("aria-label") || element.textContent?.trim() || element.tagName,
        // "auto" is the browser's own ring, which is wider than it says.
        ring: outlineStyle === "auto" || (outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2),
        place: [...document.querySelectorAll("*")].indexOf(element),
      };
    });
    if (!stop) return stops;
    // A browser without a frame around the page goes on at its begin.
    if (stop.place === stops[0]?.place) return stops;
    stops.push(stop);
  }
  throw new Error(`Tab does not leave the page after ${most} stops, the last ${stops.at(-1)?.name}.`);
}

/** Every control is reached, in the order of the document, with a visible focus. */
export async function keyboardFaults(page: Page): Promise<string[]> {
  const stops = await tabStops(page);
  const faults = stops.filter(({ ring }) => !ring).map(({ name }) => `no focus ring: ${name}`);
  stops.forEach(({ name, place }, i) => {
    const previous = stops[i - 1];
    if (previous && place < previous.place) faults.push(`${name} after ${previous.name}`);
  });
  const reached = new Set(stops.map(({ place }) => place));
  const expected = await page.evaluate(() => {
    const all = [...document.querySelectorAll("*")];
    const controls = 'a[href], button, input:not([type="radio"]), select, textarea, summary, [tabindex="0"]';
    return [...document.querySelectorAll<HTMLElement & { disabled?: boolean }>(controls)]
      .filter((each) => each.checkVisibility() && each.tabIndex >= 0 && !each.disabled)
      .map((each) => ({ place: all.indexOf(each), html: each.outerHTML.slice(0, 120) }));
  });
  if (expected.length === 0 && stops.length === 0) return ["there is nothing to reach"];
  return [
    ...faults,
    ...expected.filter(({ place }) => !reached.has(place)).map(({ html }) => `not reached: ${html}`),
  ];
}

/** Animations and transitions that run, for readers who want none. */
export function motionFaults(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    document
      .getAnimations()
      .map((animation) => `moves: ${(animation as CSSAnimation).animationName ?? "it"}`),
  );
}
