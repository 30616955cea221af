/**
 * HTML pages that are complete in one file: the frame, the style, and tables. The library's reports and those of the
 * scripts are made of it. A page has no scripts and makes no requests, follows the reader's light or dark setting, fits
 * a narrow screen and prints in dark on white.
 */
import { createHash } from "node:crypto";

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Text made safe for element content and quoted attributes. @param {unknown} text */
export const escapeHtml = (text) => String(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);

/** A function that makes names unique by a number after those that it has returned before. */
export function uniqueNames() {
  const taken = new Set();
  return (name, separator = " ") => {
    let unique = name;
    for (let i = 2; taken.has(unique); i++) unique = `${name}${separator}${i}`;
    taken.add(unique);
    return unique;
  };
}

const slugOf = (title) =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-|-$/g, "") || "section";

/** So many titled sections have a list of contents. */
const LISTED = 3;

/** @param {import("./html-page.d.mts").Page} page */
export function pageHtml({ title, summary, sections }) {
  const unique = uniqueNames();
  const shown = sections
    .filter(({ html }) => html !== "")
    .map((section) => ({
      ...section,
      id: section.title === undefined ? undefined : unique(slugOf(section.title), "-"),
    }));
  const listed = shown.filter(({ id }) => id !== undefined);
  const contents = `<nav aria-label="Contents"><ul>
${listed.map(({ id, title: name }) => `<li><a href="#${escapeHtml(id)}">${escapeHtml(name)}</a></li>`).join("\n")}
</ul></nav>`;
  const body = shown.map(({ id, title: name, html }) => {
    if (id === undefined) return `<section>\n${html}\n</section>`;
    return `<section id="${escapeHtml(id)}">\n<h2>${escapeHtml(name)}</h2>\n${html}\n</section>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="soundspot">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
${summary ? `<p>${escapeHtml(summary)}</p>\n` : ""}${listed.length >= LISTED ? `${contents}\n` : ""}</header>
<main>
${body.join("\n")}
</main>
</body>
</html>
`;
}

/** A number with its interval, spread or unit of a few letters; a share of a count is one too: "3 of 4". */
const NUMBER =
  /^(?:not finite|[<>≤≥≈]?\s*[−-]?[\d.][\d.,\s%±–−×/[\]()*e+-]*(?:of \d+)?\s*[\p{L}µ]{0,4}\s*\*?)$/u;
const EMPTY = /^[–—-]?$/;

/** Whether a column reads best with its digits below one another: every cell is a number or empty. */
export function isNumeric(cells) {
  return (
    cells.some((cell) => NUMBER.test(cell)) && cells.every((cell) => NUMBER.test(cell) || EMPTY.test(cell))
  );
}

/** @param {import("./html-page.d.mts").Table} table */
export function tableHtml({ label, columns, rows, note, classOf = () => "" }) {
  const texts = rows.map((row) => columns.map((_, i) => String(row[i] ?? "")));
  const numeric = columns.map((_, i) => i > 0 && isNumeric(texts.map((row) => row[i])));
  const attribute = (...names) => {
    const given = names.filter(Boolean).join(" ");
    return given ? ` class="${given}"` : "";
  };
  const head = columns.map((column, i) =>
    // A heading without text names nothing.
    column === ""
      ? "<td></td>"
      : `<th scope="col"${attribute(numeric[i] && "number")}>${escapeHtml(column)}</th>`,
  );
  const body = texts.map(([name, ...cells]) => {
    const others = cells.map(
      (cell, i) =>
        `<td${attribute(numeric[i + 1] && "number", classOf(cell, i + 1))}>${escapeHtml(cell)}</td>`,
    );
    return `<tr><th scope="row"${attribute(classOf(name, 0))}>${escapeHtml(name)}</th>${others.join("")}</tr>`;
  });
  return `${scrollingHtml(
    label,
    `<table>
<caption class="unseen">${escapeHtml(label)}</caption>
<thead><tr>${head.join("")}</tr></thead>
<tbody>
${body.join("\n")}
</tbody>
</table>`,
  )}${note ? `\n<p class="faint">${escapeHtml(note)}</p>` : ""}`;
}

/** Content that may be wider than the page: it scrolls by itself, also by the keyboard. */
export function scrollingHtml(label, html, role = "region") {
  return `<div class="scroll" role="${role}" aria-label="${escapeHtml(label)}" tabindex="0">${html}</div>`;
}

/** Content that is shown on demand; `about` completes the summary for readers that hear it alone. */
export function detailsHtml(summary, html, about = "") {
  const more = about ? `<span class="unseen"> ${escapeHtml(about)}</span>` : "";
  return `<details><summary>${escapeHtml(summary)}${more}</summary>\n${html}\n</details>`;
}

// The colours c0 … c5 of lines have a contrast of 3 with the page at least, those of text 4.5.
const STYLE = `
:root{color-scheme:light dark;--page:#fcfcfb;--ink:#0b0b0b;--faint:#52514e;--grid:#e1e0d9;--axis:#898781;--link:#1d5fb4;--c0:#2a78d6;--c1:#d9541e;--c2:#12875d;--c3:#4a3aa7;--c4:#e34948;--c5:#a87400;--good:#1a7f37;--bad:#c4362b}
@media screen and (prefers-color-scheme:dark){:root{--page:#1a1a19;--ink:#fff;--faint:#c3c2b7;--grid:#3a3a37;--link:#7db4f5;--c0:#3987e5;--c1:#d95926;--c2:#199e70;--c3:#9085e9;--c4:#e66767;--c5:#c98500;--good:#3fb950;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:70rem;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif;-webkit-text-size-adjust:100%}
h1{font-size:1.6rem;line-height:1.2;overflow-wrap:anywhere}h2{font-size:1.2rem;line-height:1.3;margin:2.5rem 0 .6rem;overflow-wrap:anywhere}h3{font-size:1rem;font-weight:600;margin:1.4rem 0 .4rem;overflow-wrap:anywhere}
p{max-width:48rem;overflow-wrap:anywhere}header p,.faint{color:var(--faint)}.faint{font-size:.9rem}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
a{color:var(--link)}:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:3px}
nav ul{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;margin:1rem 0 0;padding:0;list-style:none;font-size:.9rem}nav a{display:inline-block;padding:.15rem 0;min-height:1.6rem}
.scroll{position:relative;overflow-x:auto}
table{border-collapse:collapse;min-width:min(100%,24rem)}
th,td{padding:.4rem .6rem;text-align:left;border-bottom:1px solid var(--grid);vertical-align:top}
th:first-child,td:first-child{padding-left:0}
thead th,thead td{vertical-align:bottom;border-bottom-color:var(--axis)}thead th{font-size:.9em;font-weight:600}
tr>:first-child{position:sticky;left:0;min-width:min(11rem,35vw);max-width:min(24rem,45vw);background:var(--page);overflow-wrap:break-word}tbody th{font-weight:500}
td{min-width:3rem;max-width:28rem;overflow-wrap:break-word}.number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}
.failed{color:var(--bad);font-weight:600}.skipped{color:var(--faint)}
.charts{display:grid;gap:1.5rem 2rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr))}
.gallery{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,13rem),1fr))}
@media(max-width:30rem){.gallery{gap:.8rem;grid-template-columns:1fr 1fr}}
.wide{display:grid;gap:1.5rem}.wide>figure{max-width:none;min-width:0}.wide img{width:auto;max-width:max(100%,44rem)}
div.grid{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr))}div.grid figcaption{font-size:.8rem}div.grid img{aspect-ratio:1;object-fit:contain}
.right{color:var(--good)}.wrong{color:var(--bad)}figure.right,figure.wrong{color:inherit}figure.right img{outline:3px solid var(--good)}figure.wrong img{outline:3px solid var(--bad)}
figure{margin:0;max-width:34rem;min-width:0}figcaption{margin-top:.3rem;font-size:.9rem;overflow-wrap:anywhere}.charts figcaption{margin:0;font-weight:600}
img{display:block;width:100%;height:auto}
figure>svg{display:block;width:100%;height:auto}svg text{font-size:13px;fill:var(--faint)}
line.grid{stroke:var(--grid)}.axis{stroke:var(--axis)}
svg path{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:butt;stroke-dasharray:var(--d)}svg circle{fill:var(--c)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.2rem 0;font-size:.85rem}.legend svg{width:1.75rem;height:.6rem;margin-right:.4rem}
.c0{--c:var(--c0);--d:none}.c1{--c:var(--c1);--d:7 3}.c2{--c:var(--c2);--d:2 2}.c3{--c:var(--c3);--d:10 3 2 3}.c4{--c:var(--c4);--d:4 4}.c5{--c:var(--c5);--d:12 4}
details{margin-top:.8rem}section>details:only-child{margin-top:2.5rem}summary{width:fit-content;min-height:1.6rem;padding:.1rem .2rem;cursor:pointer;font-weight:600}figure details{margin-top:.2rem}figure summary{font-size:.85rem;font-weight:400;color:var(--faint)}figure table{font-size:.85rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:.75rem;border:1px solid var(--grid);border-radius:3px;font-size:.85rem}
@media print{@page{margin:14mm}:root{--page:#fff}body{max-width:none;padding:0;font-size:10pt}nav{display:none}h2,h3{break-after:avoid}figure,tr{break-inside:avoid}thead{display:table-header-group}.scroll{overflow:visible}table{font-size:8pt}th,td{min-width:0;padding:.2rem .3rem}td:not(.number){min-width:5em;overflow-wrap:anywhere}tr>:first-child{position:static;min-width:5em}td.number{white-space:normal}.wide img{max-width:100%}details:not([open]){display:none}img,.legend svg{print-color-adjust:exact}}
`;

/** Of the style, for a content security policy that allows no other. */
export const styleDigest = `sha256-${createHash("sha256").update(STYLE).digest("base64")}`;
