/** The packages as they are published, of this build and for this platform. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { prebuildsOfBuild, writePackages } from "../../scripts/packages.mjs";
import { packageOf } from "../../scripts/platform.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Whether there is what they are made of. */
export const canPack =
  packageOf("cpu", process.platform, process.arch) !== undefined &&
  ["dist/index.js", "dist/web", "build/Release/soundspot.node", "build/Release/libtorch.json"].every((file) =>
    existsSync(join(root, file)),
  );

export interface Packed {
  readonly name: string;
  readonly folder: string;
  readonly tarball: string;
  readonly manifest: {
    readonly version: string;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
  };
}

/** Packs all into a folder, with a stand-in for the demo model; the one that needs the others is the last. */
export function packAll(folder: string): Packed[] {
  const prebuilds = prebuildsOfBuild(join(folder, "prebuilds"));
  const demo = join(folder, "demo-model");
  const script = join(root, "scripts", "demo-model.mjs");
  execFileSync(process.execPath, [script, "--stand-in", "--output", demo], { stdio: "pipe" });
  const tarballs = join(folder, "tarballs");
  mkdirSync(tarballs, { recursive: true });
  return writePackages({ output: join(folder, "packages"), prebuilds, demo }).map(
    ({ name, folder: place }) => {
      const args = ["pack", "--ignore-scripts", "--silent", "--pack-destination", tarballs];
      const options = { cwd: place, encoding: "utf8", shell: process.platform === "win32" } as const;
      const tarball = join(tarballs, execFileSync("npm", args, options).trim());
      const manifest = JSON.parse(readFileSync(join(place, "package.json"), "utf8")) as Packed["manifest"];
      return { name, folder: place, tarball, manifest };
    },
  );
}

/** Paths in a tarball, without `package/`. */
export function filesOf(tarball: string): string[] {
  const list = execFileSync("tar", ["-tzf", tarball], { encoding: "utf8", maxBuffer: 64 << 20 });
  return list
    .split(/\r?\n/)
    .filter((path) => path !== "" && !path.endsWith("/"))
    .map((path) => path.replace(/^package\//, ""));
}
