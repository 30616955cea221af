#!/usr/bin/env node
/**
 * Writes the packages to publish, each in a folder: `soundspot`, those of the platforms in prebuilds/, and the demo model
 * in demo-model/. It gets the others as optional dependencies of its own version. The manifests are made of package.json,
 * which names none of them: a checkout installs without any.
 *
 *   node scripts/packages.mjs [--output dist-packages] [--repository https://github.com/owner/name] [--complete]
 *
 *   --repository   for `repository`, `homepage` and `bugs`, which are left out without one. Default: that of the workflow
 *                  which runs this, $GITHUB_SERVER_URL/$GITHUB_REPOSITORY
 *   --publish      fail: the script of `npm publish` in a checkout
 *   --complete     fail where a platform for the CPU, the demo model or the repository is missing, or the model is too
 *                  weak: a release has all
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { copyDemoModel, DEMO_MODEL } from "./demo-package.mjs";
import { ADDON_FILE, addonIn, PLATFORMS, SCOPE } from "./platform.mjs";

const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Stands in package.json for the address of the repository. */
export const PLACEHOLDER = "https://github.com/OWNER/REPOSITORY";

const SYSTEMS = { linux: "Linux", darwin: "macOS", win32: "Windows" };

/** The fields that name the repository, or none of them. */
function addresses({ repository, homepage, bugs }, url) {
  if (!url) return {};
  const text = JSON.stringify({ repository, homepage, bugs });
  if (!text.includes(PLACEHOLDER)) throw new Error(`package.json lacks ${PLACEHOLDER}, to be replaced.`);
  return JSON.parse(text.replaceAll(PLACEHOLDER, url));
}

/**
 * The manifest of `soundspot`.
 *
 * @param {object} manifest package.json of the checkout.
 * @param {object} options
 * @param {string} [options.repository] Address of the repository.
 * @param {readonly string[]} options.optional Names of the packages of this release to depend on.
 */
export function mainManifest(manifest, { repository, optional }) {
  const { devDependencies, allowScripts, scripts, files, repository: _, homepage, bugs, ...rest } = manifest;
  return {
    ...rest,
    ...addresses(manifest, repository),
    files: files.filter((name) => name !== "prebuilds"),
    scripts: { install: scripts.install },
    optionalDependencies: {
      ...rest.optionalDependencies,
      ...Object.fromEntries(optional.map((name) => [name, manifest.version])),
    },
  };
}

/**
 * The manifest of a platform package.
 *
 * @param {object} manifest package.json of the checkout.
 * @param {import("./platform.mjs").PlatformPackage} platform
 * @param {{ repository?: string }} options
 */
export function platformManifest(manifest, { name, folder, platform, arch, variant, libc }, { repository }) {
  const gpus = variant === "cuda" ? " with NVIDIA GPUs" : "";
  return {
    name,
    version: manifest.version,
    description: `The addon of ${manifest.name}, prebuilt for ${SYSTEMS[platform]} on ${arch}${gpus}.`,
    license: manifest.license,
    ...addresses(manifest, repository),
    engines: manifest.engines,
    os: [platform],
    cpu: [arch],
    ...(libc ? { libc: [libc] } : {}),
    type: "commonjs",
    main: `./prebuilds/${folder}/${ADDON_FILE}`,
    files: ["prebuilds"],
    // Of Yarn: a shared library cannot be opened in an archive.
    preferUnplugged: true,
    publishConfig: { access: "public" },
  };
}

const readme = ({ name, description }, main) => `# ${name}

${description} The package \`${main}\` installs it; by itself it is of no use.
`;

/** Paths that npm packs by `files` of package.json. */
function packedFiles() {
  const args = ["pack", "--dry-run", "--json", "--ignore-scripts"];
  const options = {
    cwd: PACKAGE,
    encoding: "utf8",
    maxBuffer: 64 << 20,
    shell: process.platform === "win32",
  };
  const [{ files }] = JSON.parse(
    execFileSync("npm", args, { ...options, stdio: ["ignore", "pipe", "inherit"] }),
  );
  return files.map(({ path }) => path);
}

const writeJson = (file, value) => writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);

/** The addon of a platform in a folder of prebuilds/, whatever its tags; undefined without one. */
function prebuiltIn(folder) {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".node")) : [];
  if (names.length > 1) throw new Error(`${folder} has more than one addon: ${names.join(", ")}.`);
  return names[0] && join(folder, names[0]);
}

/**
 * Writes the addon in build/ as the prebuilt one of this platform, for packages that are only tried.
 *
 * @param {string} prebuilds
 * @returns {string} The same folder.
 */
export function prebuildsOfBuild(prebuilds) {
  const target = join(prebuilds, `${process.platform}-${process.arch}`);
  mkdirSync(target, { recursive: true });
  for (const name of [ADDON_FILE, "libtorch.json"]) {
    copyFileSync(join(PACKAGE, "build", "Release", name), join(target, name));
  }
  return prebuilds;
}

/**
 * @param {object} options
 * @param {string} options.output Folder, which is emptied.
 * @param {string} [options.prebuilds] Folder with a folder for each platform.
 * @param {string} [options.demo] Folder of the demo model, where there is one.
 * @param {string} [options.repository]
 * @param {boolean} [options.complete]
 * @returns {{ name: string, folder: string }[]} The packages, in the order to publish them: that which needs the others
 *   last.
 * @throws {Error} that says what is missing.
 */
export function writePackages({
  output,
  prebuilds = join(PACKAGE, "prebuilds"),
  demo = join(PACKAGE, "demo-model"),
  repository,
  complete = false,
}) {
  const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  const found = PLATFORMS.map((platform) => ({
    platform,
    addon: prebuiltIn(join(prebuilds, platform.folder)),
  }));
  const there = found.filter(({ addon }) => addon !== undefined);
  const needed = found.filter(({ addon, platform }) => addon === undefined && platform.variant === "cpu");
  if (complete && needed.length > 0) {
    const names = needed.map(({ platform }) => platform.folder);
    throw new Error(`prebuilds/ lacks ${names.join(", ")}: run \`npm run prebuild\` on each platform.`);
  }
  if (complete && !existsSync(demo)) throw new Error(`${demo} is missing: run \`npm run demo-model\`.`);
  if (complete && !repository)
    throw new Error("The address of the repository is missing: give --repository.");
  if (!existsSync(join(PACKAGE, "dist", "index.js")))
    throw new Error("dist/ is missing: run `npm run prepare`.");

  rmSync(output, { recursive: true, force: true });
  const packages = there.map(({ platform, addon }) => {
    const folder = join(output, platform.folder);
    const target = addonIn(folder, platform.name);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(addon, target);
    copyFileSync(join(dirname(addon), "libtorch.json"), join(dirname(target), "libtorch.json"));
    const own = platformManifest(manifest, platform, { repository });
    writeJson(join(folder, "package.json"), own);
    writeFileSync(join(folder, "README.md"), readme(own, manifest.name));
    copyFileSync(join(PACKAGE, "LICENSE"), join(folder, "LICENSE"));
    return { name: platform.name, folder };
  });
  if (existsSync(demo)) {
    const folder = join(output, DEMO_MODEL.slice(SCOPE.length));
    copyDemoModel(demo, folder, { manifest, addresses: addresses(manifest, repository), complete });
    packages.push({ name: DEMO_MODEL, folder });
  }

  const main = join(output, manifest.name);
  for (const path of packedFiles().filter((each) => !each.startsWith("prebuilds/"))) {
    mkdirSync(dirname(join(main, path)), { recursive: true });
    copyFileSync(join(PACKAGE, path), join(main, path));
  }
  const notOptional = PLATFORMS.filter(({ variant }) => variant === "cuda").map(({ name }) => name);
  const optional = packages.map(({ name }) => name).filter((name) => !notOptional.includes(name));
  writeJson(join(main, "package.json"), mainManifest(manifest, { repository, optional }));
  return [...packages, { name: manifest.name, folder: main }];
}

/** Address of the repository whose workflow runs this. */
function ofWorkflow({ GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name } = process.env) {
  return server && name ? `${server}/${name}` : undefined;
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    const { values } = parseArgs({
      options: {
        output: { type: "string", default: join(PACKAGE, "dist-packages") },
        repository: { type: "string", default: ofWorkflow() },
        complete: { type: "boolean", default: false },
        publish: { type: "boolean", default: false },
      },
    });
    if (values.publish) {
      throw new Error("A checkout is not published: publish the folders that `npm run packages` writes.");
    }
    const packages = writePackages({ ...values, output: resolve(values.output) });
    for (const { name, folder } of packages) console.log(`${name}  ${folder}`);
    if (!values.repository) console.error("Without --repository the packages name no repository.");
    const missing = PLATFORMS.filter(({ name }) => !packages.some((each) => each.name === name));
    if (missing.length > 0) {
      console.error(`Not in prebuilds/: ${missing.map(({ name }) => name.slice(SCOPE.length)).join(", ")}.`);
    }
    if (!packages.some(({ name }) => name === DEMO_MODEL)) console.error("There is no demo-model/.");
  } catch (error) {
    console.error(error.message);
    process.exitCode = error.code?.startsWith("ERR_PARSE_ARGS") ? 2 : 1;
  }
}
