/** Package managers of fixed versions, from npm, and how each installs a package with its install script or without. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Packages of the registry and the managers; a major version each. */
const TOOLS = {
  verdaccio: "verdaccio@6",
  npm10: "npm10@npm:npm@10",
  npm11: "npm11@npm:npm@11",
  pnpm10: "pnpm10@npm:pnpm@10",
  pnpm12: "pnpm12@npm:pnpm@12",
  yarn: "@yarnpkg/cli-dist@4",
} as const;

const PROGRAMS = {
  verdaccio: "verdaccio/bin/verdaccio",
  npm10: "npm10/bin/npm-cli.js",
  npm11: "npm11/bin/npm-cli.js",
  pnpm10: "pnpm10/bin/pnpm.cjs",
  // A program of its own for each platform.
  pnpm12: `@pnpm/exe.${process.platform}-${process.arch}/pnpm`,
  yarn: "@yarnpkg/cli-dist/bin/yarn.js",
} as const;

export type ManagerName = "npm10" | "npm11" | "pnpm10" | "pnpm12" | "yarn";

/** Where a project's manager gets packages, and the proxy to that, if any. */
export interface Source {
  readonly registry: string;
  readonly proxy?: string | undefined;
}

export interface Manager {
  readonly name: ManagerName;
  /** Writes the settings of a new project, in which the script of soundspot may run or not. */
  configure(project: string, scripts: boolean, source: Source): void;
  /** The command that adds a package. */
  add(name: string, scripts: boolean): string[];
  /** The command that runs the program of an installed package, or a script with `node`. */
  run(args: readonly string[]): string[];
}

const writeJson = (file: string, value: unknown) =>
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);

/** @returns the folder that the programs are in @throws where the registry cannot be reached */
export function installTools(folder: string): string {
  mkdirSync(folder, { recursive: true });
  // verdaccio names a tag of it, which not every registry has.
  writeJson(join(folder, "package.json"), { private: true, overrides: { "node-fetch": "^2.7.0" } });
  const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...Object.values(TOOLS)];
  execFileSync("npm", args, { cwd: folder, stdio: "pipe", shell: process.platform === "win32" });
  return join(folder, "node_modules");
}

export const programIn = (tools: string, name: keyof typeof PROGRAMS): string => join(tools, PROGRAMS[name]);

export function versionIn(tools: string, name: keyof typeof PROGRAMS): string {
  const folder = PROGRAMS[name].replace(/\/(bin\/.*|pnpm)$/, "");
  return (JSON.parse(readFileSync(join(tools, folder, "package.json"), "utf8")) as { version: string })
    .version;
}

function npmrc(project: string, { registry, proxy }: Source) {
  const lines = [`registry=${registry}`, "audit=false", "fund=false", "update-notifier=false"];
  if (proxy) lines.push(`proxy=${proxy}`, `https-proxy=${proxy}`);
  writeFileSync(join(project, ".npmrc"), `${lines.join("\n")}\n`);
}

const project = { name: "user", version: "1.0.0", private: true };

const node = process.execPath;

export function managers(tools: string): Record<ManagerName, Manager> {
  const npm = (name: "npm10" | "npm11"): Manager => ({
    name,
    configure(folder, scripts, source) {
      npmrc(folder, source);
      // npm 11 asks for this list; npm 10 knows only all or none.
      writeJson(join(folder, "package.json"), { ...project, allowScripts: { soundspot: scripts } });
    },
    add: (what, scripts) => [
      node,
      programIn(tools, name),
      "install",
      what,
      ...(name === "npm10" && !scripts ? ["--ignore-scripts"] : []),
    ],
    run: ([command, ...args]) =>
      command === "node"
        ? [node, ...args]
        : [node, programIn(tools, name), "exec", "--no", "--", command as string, ...args],
  });
  const pnpm = (name: "pnpm10" | "pnpm12", program: readonly string[]): Manager => ({
    name,
    configure(folder, scripts, source) {
      npmrc(folder, source);
      writeJson(join(folder, "package.json"), project);
      const settings = [
        "packages: []",
        // pnpm 12 leaves out what was published in the last days, and ends with an error after it has installed a
        // package whose script is not approved; here that would be ffmpeg-static.
        `minimumReleaseAgeExclude: [soundspot, "@soundspot/*"]`,
        ...(scripts
          ? [
              "strictDepBuilds: false",
              "onlyBuiltDependencies: [soundspot]",
              "allowBuilds: { soundspot: true }",
            ]
          : []),
      ];
      writeFileSync(join(folder, "pnpm-workspace.yaml"), `${settings.join("\n")}\n`);
    },
    add: (what) => [...program, "add", what],
    run: (args) => [...program, "exec", ...args],
  });
  return {
    npm10: npm("npm10"),
    npm11: npm("npm11"),
    pnpm10: pnpm("pnpm10", [node, programIn(tools, "pnpm10")]),
    pnpm12: pnpm("pnpm12", [programIn(tools, "pnpm12")]),
    yarn: {
      name: "yarn",
      configure(folder, scripts, { registry, proxy }) {
        writeJson(join(folder, "package.json"), project);
        writeFileSync(join(folder, "yarn.lock"), "");
        const settings = [
          `npmRegistryServer: "${registry}"`,
          `unsafeHttpWhitelist: ["*"]`,
          `enableScripts: ${scripts}`,
          // Yarn leaves out what was published in the last days.
          `npmPreapprovedPackages: ["soundspot", "@soundspot/*"]`,
          "enableTelemetry: false",
          "enableImmutableInstalls: false",
          ...(proxy ? [`httpProxy: "${proxy}"`, `httpsProxy: "${proxy}"`] : []),
        ];
        writeFileSync(join(folder, ".yarnrc.yml"), `${settings.join("\n")}\n`);
      },
      add: (what) => [node, programIn(tools, "yarn"), "add", what],
      run: (args) => [node, programIn(tools, "yarn"), ...args],
    },
  };
}
