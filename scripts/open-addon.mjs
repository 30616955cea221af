/**
 * Opens LibTorch by its path, before the addon: the addon then finds it wherever either lies, and needs no run path.
 *
 *   node scripts/open-addon.mjs <addon> <variant> [folder of LibTorch]     prints what the addon says of this machine
 */
import { existsSync, realpathSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import { librariesOf } from "./locate.mjs";

/** Node.js closes a library that is no addon of its own. This flag, of which it has no name, keeps it open. */
const RTLD_NODELETE = { linux: 0x1000, darwin: 0x80 };

/** LibTorch's own library of all others. Some linkers note it in the addon, some leave it out. */
const WHOLE = { linux: "libtorch.so", darwin: "libtorch.dylib" };

const NO_ADDON = /did not self-register/;

/** Of LibTorch, which this process has opened: a second one beside it would not work. */
let opened;

/**
 * Opens the libraries of a LibTorch for the rest of the process. Their symbols stay theirs: other addons may bring
 * libraries of the same names. Does nothing the second time.
 *
 * @param {string} folder Of LibTorch.
 * @param {"cpu" | "cuda"} variant
 * @throws {Error} of the dynamic linker.
 */
export function openLibTorch(folder, variant) {
  if (opened !== undefined) return;
  const libraries = join(folder, "lib");
  if (process.platform === "win32") {
    // Windows searches the folders of PATH.
    process.env.PATH = `${libraries};${process.env.PATH ?? ""}`;
  } else {
    const flags = constants.dlopen.RTLD_NOW | (RTLD_NODELETE[process.platform] ?? RTLD_NODELETE.linux);
    const whole = WHOLE[process.platform] ?? WHOLE.linux;
    const names = [...librariesOf(variant), ...(existsSync(join(libraries, whole)) ? [whole] : [])];
    for (const name of names) {
      try {
        process.dlopen({ exports: {} }, join(libraries, name), flags);
      } catch (error) {
        if (!NO_ADDON.test(error.message)) throw error;
      }
    }
  }
  opened = folder;
}

/** Whether this file is the program, also as a part of a bundle. */
const isProgram = () => {
  const file = fileURLToPath(import.meta.url);
  return (
    file.endsWith("open-addon.mjs") && argv[1] !== undefined && realpathSync(argv[1]) === realpathSync(file)
  );
};

if (isProgram()) {
  const [, , addon, variant, folder] = argv;
  if (folder) openLibTorch(folder, variant);
  const loaded = { exports: {} };
  process.dlopen(loaded, addon);
  process.stdout.write(JSON.stringify(loaded.exports.info()));
}
