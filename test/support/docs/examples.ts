/** How each file of examples/ is run. One that is not named here fails the test. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "vitest";
import { environment, type Place, runShell } from "./run.js";
import { root, type Sample } from "./samples.js";

/** Packages that an example needs and this one does not: found here, or where EXAMPLES_MODULES says. */
function externalModule(name: string): string | undefined {
  const folders = [process.env.EXAMPLES_MODULES, join(root, "node_modules")];
  const found = folders
    .map((folder) => folder && join(folder, name))
    .find((path) => path && existsSync(path));
  return found && realpathSync(found);
}

/** Names of those that are not there. */
export const lacking = (modules: readonly string[]) => modules.filter((name) => !externalModule(name));

/** A copy of an example beside the world's files, with what it imports. */
function install(folder: string, name: string, modules: readonly string[] = []): string {
  const copy = join(folder, "examples", name);
  cpSync(join(root, "examples", name), copy, { recursive: true });
  mkdirSync(join(copy, "node_modules"), { recursive: true });
  const links = [["soundspot", realpathSync(join(folder, "node_modules", "soundspot"))]];
  for (const each of modules) links.push([each, externalModule(each) as string]);
  for (const [as, path] of links)
    symlinkSync(path as string, join(copy, "node_modules", as as string), "junction");
  return copy;
}

const isPng = (bytes: Uint8Array) => Buffer.from(bytes.subarray(1, 4)).toString() === "PNG";

function formOf({ folder }: Place, image = "dog.jpg"): FormData {
  const form = new FormData();
  form.append("image", new Blob([readFileSync(join(folder, image))]), image);
  form.append("audio", new Blob([readFileSync(join(folder, "dog.wav"))]), "dog.wav");
  return form;
}

async function addressOf(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const piece of child.stdout ?? []) {
    text += piece;
    const [address] = /http:\/\/\S+/.exec(text) ?? [];
    if (address) return address;
  }
  throw new Error(`The server ended: ${text}`);
}

async function express(place: Place): Promise<void> {
  const copy = install(place.folder, "express", ["express", "multer"]);
  const child = spawn(process.execPath, [join(copy, "server.mjs")], {
    cwd: place.folder,
    env: { ...environment(place.world), PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  try {
    const url = `${await addressOf(child)}/localize`;
    const map = await fetch(url, { method: "POST", body: formOf(place) });
    expect([map.status, map.headers.get("content-type")]).toEqual([200, "image/png"]);
    expect(isPng(new Uint8Array(await map.arrayBuffer()))).toBe(true);
    const headers = { accept: "application/json" };
    const answer = await fetch(url, { method: "POST", body: formOf(place), headers });
    expect(await answer.json()).toMatchObject({ width: 64, height: 48, boxes: expect.any(Array) });
    const rejected = await fetch(url, { method: "POST", body: formOf(place, "labels.csv") });
    expect([rejected.status, await rejected.json()]).toMatchObject([400, { code: "ERR_MEDIA_DECODE" }]);
    const empty = await fetch(url, { method: "POST", body: new FormData() });
    expect([empty.status, await empty.json()]).toMatchObject([400, { code: "ERR_INPUT" }]);
  } finally {
    child.kill("SIGTERM");
  }
  expect((await exit)[0]).toBe(process.platform === "win32" ? null : 0);
}

/** The handler is a function of a request; Next.js itself is not needed to call it. */
async function nextHandler(place: Place): Promise<void> {
  const copy = install(place.folder, "next");
  const script = `
    import { openAsBlob } from "node:fs";
    import { POST } from "./app/api/localize/route.mjs";
    const form = async (image) => {
      const body = new FormData();
      body.append("image", await openAsBlob(image), image);
      body.append("audio", await openAsBlob("${pathFor(place, "dog.wav")}"), "dog.wav");
      return body;
    };
    const ask = async (body) => POST(new Request("http://localhost/api/localize", { method: "POST", body }));
    const [map, rejected, none] = [
      await ask(await form("${pathFor(place, "dog.jpg")}")),
      await ask(await form("${pathFor(place, "labels.csv")}")),
      await ask("no form"),
    ];
    const bytes = Buffer.from(await map.arrayBuffer());
    console.log(JSON.stringify([map.status, bytes.subarray(1, 4).toString(), rejected.status, (await rejected.json()).code, none.status]));
  `;
  // Next.js takes a .js file for a module; Node.js goes by its ending.
  cpSync(join(copy, "app/api/localize/route.js"), join(copy, "app/api/localize/route.mjs"));
  const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: copy,
    env: { ...environment(place.world), MODEL: pathFor(place, "model.safetensors") },
    encoding: "utf8",
  });
  expect(JSON.parse(output)).toEqual([200, "PNG", 400, "ERR_MEDIA_DECODE", 400]);
}

const pathFor = ({ folder }: Place, name: string) => join(folder, name).replaceAll("\\", "/");

async function nextConfig(): Promise<void> {
  const { default: config } = await import(pathToFileURL(join(root, "examples/next/next.config.mjs")).href);
  expect(config).toEqual({ serverExternalPackages: ["soundspot"] });
}

/** The part of the main process that does the work, and the process that it starts. */
async function electronLocator(place: Place): Promise<void> {
  const copy = install(place.folder, "electron");
  const { createLocator } = await import(pathToFileURL(join(copy, "locator.mjs")).href);
  const checkpoint = join(place.folder, "model.safetensors");
  const locator = await createLocator({ checkpoint, node: process.execPath });
  const audio = readFileSync(join(place.folder, "dog.wav"));
  const [{ overlay, confidence }, other] = await Promise.all([
    locator.localize({ image: readFileSync(join(place.folder, "dog.jpg")), audio }),
    locator.localize({ image: readFileSync(join(place.folder, "street.png")), audio }),
  ]);
  expect([isPng(overlay), isPng(other.overlay)]).toEqual([true, true]);
  expect(Math.abs(confidence)).toBeLessThanOrEqual(1);
  await expect(locator.localize({ image: audio, audio })).rejects.toMatchObject({ code: "ERR_MEDIA_DECODE" });
  locator.close();
  await expect(locator.localize({ image: audio, audio })).rejects.toThrow("has ended");
  const nowhere = join(place.folder, "nowhere");
  await expect(createLocator({ checkpoint, node: nowhere })).rejects.toThrow("ENOENT");
}

async function workerThreads(place: Place): Promise<void> {
  const copy = install(place.folder, "worker-threads").replaceAll("\\", "/");
  const sample = {
    document: "examples",
    line: 1,
    language: "sh",
    text: "",
    shows: undefined,
  } satisfies Sample;
  const { code, output } = await runShell(
    sample,
    [`node "${copy}/main.mjs" model.safetensors train.jsonl`],
    place,
  );
  expect(code, output).toBe(0);
  expect(output.match(/^images\/\w+\.jpg: hottest at \d+, \d+; confidence -?\d\.\d{3}$/gm)).toHaveLength(8);
}

export interface Example {
  /** Files below examples/ that this runs. */
  readonly files: readonly string[];
  /** Packages that it needs beside soundspot. */
  readonly modules?: readonly string[];
  readonly run: (place: Place) => Promise<void>;
}

const parses = (file: string) => async (): Promise<void> => {
  execFileSync(process.execPath, ["--check", join(root, "examples", file)], { stdio: "pipe" });
};

export const examples: Readonly<Record<string, Example>> = {
  "answers requests by Express": {
    files: ["express/server.mjs"],
    modules: ["express", "multer"],
    run: express,
  },
  "answers requests by a route handler of Next.js": {
    files: ["next/app/api/localize/route.js"],
    run: nextHandler,
  },
  "keeps Next.js from bundling the package": { files: ["next/next.config.mjs"], run: nextConfig },
  "answers the main process of Electron": {
    files: ["electron/locator.mjs", "electron/service.mjs"],
    run: electronLocator,
  },
  "shares a list among worker threads": {
    files: ["worker-threads/main.mjs", "worker-threads/worker.mjs"],
    run: workerThreads,
  },
  // Windows need Electron, which is not among the packages that tests install: their files are parsed.
  "starts the windows of Electron (parsed, not run)": {
    files: ["electron/main.mjs"],
    run: parses("electron/main.mjs"),
  },
  "lets the window ask (parsed, not run)": {
    files: ["electron/preload.cjs"],
    run: parses("electron/preload.cjs"),
  },
  "shows the answer (parsed, not run)": {
    files: ["electron/window.mjs", "electron/index.html"],
    run: parses("electron/window.mjs"),
  },
};
