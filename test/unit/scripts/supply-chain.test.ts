/** What is downloaded is compared with what is known of it, and the lists of what is used are up to date. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import semver from "semver";
import { afterAll, afterEach, expect, it, vi } from "vitest";

const script = (name: string) => fileURLToPath(new URL(`../../../scripts/${name}`, import.meta.url));
const { verifyArchive } = (await import(pathToFileURL(script("checksums.mjs")).href)) as {
  verifyArchive(archive: string, log: (line: string) => void): Promise<string>;
};
const folder = mkdtempSync(join(tmpdir(), "soundspot-supply-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

const content = "not LibTorch";
const sum = createHash("sha256").update(content).digest("hex");
function archive(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}
const silent = () => undefined;

it("rejects an archive of a known name with another content", async () => {
  const name = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl";
  await expect(verifyArchive(archive(name), silent)).rejects.toThrow(`${name} has SHA-256 ${sum}, expected`);
});

it("says the sum of an archive of which none is known, and holds it to LIBTORCH_SHA256", async () => {
  const path = archive("libtorch-macos-arm64-2.13.0.zip");
  const lines: string[] = [];
  expect(await verifyArchive(path, (line) => lines.push(line))).toBe(sum);
  expect(lines.join()).toContain(sum);
  vi.stubEnv("LIBTORCH_SHA256", sum.toUpperCase());
  expect(await verifyArchive(path, silent)).toBe(sum);
  vi.stubEnv(
    "LIBTORCH_SHA256",
    sum.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
  );
  await expect(verifyArchive(path, silent)).rejects.toThrow(sum);
  vi.stubEnv("LIBTORCH_SHA256", "abc");
  await expect(verifyArchive(path, silent)).rejects.toThrow("64 hexadecimal digits");
});

it("pins every package of the lockfile by its content", () => {
  const lock = JSON.parse(readFileSync(script("../package-lock.json"), "utf8")) as {
    packages: Record<string, { integrity?: string }>;
  };
  const loose = Object.entries(lock.packages).filter(
    ([path, { integrity }]) => path !== "" && !integrity?.startsWith("sha512-"),
  );
  expect(loose.map(([path]) => path)).toEqual([]);
});

it("needs no package that the oldest supported Node.js is too old for, but optional ones", () => {
  const { engines } = JSON.parse(readFileSync(script("../package.json"), "utf8")) as {
    engines: { node: string };
  };
  const oldest = semver.minVersion(engines.node)?.version ?? "";
  expect(oldest).toBe("20.17.0");
  const lock = JSON.parse(readFileSync(script("../package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string; optional?: true; engines?: { node?: string } }>;
  };
  const needed = Object.entries(lock.packages).filter(([, { optional }]) => !optional);
  const asking = needed.filter(([, each]) => each.engines?.node !== undefined);
  expect(asking.length).toBeGreaterThan(100);
  const tooNew = asking.filter(([, each]) => !semver.satisfies(oldest, each.engines?.node ?? ""));
  // npm warns of each. Where a dependency's range allows such a version, name an older one in package.json: npm uses
  // that for both, also where soundspot is a dependency itself, in which "overrides" do not count.
  expect(tooNew.map(([path, each]) => `${path} ${each.version}: ${each.engines?.node}`)).toEqual([]);
});

it("lists the licences of the lockfile's packages", () => {
  execFileSync(process.execPath, [script("licences.mjs"), "--check"]);
});

it("writes a bill of materials with LibTorch in it", () => {
  const file = join(folder, "sbom.json");
  execFileSync(process.execPath, [script("sbom.mjs"), file]);
  const bom = JSON.parse(readFileSync(file, "utf8")) as {
    bomFormat: string;
    components: { name: string; hashes?: unknown }[];
    dependencies: { ref: string; dependsOn?: string[] }[];
  };
  expect(bom.bomFormat).toBe("CycloneDX");
  const names = bom.components.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["sharp", "fastify", "libtorch"]));
  expect(names).not.toContain("vitest");
  expect(bom.dependencies.find(({ ref }) => ref.startsWith("soundspot@"))?.dependsOn).toContain(
    "libtorch@2.13.0",
  );
});
