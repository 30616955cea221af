/** The package of the demo model with random weights, made by the script that makes the published one. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { makeDemoModel } from "../../scripts/demo-model.mjs";

/**
 * Writes it where a package beside the modules of `project` finds it.
 * @param source folder of the package as JavaScript, with index.js
 * @returns its folder
 */
export async function standInFor(project: string, source: string): Promise<string> {
  const api = (await import(pathToFileURL(join(source, "index.js")).href)) as object;
  const output = join(project, "node_modules", "@soundspot", "demo-model");
  await makeDemoModel({ api, output, standIn: true });
  return output;
}
