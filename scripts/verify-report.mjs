/**
 * The report of `npm run verify:gpu`: report.json, and report.html, one file with a table for each part of a stage.
 *
 * @typedef {object} Table
 * @property {string} title
 * @property {string[]} columns
 * @property {(string | number)[][]} rows
 *
 * @typedef {object} Stage
 * @property {string} name
 * @property {"passed" | "failed" | "skipped"} status
 * @property {number} seconds
 * @property {string} [message] Why it failed or was skipped.
 * @property {Table[]} [tables]
 * @property {string} [output] The end of what it printed.
 * @property {unknown} [figures] All that it measured; only in report.json.
 *
 * @typedef {object} VerifyReport
 * @property {string} started In ISO 8601.
 * @property {Record<string, string>} machine
 * @property {Stage[]} stages
 */
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Whether no stage failed, and one at least was not skipped. @param {VerifyReport} report */
export const passed = ({ stages }) =>
  stages.some(({ status }) => status === "passed") && stages.every(({ status }) => status !== "failed");

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text) => String(text).replace(/[&<>"']/g, (each) => ESCAPES[each]);

const STYLE = `
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
  th, td { border-bottom: 1px solid #8886; padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; vertical-align: top; }
  td.number { font-variant-numeric: tabular-nums; text-align: right; }
  .failed { color: #b00020; font-weight: 600; }
  .skipped { color: #777; }
  pre { overflow-x: auto; background: #8882; padding: 0.8rem; }
  @media (prefers-color-scheme: dark) { body { background: #16181c; color: #dde; } .failed { color: #ff6b7d; } }
`;

function cell(value) {
  const kind =
    typeof value === "number" ? "number" : /^(failed|skipped)$/i.test(value) ? value.toLowerCase() : "";
  return `<td${kind ? ` class="${kind}"` : ""}>${escaped(value)}</td>`;
}

function tableHtml({ title, columns, rows }) {
  const head = columns.map((name) => `<th scope="col">${escaped(name)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map(cell).join("")}</tr>`).join("\n");
  return `<h3>${escaped(title)}</h3>\n<table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body}\n</tbody>\n</table>`;
}

function stageHtml({ name, status, seconds, message, tables = [], output }) {
  return [
    `<h2 id="${escaped(name)}">${escaped(name)}: <span class="${status}">${status}</span>, ${Math.round(seconds)} s</h2>`,
    message ? `<p class="${status}">${escaped(message)}</p>` : "",
    ...tables.map(tableHtml),
    output ? `<details><summary>Output</summary><pre>${escaped(output)}</pre></details>` : "",
  ]
    .filter(Boolean)
    .join("\n");
}

/** @param {VerifyReport} report */
export function renderHtml(report) {
  const overview = {
    title: "Stages",
    columns: ["stage", "status", "seconds"],
    rows: report.stages.map(({ name, status, seconds }) => [name, status, Math.round(seconds)]),
  };
  const machine = {
    title: "Machine",
    columns: ["what", "value"],
    rows: Object.entries(report.machine),
  };
  const title = `soundspot on a GPU: ${passed(report) ? "passed" : "failed"}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p>${escaped(report.started)}</p>
${[overview, machine].map(tableHtml).join("\n")}
${report.stages.map(stageHtml).join("\n")}
</body>
</html>
`;
}

async function put(path, text) {
  const temporary = `${path}.${process.pid}.part`;
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Writes both files into a folder, which is made where it is missing; each appears whole, in the place of an older one.
 * @param {string} folder
 * @param {VerifyReport} report
 */
export async function writeReport(folder, report) {
  await mkdir(folder, { recursive: true });
  await put(
    join(folder, "report.json"),
    `${JSON.stringify({ passed: passed(report), ...report }, null, 2)}\n`,
  );
  await put(join(folder, "report.html"), renderHtml(report));
}

const shortened = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)) : "not finite");

/** Of the program's JSON: for each of its stages a table of checks, and one of times. @returns {Table[]} */
export function programTables({ stages }) {
  return stages.flatMap(({ name, checks, timings }) => [
    ...(checks.length > 0
      ? [
          {
            title: `${name}: ${checks.length} checks`,
            columns: ["check", "outcome", "nearest to its tolerance", "error", "tolerance", "why"],
            rows: checks.map(checkRow),
          },
        ]
      : []),
    ...(timings.length > 0
      ? [
          {
            title: `${name}: milliseconds`,
            columns: ["what", "soundspot", "against", "ms", "times as long"],
            rows: timings.map(({ name: what, ms, against, againstMs, ratio }) => [
              what,
              shortened(ms),
              against,
              shortened(againstMs),
              shortened(ratio),
            ]),
          },
        ]
      : []),
  ]);
}

function checkRow({ name, passed: good, message, figures }) {
  const outcome = good ? "ok" : "failed";
  if (figures.length === 0) return [name, outcome, message ?? "", "", "", ""];
  const used = ({ error, tolerance, passed: within }) =>
    within ? (tolerance > 0 ? error / tolerance : 0) : 1 + (error ?? Infinity) / Math.max(tolerance, 1e-300);
  const worst = figures.reduce((most, each) => (used(each) > used(most) ? each : most));
  const { name: of, error, tolerance, reason } = worst;
  return [name, outcome, of, error === null ? "not finite" : shortened(error), tolerance, reason];
}

/** Of vitest's JSON. @returns {Table[]} */
export function suiteTables({ testResults }) {
  const rows = testResults.flatMap(({ assertionResults }) =>
    assertionResults.map(({ fullName, status, duration, failureMessages = [] }) => [
      fullName,
      status === "pending" || status === "skipped" ? "skipped" : status,
      Math.round(duration ?? 0),
      (failureMessages[0] ?? "").split("\n")[0],
    ]),
  );
  return [{ title: "Tests", columns: ["test", "outcome", "ms", "message"], rows }];
}
