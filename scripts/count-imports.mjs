/** Counts the modules of src/, the imports between them (types included) and those that are part of a circle. */
import { cruise } from "dependency-cruiser";

const { output } = await cruise(["src"], {
  doNotFollow: { path: "node_modules" },
  tsPreCompilationDeps: true,
});
const modules = output.modules.filter(({ source }) => source.startsWith("src/"));
const imports = modules
  .flatMap(({ dependencies }) => dependencies)
  .filter(({ resolved }) => resolved.startsWith("src/"));
const circular = imports.filter(({ circular }) => circular);
console.log(
  `${modules.length} modules, ${imports.length} imports between them, ${circular.length} in circles`,
);
