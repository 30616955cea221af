/** The compile commands for clang are those of the build, without what only GCC understands. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, expect, it } from "vitest";

interface Command {
  readonly directory: string;
  readonly file: string;
  readonly arguments: readonly string[];
}
const path = fileURLToPath(new URL("../../../scripts/compile-commands.mjs", import.meta.url));
const { forClang, writeCompileCommands } = (await import(pathToFileURL(path).href)) as {
  forClang(commands: readonly object[], root: string): Command[];
  writeCompileCommands(build: string, root: string): void;
};

const root = mkdtempSync(join(tmpdir(), "soundspot-commands-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const build = join(root, "build");
const entry = (file: string, flags: string) => ({
  directory: build,
  file: join(root, file),
  command: `/usr/bin/c++ ${flags} -o x.o -c ${join(root, file)}`,
});
const pch = join(build, "CMakeFiles", "soundspot.dir", "cmake_pch.hxx");
const commands = [
  entry(
    "native/training/step.cc",
    `-DA=\\"b\\" -fopenmp -Winvalid-pch -include ${pch} -ffile-prefix-map=x=. -Wall`,
  ),
  entry("native/kernels/cpu/slots.cc", "-DCPU_CAPABILITY=DEFAULT"),
  entry("native/kernels/cpu/slots.cc", "-DCPU_CAPABILITY=AVX2 -mavx2"),
  entry("native/kernels/cpu/slots.cc", "-DCPU_CAPABILITY=AVX512 -mavx512f"),
  entry("build/CMakeFiles/soundspot.dir/cmake_pch.hxx.cxx", ""),
];

it("gives each source once, with the header in place of the precompiled one", () => {
  const end = (file: string) => ["-o", "x.o", "-c", join(root, file)];
  expect(forClang(commands, root)).toEqual([
    {
      directory: build,
      file: join(root, "native/kernels/cpu/slots.cc"),
      arguments: ["/usr/bin/c++", "-DCPU_CAPABILITY=AVX2", "-mavx2", ...end("native/kernels/cpu/slots.cc")],
    },
    {
      directory: build,
      file: join(root, "native/training/step.cc"),
      arguments: [
        "/usr/bin/c++",
        '-DA="b"',
        "-include",
        join(root, "native", "core", "torch.h"),
        "-Wall",
        ...end("native/training/step.cc"),
      ],
    },
  ]);
});

it("keeps the last of several entries where none is that of AVX2", () => {
  const [kept] = forClang([commands[1], commands[3]] as object[], root);
  expect(kept?.arguments).toContain("-mavx512f");
});

it("writes them below build/clang, and nothing where the build has none", () => {
  writeCompileCommands(build, root);
  expect(existsSync(build)).toBe(false);
  mkdirSync(build);
  writeFileSync(join(build, "compile_commands.json"), JSON.stringify(commands));
  writeCompileCommands(build, root);
  const written = readFileSync(join(build, "clang", "compile_commands.json"), "utf8");
  expect(JSON.parse(written)).toEqual(forClang(commands, root));
});
