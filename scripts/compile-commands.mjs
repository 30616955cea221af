/**
 * Compile commands for tools that are built on clang (clangd, clang-tidy), from those that CMake writes for the compiler
 * in use. The precompiled header of GCC becomes the header itself, flags unknown to clang are removed, and a kernel that
 * is compiled once for each instruction set appears once.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

/** Flags of GCC that clang warns of or does not need to parse. OpenMP's header comes with each compiler. */
const DROPPED = new Set([
  "-Winvalid-pch",
  "-Wno-maybe-uninitialized",
  "-fopenmp",
  "-fno-fat-lto-objects",
  "-Wno-psabi",
]);

/**
 * @param {{ directory: string, file: string, command: string }[]} commands As CMake writes them.
 * @param {string} root Folder of the package.
 * @returns {{ directory: string, file: string, arguments: string[] }[]} One entry a file, in order of their names. Of
 *   several the one of AVX2 is kept, which every current x86 processor has, or else the last.
 */
export function forClang(commands, root) {
  const header = join(root, "native", "core", "torch.h");
  const byFile = new Map();
  for (const { directory, file, command } of commands) {
    const parts = command
      .trim()
      .split(/\s+/)
      .map((part) => part.replaceAll('\\"', '"'));
    const args = [];
    for (let at = 0; at < parts.length; at++) {
      const part = parts[at];
      if (DROPPED.has(part) || part.startsWith("-ffile-prefix-map=")) continue;
      if (part === "-include" && parts[at + 1]?.endsWith("cmake_pch.hxx")) {
        args.push("-include", header);
        at++;
      } else args.push(part);
    }
    const kept = byFile.get(file);
    if (!kept?.arguments.includes("-mavx2")) byFile.set(file, { directory, file, arguments: args });
  }
  return [...byFile.values()]
    .filter(({ file }) => !relative(root, file).startsWith("build"))
    .sort((a, b) => (a.file < b.file ? -1 : 1));
}

/**
 * Writes build/clang/compile_commands.json from the commands of a build; .clangd names that folder.
 *
 * @param {string} build Folder that CMake built in. Without commands there (Visual Studio) nothing is written.
 * @param {string} root Folder of the package.
 */
export function writeCompileCommands(build, root) {
  const source = join(build, "compile_commands.json");
  if (!existsSync(source)) return;
  const folder = join(root, "build", "clang");
  mkdirSync(folder, { recursive: true });
  const commands = forClang(JSON.parse(readFileSync(source, "utf8")), root);
  writeFileSync(join(folder, "compile_commands.json"), `${JSON.stringify(commands, null, 1)}\n`);
}
