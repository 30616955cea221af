/** Where LibTorch and the addon are looked for, and which variant is taken. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  buildFolders,
  chooseAddon,
  describeLibTorch,
  findAddons,
  findLibTorch,
  homeFolder,
  installPlace,
  isPrebuilt,
  librariesOf,
  recordOf,
  type Variant,
  VERSIONS,
  variantOf,
} from "../../../scripts/locate.mjs";
import { addonIn, packageOf } from "../../../scripts/platform.mjs";
import { translate } from "../../../src/native.js";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-locate-")));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let world: string;
let root: string;
let count = 0;
beforeEach(() => {
  vi.stubEnv("SOUNDSPOT_PREBUILD", "");
  world = join(folder, String(count++));
  root = join(world, "package");
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "package.json"), '{ "name": "soundspot", "version": "1.2.3" }');
  return () => vi.unstubAllEnvs();
});

/** Empty files where a LibTorch has its libraries. */
function putLibTorch(place: string, variant: Variant, version = VERSIONS[variant], include = true) {
  mkdirSync(join(place, "lib"), { recursive: true });
  for (const name of librariesOf(variant)) writeFileSync(join(place, "lib", name), "");
  writeFileSync(join(place, "build-version"), `${version}+${variant}\n`);
  if (!include) return;
  mkdirSync(join(place, "include/ATen"), { recursive: true });
  writeFileSync(join(place, "include/ATen/ATen.h"), "");
}

function putAddon(build: string, record?: object): string {
  const addon = join(build, "Release/soundspot.node");
  mkdirSync(dirname(addon), { recursive: true });
  writeFileSync(addon, "");
  if (record) writeFileSync(join(dirname(addon), "libtorch.json"), JSON.stringify(record));
  return addon;
}

/** The platform package of a variant, where npm puts it: beside the package. */
function putPackage(variant: Variant, version = "1.2.3"): string {
  const name = packageOf(variant, process.platform, process.arch) as string;
  const place = join(world, "node_modules", name);
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "package.json"), JSON.stringify({ name, version }));
  const addon = addonIn(place, name);
  mkdirSync(dirname(addon), { recursive: true });
  writeFileSync(addon, "");
  writeFileSync(
    join(dirname(addon), "libtorch.json"),
    JSON.stringify({ variant, libtorch: VERSIONS[variant] }),
  );
  return addon;
}

describe.skipIf(process.platform === "win32")("LibTorch", () => {
  const states = ["absent", "right", "another version", "no headers"] as const;
  type State = (typeof states)[number];
  const putState = (place: string, state: State, variant: Variant) => {
    // A half of it is none.
    const half = state === "absent" && place.length % 2 === 0;
    if (state === "absent" && !half) return;
    putLibTorch(
      place,
      variant,
      state === "another version" ? "2.12.0" : VERSIONS[variant],
      state !== "no headers",
    );
    if (half) rmSync(join(place, "lib", librariesOf(variant)[1] as string));
  };

  for (const variant of ["cpu", "cuda"] as const) {
    const name = `${variant}-${VERSIONS[variant]}`;
    it(`of ${variant} is the first complete one of its version, in order of the places`, () => {
      const places = (at: string) => ({
        LIBTORCH: join(at, "own"),
        vendor: join(at, "package/vendor", ...(variant === "cpu" ? [] : [name]), "libtorch"),
        cache: join(at, "cache/soundspot", name, "libtorch"),
        SOUNDSPOT_HOME: join(at, "home", name, "libtorch"),
      });
      let cases = 0;
      for (const home of [true, false]) {
        const order = [
          "LIBTORCH",
          ...(home ? (["SOUNDSPOT_HOME", "vendor"] as const) : (["vendor", "cache"] as const)),
        ] as const;
        for (let code = 0; code < states.length ** 3; code++) {
          const at = join(world, `${variant}-${home}-${code}`);
          const of = (i: number) => states[Math.floor(code / states.length ** i) % states.length] as State;
          order.forEach((source, i) => {
            putState(places(at)[source], of(i), variant);
          });
          const env = {
            LIBTORCH: join(at, "own"),
            XDG_CACHE_HOME: join(at, "cache"),
            ...(home ? { SOUNDSPOT_HOME: join(at, "home") } : {}),
          };
          // On macOS the cache folder is that of the system.
          if (process.platform === "darwin" && !home) continue;
          const first = (...good: State[]) => order.find((_, i) => good.includes(of(i)));
          const options = { root: join(at, "package"), variant, env };
          mkdirSync(options.root, { recursive: true });
          expect(findLibTorch(options)?.source, `${at} ${order.map((_, i) => of(i))}`).toBe(
            first("right", "no headers"),
          );
          expect(findLibTorch({ ...options, include: true })?.source).toBe(first("right"));
          expect(findLibTorch({ ...options, version: "2.12.0" })?.source).toBe(
            // Another version has a folder of another name, but in vendor/ of the variant cpu and in $LIBTORCH.
            order.find(
              (source, i) =>
                of(i) === "another version" &&
                (source === "LIBTORCH" || (source === "vendor" && variant === "cpu")),
            ),
          );
          const found = findLibTorch(options);
          if (found) expect(found.folder).toBe(places(at)[found.source]);
          cases++;
        }
      }
      expect(cases).toBeGreaterThan(100);
    });
  }

  it("is installed to SOUNDSPOT_HOME, else to vendor/ of a checkout, else to the cache of the user", () => {
    const env = { XDG_CACHE_HOME: "/cache" };
    const cache =
      process.platform === "darwin" ? join(homedir(), "Library/Caches/soundspot") : "/cache/soundspot";
    expect(installPlace({ root, variant: "cuda", env })).toEqual({
      base: cache,
      folder: join(cache, `cuda-${VERSIONS.cuda}/libtorch`),
    });
    expect(installPlace({ root, variant: "cuda", version: "2.11.0+cu130", env }).folder).toBe(
      join(cache, "cuda-2.11.0/libtorch"),
    );
    mkdirSync(join(root, "src"));
    expect(installPlace({ root, variant: "cpu", env })).toEqual({
      base: join(root, "vendor"),
      folder: join(root, "vendor/libtorch"),
    });
    expect(installPlace({ root, variant: "cuda", env }).folder).toBe(
      join(root, `vendor/cuda-${VERSIONS.cuda}/libtorch`),
    );
    expect(installPlace({ root, variant: "cpu", env: { ...env, SOUNDSPOT_HOME: "/home/x" } }).folder).toBe(
      `/home/x/cpu-${VERSIONS.cpu}/libtorch`,
    );
    if (process.platform === "linux") {
      for (const cache of ["", "relative"]) {
        expect(homeFolder({ XDG_CACHE_HOME: cache })).toBe(join(homedir(), ".cache/soundspot"));
      }
    }
  });

  it("is described by its real folder, its version and what it has", () => {
    putLibTorch(join(world, "own"), "cuda", "2.11.0");
    symlinkSync(join(world, "own"), join(world, "link"));
    expect(describeLibTorch(join(world, "link"), "cpu")).toEqual({
      folder: join(world, "own"),
      version: "2.11.0+cuda",
      include: true,
      cuda: process.platform !== "darwin",
      linked: true,
    });
    rmSync(join(world, "own/build-version"));
    writeFileSync(join(world, "own/version.py"), "__version__ = '2.11.0+cu130'\ndebug = False\n");
    expect(describeLibTorch(join(world, "own"), "cuda")?.version).toBe("2.11.0+cu130");
  });
});

describe("the variant", () => {
  const env = () => ({ SOUNDSPOT_HOME: join(world, "home") });
  const install = (variant: Variant, version = VERSIONS[variant]) => {
    const [build] = buildFolders(root, variant, env()) as [string];
    putLibTorch(join(world, "home", `${variant}-${version}`, "libtorch"), variant, version);
    return putAddon(build, { variant, libtorch: `${version}+x` });
  };
  const choose = (more: object, driver: boolean) =>
    chooseAddon({ root, env: { ...env(), ...more }, driver: () => driver });

  it("is the one of the environment, installed or not", () => {
    const cpu = install("cpu");
    expect(choose({ SOUNDSPOT_VARIANT: "cpu" }, true)).toMatchObject({ variant: "cpu", addon: cpu });
    expect(choose({ SOUNDSPOT_VARIANT: "cuda" }, false)).toMatchObject({ variant: "cuda", addon: undefined });
    const cuda = install("cuda");
    expect(choose({ SOUNDSPOT_VARIANT: "cuda" }, false)).toMatchObject({ variant: "cuda", addon: cuda });
    expect(variantOf({ SOUNDSPOT_VARIANT: "" })).toBeUndefined();
    expect(() => choose({ SOUNDSPOT_VARIANT: "rocm" }, true)).toThrow(
      /SOUNDSPOT_VARIANT is "rocm".*cpu or cuda/,
    );
  });

  it("is otherwise cuda where that is installed and a driver is there, and cpu by default", () => {
    expect(choose({}, true)).toMatchObject({ variant: "cpu", addon: undefined, version: VERSIONS.cpu });
    const cpu = install("cpu");
    expect(choose({}, true)).toMatchObject({ variant: "cpu", addon: cpu });
    const cuda = install("cuda", "2.11.0");
    expect(choose({}, true)).toMatchObject({ variant: "cuda", addon: cuda, version: "2.11.0+x" });
    expect(choose({}, false)).toMatchObject({ variant: "cpu", addon: cpu });
    rmSync(cpu);
    expect(choose({}, false)).toMatchObject({ variant: "cuda", addon: cuda });
    install("cpu");
    rmSync(join(world, "home/cuda-2.11.0"), { recursive: true });
    expect(choose({}, true), "without its LibTorch").toMatchObject({ variant: "cpu", addon: cpu });
  });

  it("of an addon outside the package is found, and an old addon is one for the CPU", () => {
    const [own, outside] = buildFolders(root, "cuda", env()) as [string, string];
    expect(own).toBe(join(root, "build/cuda"));
    const addon = putAddon(outside, { variant: "cuda", libtorch: "2.14.1" });
    expect(choose({ SOUNDSPOT_VARIANT: "cuda" }, false).addon).toBe(addon);
    expect(recordOf(putAddon(join(world, "old")))).toEqual({ variant: "cpu", version: VERSIONS.cpu });
  });
});

// Names of packages are those of this platform.
describe.skipIf(packageOf("cpu") === undefined)("the addon (skipped where no platform package is)", () => {
  const env = () => ({ SOUNDSPOT_HOME: join(world, "home") });
  const putPrebuild = () => {
    const addon = join(root, "prebuilds", `${process.platform}-${process.arch}`, "soundspot.node");
    mkdirSync(dirname(addon), { recursive: true });
    writeFileSync(addon, "");
    return addon;
  };

  it("is one that was compiled here, else the platform package's, else that in prebuilds/, of every subset", () => {
    const [own, outside] = buildFolders(root, "cpu", env()) as [string, string];
    const put = [() => putAddon(own), () => putAddon(outside), () => putPackage("cpu"), putPrebuild];
    for (let subset = 0; subset < 2 ** put.length; subset++) {
      for (const each of [join(world, "node_modules"), join(world, "home"), join(root, "build")])
        rmSync(each, { recursive: true, force: true });
      rmSync(join(root, "prebuilds"), { recursive: true, force: true });
      const files = put.filter((_, i) => subset & (2 ** i)).map((make) => make());
      // Of a folder that has both, node-gyp-build takes build/.
      const both = (subset & 1) === 1 && (subset & 8) === 8;
      expect(findAddons({ root, env: env() }), String(subset)).toEqual(both ? files.slice(0, -1) : files);
      expect(chooseAddon({ root, env: env() }).addon).toBe(files[0]);
      expect(files.filter((file) => isPrebuilt(root, file))).toEqual(
        files.filter((file) => !/Release/.test(file)),
      );
    }
  });

  it("of a platform package of another version is not taken", () => {
    putPackage("cpu", "1.2.4");
    expect(findAddons({ root, env: env() })).toEqual([]);
    const right = putPackage("cpu");
    expect(findAddons({ root, env: env() })).toEqual([right]);
  });

  it("is one whose LibTorch is there, before one that was compiled for another", () => {
    const [own] = buildFolders(root, "cpu", env()) as [string];
    const compiled = putAddon(own, { variant: "cpu", libtorch: "2.11.0" });
    const packaged = putPackage("cpu");
    expect(chooseAddon({ root, env: env() })).toMatchObject({ addon: compiled, version: "2.11.0" });
    putLibTorch(join(world, `home/cpu-${VERSIONS.cpu}/libtorch`), "cpu");
    expect(chooseAddon({ root, env: env() })).toMatchObject({ addon: packaged, version: VERSIONS.cpu });
    putLibTorch(join(world, "home/cpu-2.11.0/libtorch"), "cpu", "2.11.0");
    expect(chooseAddon({ root, env: env() })).toMatchObject({ addon: compiled, version: "2.11.0" });
  });

  it.skipIf(packageOf("cuda") === undefined)("for GPUs is that of its own package", () => {
    putPackage("cpu");
    const cuda = putPackage("cuda");
    expect(findAddons({ root, variant: "cuda", env: env() })).toEqual([cuda]);
    expect(chooseAddon({ root, env: { ...env(), SOUNDSPOT_VARIANT: "cuda" } })).toMatchObject({
      variant: "cuda",
      addon: cuda,
      version: VERSIONS.cuda,
    });
  });
});

it("names the batch for which memory does not suffice", () => {
  const native = Object.assign(new Error("The GPU's memory does not suffice. Use a smaller batch."), {
    code: "ERR_OUT_OF_MEMORY",
  });
  const samples = [1, 2, 3];
  expect(translate(native, "localize", [{}, samples])).toMatchObject({
    code: "ERR_OUT_OF_MEMORY",
    message: "The GPU's memory does not suffice for a batch of 3. Use a smaller batch.",
  });
  for (const [name, values] of [
    ["setParameters", [{}, samples]],
    ["createModel", [{}, 3, "cuda"]],
    ["step", []],
  ] as const) {
    expect(translate(native, name, values).message).toBe(native.message);
  }
  const other = Object.assign(new Error("This does not suffice."), { code: "ERR_SHAPE" });
  expect(translate(other, "localize", [{}, samples]).message).toBe(other.message);
});
