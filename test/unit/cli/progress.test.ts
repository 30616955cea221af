/** Progress of a long job on a terminal and in a log, and of builds by the counters of their tools. */
import { spawn } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { clock, Progress, parseBuildLine } from "../../../scripts/progress.mjs";
import { zip } from "../../support/archives.mjs";

const script = (name: string) => fileURLToPath(new URL(`../../../scripts/${name}`, import.meta.url));

/** A stream that records its output with times. */
function kept(terminal: { columns: number } | undefined = undefined) {
  const written: { text: string; at: number }[] = [];
  const write = (text: string) => written.push({ text, at: performance.now() });
  return { written, stream: { write, isTTY: terminal !== undefined, ...terminal } };
}

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

describe("progress in a log", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubEnv("SOUNDSPOT_PROGRESS", "");
  });

  it("is a line every ten seconds, however often or rarely there are updates", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ steps: fc.nat(40), pause: fc.integer({ min: 1, max: 30_000 }) }), {
          minLength: 1,
          maxLength: 8,
        }),
        (stages) => {
          const { written, stream } = kept();
          const progress = new Progress({ stream });
          const started = performance.now();
          for (const [i, { steps, pause }] of stages.entries()) {
            progress.start(`stage ${i}`);
            if (steps === 0) vi.advanceTimersByTime(pause);
            for (let step = 1; step <= steps; step++) {
              vi.advanceTimersByTime(pause);
              progress.update(step, steps);
            }
          }
          const passed = performance.now() - started;
          progress.end();
          vi.advanceTimersByTime(60_000);
          expect(written.map(({ at }) => Math.round(at - started))).toEqual(
            Array.from({ length: Math.floor(passed / 10_000) }, (_, i) => 10_000 * (i + 1)),
          );
          expect(written.every(({ text }) => /^stage \d.*\n$/.test(text))).toBe(true);
        },
      ),
    );
  });

  it("gives the counter, the share, the elapsed and the remaining time, and a few words", () => {
    const { written, stream } = kept();
    const progress = new Progress({ stream, prefix: "soundspot: " });
    progress.start("training", { total: 200 });
    vi.advanceTimersByTime(10_000);
    progress.update(100, 200, "loss 1.5");
    vi.advanceTimersByTime(9000);
    progress.update(110);
    vi.advanceTimersByTime(1000);
    progress.start("unpacking", { total: 400e6, unit: "bytes" });
    progress.add(100e6);
    vi.advanceTimersByTime(10_000);
    progress.start("compiling");
    vi.advanceTimersByTime(10_000);
    progress.update(21, 100, "", "percent");
    vi.advanceTimersByTime(10_000);
    progress.end();
    expect(written.map(({ text }) => text)).toEqual([
      "soundspot: training [0/200], 0:10\n",
      // Ten steps in ten seconds since the first update: earlier steps do not count.
      "soundspot: training [110/200], 55 %, 0:20, about 1:30 left, loss 1.5\n",
      "soundspot: unpacking 100 of 400 MB, 25 %, 0:10\n",
      "soundspot: compiling, 0:10\n",
      "soundspot: compiling, 21 %, 0:20\n",
    ]);
  });

  it("has the interval of SOUNDSPOT_PROGRESS, and with 0 is off", () => {
    for (const [seconds, lines] of [
      ["2.5", 24],
      ["60", 1],
      ["0", 0],
      ["often", 6],
      ["-1", 6],
    ] as const) {
      vi.stubEnv("SOUNDSPOT_PROGRESS", seconds);
      const { written, stream } = kept();
      const progress = new Progress({ stream });
      progress.start("work");
      vi.advanceTimersByTime(60_000);
      progress.end();
      expect(written.length, seconds).toBe(lines);
    }
    vi.stubEnv("SOUNDSPOT_PROGRESS", "");
    const { written, stream } = kept();
    const progress = new Progress({ stream, enabled: false });
    progress.start("work");
    vi.advanceTimersByTime(60_000);
    expect(written).toEqual([]);
  });
});

describe("progress on a terminal", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubEnv("SOUNDSPOT_PROGRESS", "");
  });

  it("overwrites one line, at most ten times a second and once a second without updates, and never wraps", () => {
    const { written, stream } = kept({ columns: 60 });
    const progress = new Progress({ stream });
    progress.start("compiling", { total: 1000 });
    for (let step = 1; step <= 500; step++) {
      vi.advanceTimersByTime(1);
      progress.update(step, 1000, "a file with a long name ".repeat(4));
    }
    expect(written.length).toBeGreaterThan(1);
    expect(written.length).toBeLessThanOrEqual(6);
    written.length = 0;
    vi.advanceTimersByTime(10_000);
    expect(written).toHaveLength(10);
    for (const { text } of written) {
      expect(text.startsWith("\r\x1b[K█")).toBe(true);
      expect(text.replace("\r\x1b[K", "").length).toBeLessThan(60);
      expect(text).not.toContain("\n");
    }
    progress.clear();
    expect(written.at(-1)?.text).toBe("\r\x1b[K");
    progress.end();
    const { length } = written;
    vi.advanceTimersByTime(10_000);
    expect(written).toHaveLength(length);
  });
});

it("writes times as minutes and hours", () => {
  expect([0, 59_999, 60_000, 3_599_000, 3_600_000, 36_061_000].map(clock)).toEqual([
    "0:00",
    "0:59",
    "1:00",
    "59:59",
    "1:00:00",
    "10:01:01",
  ]);
});

describe("the counter of a build tool", () => {
  it("is read from lines of Ninja and of Make", () => {
    const steps = (done: number, total: number) => ({ done, total, unit: "steps" });
    const percent = (done: number) => ({ done, total: 100, unit: "percent" });
    expect(
      [
        "[12/57] Building CXX object CMakeFiles/soundspot.dir/native/addon.cc.o",
        "\r[  3/57] Linking CXX shared library Release/soundspot.node",
        "[57/57]",
        "[ 21%] Building CXX object CMakeFiles/soundspot.dir/native/addon.cc.o",
        "[100%] Built target soundspot",
      ].map(parseBuildLine),
    ).toEqual([steps(12, 57), steps(3, 57), steps(57, 57), percent(21), percent(100)]);
  });

  it("is nothing else", () => {
    for (const line of [
      "",
      "-- Configuring done (0.3s)",
      "native/addon.cc:[12/57] note",
      "[58/57] Building",
      "[0/0] Re-running CMake...",
      "[101%] Built",
      "[a/b] c",
      "info CMD BUILD",
    ]) {
      expect(parseBuildLine(line), line).toBeUndefined();
    }
  });

  it("is found in every line that begins with one", () => {
    fc.assert(
      fc.property(fc.nat(9999), fc.nat(9999), fc.string(), (a, b, rest) => {
        const [done, total] = [Math.min(a, b), Math.max(a, b, 1)];
        expect(parseBuildLine(`[${done}/${total}] ${rest}`)).toEqual({ done, total, unit: "steps" });
      }),
    );
  });
});

describe("pip's output", () => {
  it("gives the size of torch's wheel, not of its metadata", async () => {
    const { wheelSize } = (await import(pathToFileURL(script("pip.mjs")).href)) as {
      wheelSize(output: string): number;
    };
    const metadata = "  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (29 kB)\n";
    const wheel = "torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl";
    expect(wheelSize(`Collecting torch==2.13.0\n${metadata}`)).toBe(0);
    expect(wheelSize(`${metadata}  Downloading ${wheel} (190.4 MB)\n     saved`)).toBe(190_400_000);
    expect(wheelSize(`Downloading https://download.pytorch.org/whl/cpu/${wheel} (1.2 GB)`)).toBe(
      1_200_000_000,
    );
    expect(wheelSize(`  Using cached ${wheel} (190.4 MB)`)).toBe(0);
  });
});

// A shell script stands for CMake.
describe.skipIf(process.platform === "win32")("compiling", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "soundspot-progress-"));
    return () => rmSync(folder, { recursive: true, force: true });
  });

  /** Runs `compile()` with a CMake that runs `build`; `onLine` is called with its output. */
  function compileWith(build: string, onLine: (line: string) => void = () => undefined) {
    const [bin, out] = [join(folder, "bin"), join(folder, "build")];
    mkdirSync(bin);
    const cmake = `#!/bin/sh
case "$*" in
  *--version*) echo "cmake version 3.30.0" ;;
  *capabilities*) echo '{"generators":[{"name":"Ninja"},{"name":"Unix Makefiles"}]}' ;;
  *--build*) ${build} ;;
  *) echo "-- Configuring done" ;;
esac
`;
    writeFileSync(join(bin, "cmake"), cmake, { mode: 0o755 });
    const program = `
      const { compile } = await import(${JSON.stringify(pathToFileURL(script("build.mjs")).href)});
      await compile({ quiet: true, build: ${JSON.stringify(out)} });
    `;
    const path = `${bin}${delimiter}${process.env.PATH}`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      env: { ...process.env, PATH: path, SOUNDSPOT_PROGRESS: "0.1" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const lines: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      onLine(line);
    });
    return new Promise<{ code: number | null; lines: string[] }>((done) => {
      child.on("close", (code) => done({ code, lines }));
    });
  }

  it("prints the counter of a step that takes long, again and again", async () => {
    // Each step lasts until its counter has been printed three times.
    const step = (n: number) =>
      `echo "[${n}/3] Building"; while [ -d '${folder}' ] && [ ! -e '${folder}/${n}' ]; do sleep 0.05; done`;
    const printed = [0, 0, 0];
    const { code, lines } = await compileWith(`${step(1)}; ${step(2)}`, (line) => {
      const n = Number(/^compiling \[(\d)\/3\], \d+ %, 0:\d\d/.exec(line)?.[1]);
      if (n && ++(printed[n] as number) === 3) writeFileSync(join(folder, String(n)), "");
    });
    expect(code, lines.join("\n")).toBe(0);
    expect(printed.slice(1).every((count) => count >= 3)).toBe(true);
    expect(lines.filter((line) => !/^(configuring|compiling)( \[|,)/.test(line))).toEqual([]);
  });

  it("prints the compiler's errors when it fails", async () => {
    const { code, lines } = await compileWith(
      'echo "[1/3] Building a.cc"; echo "a.cc:1: error: no such type"; exit 1',
    );
    expect(code).not.toBe(0);
    expect(lines.join("\n")).toContain("The addon could not be compiled.");
    expect(lines.join("\n")).toContain("a.cc:1: error: no such type");
  });
});

// The names of libraries and archives are those of one platform.
describe.skipIf(process.platform !== "linux" || process.arch !== "x64")("getting LibTorch", () => {
  let folder: string;
  let archive: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "soundspot-progress-"));
    mkdirSync(join(folder, "scripts"));
    for (const name of readdirSync(script(".")).filter((each) => each.endsWith(".mjs"))) {
      copyFileSync(script(name), join(folder, "scripts", name));
    }
    mkdirSync(join(folder, "src")); // as in a checkout, which keeps LibTorch itself
    symlinkSync(script("../node_modules"), join(folder, "node_modules"));
    archive = join(folder, "archive.zip");
    return () => rmSync(folder, { recursive: true, force: true });
  });

  /** An archive of 3 MB with the files that a LibTorch needs. */
  const libtorch = (top: string) =>
    zip([
      [`${top}/build-version`, Buffer.from("2.13.0+cpu\n")],
      [`${top}/lib/libc10.so`, Buffer.alloc(1e6, 1)],
      [`${top}/lib/libtorch_cpu.so`, Buffer.alloc(2e6, 2)],
      [`${top}/include/ATen/ATen.h`, Buffer.from("// ATen")],
    ]);

  /** Runs libtorch.mjs; once a line has `sign`, the server that waits for the file `go` continues. */
  function getWith(fetchArchive: string, python: string, sign: string) {
    const preload = join(folder, "preload.mjs");
    writeFileSync(preload, `globalThis.fetch = ${fetchArchive};`);
    writeFileSync(join(folder, "python3"), python, { mode: 0o755 });
    const { LIBTORCH, LIBTORCH_SHA256, LIBTORCH_URL, SOUNDSPOT_HOME, SOUNDSPOT_VARIANT, ...env } =
      process.env;
    const command = ["--import", pathToFileURL(preload).href, join(folder, "scripts", "libtorch.mjs")];
    const child = spawn(process.execPath, command, {
      env: {
        ...env,
        PATH: `${folder}${delimiter}${env.PATH}`,
        SOUNDSPOT_PROGRESS: "0.1",
        // Where a LibTorch of this user lies, which would do.
        ...{ HOME: folder, LOCALAPPDATA: folder, XDG_CACHE_HOME: join(folder, "cache") },
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    createInterface({ input: child.stderr }).on("line", (line) => {
      output += `${line}\n`;
      if (line.includes(sign)) writeFileSync(join(folder, "go"), "");
    });
    return new Promise<{ code: number | null; output: string }>((done) => {
      child.on("close", (code) => done({ code, output }));
    });
  }

  it("prints how much of PyTorch's archive has arrived", async () => {
    writeFileSync(archive, libtorch("libtorch"));
    const fetchArchive = `async () => {
      const { existsSync, readFileSync } = await import("node:fs");
      const bytes = readFileSync(${JSON.stringify(archive)});
      async function* parts() {
        yield bytes.subarray(0, 1e6);
        while (!existsSync(${JSON.stringify(join(folder, "go"))})) await new Promise((go) => setTimeout(go, 20));
        yield bytes.subarray(1e6);
      }
      return new Response(ReadableStream.from(parts()), { headers: { "content-length": String(bytes.length) } });
    }`;
    const { code, output } = await getWith(fetchArchive, "#!/bin/sh\nexit 1\n", "1 of 3 MB, 33 %");
    expect(code, output).toBe(0);
    expect(output).toMatch(/^downloading LibTorch 1 of 3 MB, 33 %, 0:\d\d/m);
    expect(output).toContain(
      `LibTorch 2.13.0+cpu is in ${join(realpathSync(folder), "vendor/libtorch")} (from PyTorch).`,
    );
    expect(statSync(join(folder, "vendor/libtorch/lib/libtorch_cpu.so")).size).toBe(2e6);
  });

  it("prints how much of pip's wheel has arrived, unlike pip itself", async () => {
    writeFileSync(archive, libtorch("torch"));
    const wheel = "torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl";
    const python = `#!/bin/sh
case "$*" in *--version*) echo "pip 23.2"; exit 0 ;; esac
while [ "$1" != "--dest" ]; do shift; done
echo "  Downloading ${wheel}.metadata (29 kB)"
echo "  Downloading ${wheel} (3.0 MB)"
mkdir -p "$2" "$TMPDIR/pip-unpack-1"
head -c 1500000 '${archive}' > "$TMPDIR/pip-unpack-1/${wheel}"
while [ -d '${folder}' ] && [ ! -e '${join(folder, "go")}' ]; do sleep 0.05; done
cp '${archive}' "$2/${wheel}"
`;
    const offline = `async () => { throw new Error("no network"); }`;
    const { code, output } = await getWith(offline, python, "2 of 3 MB, 50 %");
    expect(code, output).toBe(0);
    expect(output).toContain("LibTorch from PyTorch: no network");
    expect(output).toMatch(/^downloading LibTorch 2 of 3 MB, 50 %, 0:\d\d/m);
    expect(output).toContain(
      `LibTorch 2.13.0+cpu is in ${join(realpathSync(folder), "vendor/libtorch")} (from pip).`,
    );
    expect(readdirSync(join(folder, "vendor"))).toEqual(["libtorch"]);
  });
});
