// Matrix products of float32 as training meets them, by every library: what the table of native/kernels/products.cc
// stands on. A row is a shape; its last column says whom the table takes.
import { addon } from "./lib/addon.mjs";
import { median } from "./lib/turns.mjs";

/** Slots of both kinds in one sample, of the paper's model. */
const SLOTS = 2;
const DIM = 512;
const ITERATIONS = 5;

/** [rows, inner, columns, which factor lies transposed, whether the right one serves several products]. */
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

export async function products({ rounds = 5, progress }) {
  const all = shapes();
  const columns = [
    "rows × inner × columns",
    "transposed",
    ...LIBRARIES.map((name) => `${name}, µs`),
    "packed, µs",
    "table",
  ];
  const rows = [];
  for (const [index, [count, inner, width, transposed, repeated]] of all.entries()) {
    const shape = { rows: count, inner, columns: width };
    const work = 2 * count * inner * width;
    const times = Math.max(3, Math.min(30, Math.round(2e9 / work)));
    const measured = new Map();
    const contenders = [...LIBRARIES.filter((name) => name !== "stream" || count <= STREAMED_ROWS), "packed"];
    for (let round = 0; round < rounds; round++) {
      for (const library of contenders) {
        const options = { ...shape, transposed, library, times: times + 1, bfloat16: false };
        const { data } = await addon.timeProducts(options);
        measured.set(library, [...(measured.get(library) ?? []), ...data.slice(1)]);
      }
    }
    const microseconds = (name) => (measured.has(name) ? (1000 * median(measured.get(name))).toFixed(0) : "");
    rows.push([
      `${count} × ${inner} × ${width}`,
      transposed,
      ...LIBRARIES.map(microseconds),
      microseconds("packed"),
      addon.libraryFor({ ...shape, repeated }),
    ]);
    progress?.(index + 1, all.length);
  }
  return { title: "matrix products, float32", table: { columns, rows }, results: rows };
}
