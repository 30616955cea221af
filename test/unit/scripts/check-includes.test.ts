/** The C++ sources include each other in one direction; what the check finds in made-up sources is what is in them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";

interface Result {
  readonly problems: readonly string[];
  readonly modules: number;
  readonly files: number;
  readonly includes: number;
  readonly between: number;
  readonly circles: readonly (readonly string[])[];
  readonly exceptions: number;
  readonly long: readonly string[];
}
type Pair = readonly [file: string, include: string];
interface Rules {
  readonly order: readonly (readonly string[])[];
  readonly knownIncludes: readonly Pair[];
  readonly knownLong: readonly string[];
}

const root = fileURLToPath(new URL("../../..", import.meta.url));
const { check, MOST_LINES } = (await import(
  pathToFileURL(join(root, "scripts", "check-includes.mjs")).href
)) as { check(root: string, rules?: Partial<Rules>): Result; MOST_LINES: number };

const folder = mkdtempSync(join(tmpdir(), "soundspot-includes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;

/** Checks a package of these files, whose order of modules is `left`, then `middle` and `beside`, then `binding`. */
function checked(files: Readonly<Record<string, string>>, rules: Partial<Rules> = {}): Result {
  const place = join(folder, String(made++));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(place, file)), { recursive: true });
    writeFileSync(join(place, file), text);
  }
  const order = [["left"], ["middle", "beside"], ["binding"]];
  return check(place, { order, knownIncludes: [], knownLong: [], ...rules });
}

const including = (...paths: string[]) => paths.map((path) => `#include "${path}"\n`).join("");

describe("the check of includes", () => {
  it("finds nothing wrong with the package", () => {
    const result = check(root);
    expect(result.problems).toEqual([]);
    expect(result.circles).toEqual([]);
    expect(result.modules).toBeGreaterThan(10);
    expect(result.includes).toBeGreaterThan(result.between);
    expect(result.between).toBeGreaterThan(50);
  });

  it("finds exactly the includes against the order, in made-up sources", () => {
    const modules = ["left", "middle", "beside", "binding"];
    const rank = { left: 0, middle: 1, beside: 1, binding: 2 } as Record<string, number>;
    // Headers include headers of a smaller number alone, so that none is part of a circle.
    const file = fc.record({
      module: fc.constantFrom(...modules),
      targets: fc.uniqueArray(fc.nat(100), { maxLength: 4 }),
    });
    fc.assert(
      fc.property(fc.array(file, { minLength: 1, maxLength: 12 }), fc.boolean(), (drawn, known) => {
        const names = drawn.map(({ module }, i) => `${module}/file${i}.h`);
        const edges = drawn.map(({ targets }, i) => [
          ...new Set(i === 0 ? [] : targets.map((target) => names[target % i] as string)),
        ]);
        const against = names.flatMap((name, i) =>
          (edges[i] as string[]).flatMap((to): Pair[] => {
            const [a, b] = [name.split("/")[0] as string, to.split("/")[0] as string];
            return a === b || (rank[b] as number) < (rank[a] as number) ? [] : [[name, to]];
          }),
        );
        const result = checked(
          Object.fromEntries(
            names.map((name, i) => [`native/${name}`, including(...(edges[i] as string[]))]),
          ),
          known ? { knownIncludes: against } : {},
        );
        expect(result.problems).toHaveLength(known ? 0 : against.length);
        for (const [from, to] of known ? [] : against) {
          expect(result.problems.join("\n")).toMatch(new RegExp(`native/${from}:\\d+ includes "${to}"`));
        }
        expect(result.exceptions).toBe(against.length);
        expect(result.files).toBe(names.length);
        expect(result.includes).toBe(edges.flat().length);
        expect(result.circles).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it("rejects a known exception that occurs no more", () => {
    const { problems } = checked(
      { "native/left/a.h": "", "native/middle/b.h": including("left/a.h") },
      { knownIncludes: [["left/a.h", "middle/b.h"]] },
    );
    expect(problems).toEqual(["left/a.h → middle/b.h occurs no more: take it from KNOWN_INCLUDES."]);
  });

  it("rejects circles, also of one header, and names their files", () => {
    const { circles, problems } = checked({
      "native/left/a.h": including("left/b.h"),
      "native/left/b.h": including("left/c.h"),
      "native/left/c.h": including("left/a.h"),
      "native/left/d.h": including("left/d.h", "left/a.h"),
    });
    expect(circles).toEqual([["left/a.h", "left/b.h", "left/c.h"], ["left/d.h"]]);
    expect(problems).toHaveLength(2);
  });

  it("lets native/binding/ and addon.cc alone include Node-API", () => {
    const { problems } = checked({
      "native/addon.cc": "#include <napi.h>\n#include <node_api.h>\n",
      "native/binding/a.cc": "#include <napi.h>\n",
      "native/left/a.cc":
        "#include <vector>\n\n  # include <napi.h>\n// #include <napi.h>\n/*\n#include <napi.h>\n*/\n",
    });
    expect(problems).toEqual([
      "native/left/a.cc:3 includes napi.h: only native/binding/ and native/addon.cc know Node-API.",
    ]);
  });

  it("keeps headers of CUDA to sources and guards that builds for the CPU leave out", () => {
    const headers = ["cuda_runtime.h", "cuda.h", "cublas_v2.h", "nccl.h", "ATen/cuda/CUDAContext.h"];
    const of = (...lines: string[]) => `${lines.join("\n")}\n`;
    const included = headers.map((header) => `#include <${header}>`);
    const order = [["left"], ["kernels"], ["distributed"], ["inference"]];
    const place = (file: string, ...lines: string[]) => checked({ [file]: of(...lines) }, { order }).problems;
    for (const file of [
      "native/kernels/cuda/a.cu",
      "native/kernels/cuda/a.cuh",
      "native/inference/cuda/a.cc",
      "native/left/cuda/a.cc",
      "native/distributed/nccl.cc",
    ]) {
      expect(place(file, ...included)).toEqual([]);
    }
    for (const file of ["native/left/a.cc", "native/kernels/cuda/a.h", "native/distributed/a.h"]) {
      expect(place(file, ...included)).toEqual(
        headers.map(
          (header, i) =>
            `${file}:${i + 1} includes ${header}, which builds for the CPU do not have: guard it by SOUNDSPOT_CUDA.`,
        ),
      );
      for (const guard of ["#ifdef SOUNDSPOT_CUDA", "#if defined(__CUDACC__)", "#ifdef SOUNDSPOT_NCCL"]) {
        expect(place(file, guard, "#if X > 1", ...included, "#endif", "#endif")).toEqual([]);
        expect(place(file, guard, "#else", ...included, "#endif")).toHaveLength(headers.length);
        expect(place(file, guard, "#endif", ...included)).toHaveLength(headers.length);
      }
      expect(place(file, "#ifndef SOUNDSPOT_CUDA", ...included, "#endif")).toHaveLength(headers.length);
      expect(place(file, "#if !defined(SOUNDSPOT_CUDA)", ...included, "#endif")).toHaveLength(headers.length);
    }
    expect(place("native/left/a.cc", "#include <cubic.h>", "#include <barracuda.h>")).toEqual([]);
  });

  it("rejects __CUDA_ARCH__ in the headers that host and GPU share", () => {
    const rules = { order: [["left"], ["kernels"]] };
    const text = "#ifdef __CUDA_ARCH__\n#endif\n";
    expect(checked({ "native/kernels/cuda/a.h": text }, rules).problems).toEqual([
      "native/kernels/cuda/a.h has __CUDA_ARCH__ in it: the host runs the same source as the GPU.",
    ]);
    expect(checked({ "native/kernels/cuda/a.cuh": text, "native/left/a.h": text }, rules).problems).toEqual(
      [],
    );
  });

  it("rejects paths that are not from native/, and folders that no entry of the order has", () => {
    const { problems } = checked({
      "native/left/a.h": "",
      "native/left/a.cc": including("a.h"),
      "native/other/b.cc": including("left/a.h"),
    });
    expect(problems).toEqual([
      "native/other is no module of ORDER.",
      'native/left/a.cc:1 includes "a.h", which is no file below native/.',
    ]);
  });

  it("rejects files of more than the most lines, unless they are known, and names of known ones that are not", () => {
    const lines = (count: number) => "\n".repeat(count);
    const { problems, long } = checked(
      {
        "native/left/a.cc": lines(MOST_LINES),
        "src/b.ts": lines(MOST_LINES + 1),
        "scripts/c.mjs": lines(MOST_LINES + 2),
        "bench/data.json": lines(MOST_LINES + 3),
        "bench/node_modules/x/d.mjs": lines(MOST_LINES + 4),
        "web/src/e.ts": lines(3),
      },
      { knownLong: ["src/b.ts", "web/src/e.ts"] },
    );
    expect(long).toEqual([`src/b.ts: ${MOST_LINES + 1} lines`, `scripts/c.mjs: ${MOST_LINES + 2} lines`]);
    expect(problems).toEqual([
      `scripts/c.mjs has ${MOST_LINES + 2} lines, more than ${MOST_LINES}.`,
      `web/src/e.ts has at most ${MOST_LINES} lines: take it from KNOWN_LONG.`,
    ]);
  });
});
