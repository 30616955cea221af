/** Loads the addon, after the LibTorch that it is compiled for. */
import { createRequire } from "node:module";
import { chooseAddon, findLibTorch, type Variant } from "../../scripts/locate.mjs";
import { openLibTorch } from "../../scripts/open-addon.mjs";
import { isError, SoundspotError } from "./errors.js";
import { packageRoot } from "./package.js";
import { packageManager } from "./package-manager.js";

const require = createRequire(import.meta.url);

/** What a build with CUDA finds on a machine. Versions are CUDA's, such as "13.0". */
export interface CudaInfo {
  /** Which it is compiled for. */
  readonly built: string;
  /** The newest that the driver can run; absent without a driver. */
  readonly driver?: string;
  /** Why no GPU can be used; absent where one can. */
  readonly problem?: string;
  /** GPUs that answer, those too old for the build too. */
  readonly gpus: readonly {
    readonly name: string;
    /** Such as "9.0". */
    readonly capability: string;
    readonly memory: number;
    /** Whether the build has code for it. */
    readonly usable: boolean;
  }[];
}

/** The command that installs a variant. */
export const setupCommand = (variant: Variant): string => {
  // Without node_modules only Yarn itself finds the program.
  const runner = packageManager(packageRoot()) === "yarn" ? "yarn" : "npx";
  return `${runner} soundspot setup${variant === "cuda" ? " --cuda" : ""}`;
};

/** The end of a sentence about something that is not installed. */
export function howToInstall(variant: Variant): string {
  const run = `run \`${setupCommand(variant)}\``;
  return variant === "cpu" && packageManager(packageRoot()) === "pnpm"
    ? `${run}, or \`pnpm approve-builds\` to let its install script do that`
    : run;
}

/**
 * The addon of the variant to load, and why it is this variant.
 * @throws {SoundspotError} ERR_CONFIG when SOUNDSPOT_VARIANT is none.
 */
export function chosenAddon(root: string) {
  try {
    return chooseAddon({ root });
  } catch (error) {
    throw new SoundspotError("ERR_CONFIG", (error as Error).message, { cause: error });
  }
}

/**
 * The functions of the addon. Nothing is downloaded.
 * @throws {SoundspotError} ERR_ADDON_MISSING or ERR_LIBTORCH_MISSING, with the command that installs it.
 */
export function loadAddon(): unknown {
  const root = packageRoot();
  const { variant, addon, version: whole } = chosenAddon(root);
  const version = whole.replace(/\+.*/, "");
  if (addon === undefined) {
    const kind = variant === "cuda" ? " for NVIDIA GPUs" : "";
    throw new SoundspotError(
      "ERR_ADDON_MISSING",
      `The addon${kind} is not installed: ${howToInstall(variant)}.`,
    );
  }
  const torch = findLibTorch({ root, variant, version });
  if (torch === undefined) {
    throw new SoundspotError(
      "ERR_LIBTORCH_MISSING",
      `LibTorch ${version} is not installed${ownLibTorch(version)}: ${howToInstall(variant)}.`,
    );
  }
  try {
    openLibTorch(torch.folder, variant);
    return require(addon);
  } catch (error) {
    const message = isError(error) ? error.message : String(error);
    throw new SoundspotError(
      "ERR_ADDON_MISSING",
      `The addon could not be loaded: run \`${setupCommand(variant)}\` and read what \`npx soundspot doctor\` says. (${message})`,
      { cause: error },
    );
  }
}

/** Why a LibTorch that the environment names is not taken. */
function ownLibTorch(version: string): string {
  if (!process.env.LIBTORCH) return "";
  return `, and that of LIBTORCH (${process.env.LIBTORCH}) is incomplete or not ${version}`;
}
