// Matrix products of float32 in training, by every library: the measurements behind the table of
// native/kernels/products.cc. A row is a shape; its last column is the library that the table chooses.
import { addon } from "../scripts/addon.mjs";
import { median } from "./lib/turns.mjs";

/** Slots of both kinds in one sample, of the paper's model. */
const SLOTS = 2;
const DIM = 512;
const ITERATIONS = 5;

/** [rows, inner, columns, which factor is transposed, whether several products share the right one]. */
function shapes() {
  const list = [];
  for (const batch of [1, 2, 4, 8, 16, 24, 32, 48, 64, 256]) {
    const rows = batch * SLOTS;
    for (const [inner, columns] of [
      [DIM, DIM],
      [DIM, 3 * DIM], // the gates
      [2 * DIM, DIM], // the second layer of the MLP
    ]) {
      list.push([rows, inner, columns, "right", true]); // forward: x · Wᵀ
      list.push([rows, inner, columns, "none", true]); // backward: g · W
    }
    list.push([DIM, rows * ITERATIONS, DIM, "left", false]); // a weight's gradient: gᵀ · x
    list.push([3 * DIM, rows * ITERATIONS, DIM, "left", false]);
  }
  for (const rows of [784, 2352]) {
    // the decoders, of batches of 8 and 24 with 49 tokens of each slot
    list.push(
      [rows, DIM, DIM, "right", false],
      [rows, DIM, DIM, "none", false],
      [DIM, rows, DIM, "left", false],
    );
  }
  for (const batch of [24, 128, 256, 1024]) list.push([batch, DIM, batch, "right", false]); // similarity
  list.push([DIM, DIM, DIM, "none", false], [2048, 2048, 2048, "none", false]);
  return list;
}

const LIBRARIES = ["libtorch", "onednn", "panels", "stream"];
const STREAMED_ROWS = 4;

const title = "matrix products, float32";
const columns = [
  "rows × inner × columns",
  "transposed",
  ...LIBRARIES.map((name) => `${name}, µs`),
  "packed, µs",
  "table",
];

/** Measurements of a shape a turn: some milliseconds of work. */
const timesOf = ([rows, inner, width]) => Math.max(3, Math.min(30, Math.round(1e9 / (rows * inner * width))));

/** Microseconds of some products of a shape by one library. */
async function measure([rows, inner, width, transposed], library, times) {
  const options = { rows, inner, columns: width, transposed, library, times: times + 1, bfloat16: false };
  const { data } = await addon.timeProducts(options);
  return [...data.slice(1)].map((ms) => 1000 * ms);
}

export async function products({ rounds = 5, report }) {
  const all = shapes();
  const rows = [];
  // Times are estimated from the largest product, by arithmetic; small ones take longer than that.
  const largest = all.at(-1);
  const work = ([m, k, n]) => m * k * n;
  const pace = median(await measure(largest, "libtorch", 2)) / work(largest);
  const seconds = all.reduce(
    (sum, shape) => sum + rounds * LIBRARIES.length * timesOf(shape) * (40 + pace * work(shape)),
    0,
  );
  report.expect(seconds / 1e6, all.length);
  report.table(title, columns, [22]);
  const progress = report.step("shapes", all.length);
  for (const [index, shape] of all.entries()) {
    const [count, inner, width, transposed, repeated] = shape;
    const measured = new Map();
    for (let round = 0; round < rounds; round++) {
      for (const library of [
        ...LIBRARIES.filter((name) => name !== "stream" || count <= STREAMED_ROWS),
        "packed",
      ]) {
        const values = await measure(shape, library, timesOf(shape));
        measured.set(library, [...(measured.get(library) ?? []), ...values]);
      }
    }
    const shown = (name) => (measured.has(name) ? median(measured.get(name)).toFixed(0) : "");
    rows.push([
      `${count} × ${inner} × ${width}`,
      transposed,
      ...LIBRARIES.map(shown),
      shown("packed"),
      addon.libraryFor({ rows: count, inner, columns: width, repeated }),
    ]);
    report.row(rows.at(-1));
    progress(index + 1);
  }
  return { title, table: { columns, rows }, results: rows };
}
