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
import { detailsHtml, escapeHtml, pageHtml, tableHtml, uniqueNames } from "./html-page.mjs";

/** Whether no stage failed, and one at least was not skipped. @param {VerifyReport} report */
export const passed = ({ stages }) =>
  stages.some(({ status }) => status === "passed") && stages.every(({ status }) => status !== "failed");

/** Of a cell that says an outcome. */
const classOf = (cell) => (/^(failed|skipped)$/i.test(cell) ? cell.toLowerCase() : "");

function stageHtml({ status, message, tables = [], output, name }, unique) {
  const shown = tables.map(
    ({ title, columns, rows }) =>
      `<h3>${escapeHtml(title)}</h3>\n${tableHtml({ label: unique(`${name}: ${title}`), columns, rows, classOf })}`,
  );
  const parts = [
    message ? `<p class="${status}">${escapeHtml(message)}</p>` : "",
    ...shown,
    output ? detailsHtml("Output", `<pre>${escapeHtml(output)}</pre>`, `of ${name}`) : "",
  ].filter(Boolean);
  return parts.length > 0 ? parts.join("\n") : `<p class="faint">It has no figures.</p>`;
}

/** @param {VerifyReport} report */
export function renderHtml(report) {
  const { machine, stages, started } = report;
  const unique = uniqueNames();
  return pageHtml({
    title: `soundspot on a GPU: ${passed(report) ? "passed" : "failed"}`,
    summary: `Started at ${started.slice(0, 16).replace("T", " ")} UTC.`,
    sections: [
      {
        title: "Stages",
        html: tableHtml({
          label: unique("Stages"),
          columns: ["stage", "status", "seconds"],
          rows: stages.map(({ name, status, seconds }) => [name, status, Math.round(seconds)]),
          classOf,
        }),
      },
      {
        title: "Machine",
        html: tableHtml({
          label: unique("Machine"),
          columns: ["what", "value"],
          rows: Object.entries(machine),
        }),
      },
      ...stages.map((stage) => ({
        title: `${stage.name}: ${stage.status}, ${Math.round(stage.seconds)} s`,
        html: stageHtml(stage, unique),
      })),
    ],
  });
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
