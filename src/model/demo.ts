/** The demo model: a small checkpoint and a scene in a package of their own, `@soundspot/demo-model`. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { isBytes, isObject } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { packageRoot, packageVersion } from "../core/package.js";
import { installCommand } from "../core/package-manager.js";
import type { EmbedInput, LocalizeInput } from "./inputs.js";
import type { LoadedModel } from "./loaded.js";

const NAME = "@soundspot/demo-model";

/** Marks a demo model in the metadata of its checkpoint. Its value is JSON, {@link Mark}. */
const DEMO_KEY = "soundspot.demo";

/** Code of the warning that a demo model was given a file of other data. */
export const DEMO_WARNING = "SOUNDSPOT_DEMO_MODEL";

/** A larger file is none of the package's, and is not read to find that out. */
const MOST_BYTES = 10_000_000;

/** Paths of a scene. Image and audio are an input of `localize`. */
export interface DemoScene {
  readonly image: string;
  readonly audio: string;
  /** White where the sounding object is; `readMask` reads it. */
  readonly mask: string;
}

interface DemoPackage extends DemoScene {
  readonly model: string;
}

const FIELDS = ["model", "image", "audio", "mask"] as const;

/** The folder of the installed package: from this package's own place, or the project that runs. */
function folderOf(name: string): string | undefined {
  for (const from of [packageRoot(), process.cwd()]) {
    try {
      return dirname(createRequire(join(from, "package.json")).resolve(`${name}/package.json`));
    } catch {
      // It may be in the other place.
    }
  }
  return undefined;
}

/**
 * The files of the installed package.
 * @throws {SoundspotError} ERR_DEMO_MODEL_MISSING with the command that installs it.
 */
export function demoPackage(): DemoPackage {
  const command = `\`${installCommand(packageRoot(), `${NAME}@${packageVersion()}`)}\``;
  const folder = folderOf(NAME);
  if (folder === undefined) {
    throw new SoundspotError("ERR_DEMO_MODEL_MISSING", `The demo model is not installed: run ${command}.`);
  }
  const { demo } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    demo?: Partial<DemoPackage>;
  };
  const files = FIELDS.map((field) => [field, join(folder, demo?.[field] ?? field)] as const);
  const lacking = files.filter(([, file]) => !existsSync(file)).map(([, file]) => file);
  if (lacking.length > 0) {
    throw new SoundspotError(
      "ERR_DEMO_MODEL_MISSING",
      `The demo model is incomplete: ${lacking.join(", ")} is missing. Run ${command} again.`,
    );
  }
  return Object.fromEntries(files) as unknown as DemoPackage;
}

/**
 * The scene of the demo model: two objects in view, of which one sounds.
 * @throws {SoundspotError} ERR_DEMO_MODEL_MISSING when `@soundspot/demo-model` is not installed.
 * @example
 * using model = await Model.demo();
 * const spot = await model.localize(demoScene());
 */
export function demoScene(): DemoScene {
  const { image, audio, mask } = demoPackage();
  return { image, audio, mask };
}

/** What the checkpoint says about itself. */
interface Mark {
  /** Hexadecimal SHA-256 of the scene's files. */
  readonly scene: { readonly image: string; readonly audio: string };
}

/** Undefined of a model that is no demo model, and of a mark that cannot be read. */
function markOf({ metadata }: LoadedModel): Partial<Mark> | undefined {
  const text = metadata?.[DEMO_KEY];
  if (text === undefined) return undefined;
  try {
    const mark = JSON.parse(text) as unknown;
    return isObject(mark) ? mark : {};
  } catch {
    return {};
  }
}

/** @internal Whether a model is the demo model. */
export function isDemoModel(model: LoadedModel): boolean {
  return markOf(model) !== undefined;
}

/** Undefined where a source is no file's content. */
async function sha256Of(source: unknown): Promise<string | undefined> {
  if (isBytes(source)) return createHash("sha256").update(source).digest("hex");
  if (typeof source !== "string") return undefined;
  try {
    if ((await stat(source)).size > MOST_BYTES) return "";
    return createHash("sha256")
      .update(await readFile(source))
      .digest("hex");
  } catch {
    return undefined; // Decoding reports it.
  }
}

let warned = false;

/** Warns once in a process that a demo model knows drawn scenes only. */
export function warnOfDemoModel(): void {
  if (warned) return;
  warned = true;
  process.emitWarning(
    "The demo model knows drawn scenes only: on other images it shows that everything works, not where the sound comes from. docs/guide.md says how to get a model for photographs.",
    { type: "SoundspotWarning", code: DEMO_WARNING },
  );
}

/**
 * @internal Warns when a demo model is given a file that is not of its own scene. Raw pixels and samples, which
 * datasets draw, are not checked.
 */
export async function checkDemoInputs(
  model: LoadedModel,
  inputs: readonly (LocalizeInput | EmbedInput)[],
): Promise<void> {
  const mark = warned ? undefined : markOf(model);
  if (!mark) return;
  for (const input of inputs) {
    if (!isObject(input)) continue;
    if ("video" in input) return warnOfDemoModel();
    for (const side of ["image", "audio"] as const) {
      const sum = await sha256Of(input[side]);
      if (sum !== undefined && sum !== mark.scene?.[side]) return warnOfDemoModel();
    }
  }
}
