/**
 * The order of src/'s folders: a module imports from its own folder and from folders to the left of it, types included.
 *
 * Where the order alone does not decide where code belongs:
 * - `src/native.ts` stands beside core and config: it takes types and errors from them, and folders from media on use it.
 * - `Model.localizeVideo` is a method of a class left of video/. Its types are in model/video.ts; video/localize-video.ts
 *   registers its code there when it is loaded, and index.ts always loads it.
 * - Encoding an image is drawing/'s, decoding one is media/'s: neither imports the other. Code for both, such as the
 *   check of raw pixels and the pauses of long loops, is in core/.
 * - files/ reads a complete file with any content; errors of lists and annotations that name a sample are datasets/'.
 * - The addon's resampling is media/'s: drawn datasets then need no model.
 */

/** From left to right; folders of one entry do not import from each other. */
const order = [
  ["core"],
  ["files", "config"],
  ["media", "drawing", "metrics"],
  ["datasets", "distributed"],
  ["model"],
  ["evaluation"],
  ["training", "preparation", "video"],
  ["ablation", "report", "search"],
  ["server", "comparison"],
  ["cli"],
];

const directions = order.flatMap((folders, place) =>
  folders.map((folder) => {
    const left = [folder, ...order.slice(0, place).flat()];
    const native = place >= 2 ? "|^src/native\\.ts$" : "";
    return {
      name: `${folder}-to-the-left`,
      comment: `src/${folder}/ imports from ${left.join(", ")} alone. Move the code, or pass it in.`,
      severity: "error",
      from: { path: `^src/${folder}/` },
      to: { path: "^src/", pathNot: `^src/(${left.join("|")})/${native}` },
    };
  }),
);

const known = [
  ...order.flat().map((folder) => `${folder}/`),
  "index\\.ts$",
  "entry\\.ts$",
  "native\\.ts$",
].join("|");

export default {
  forbidden: [
    {
      name: "no-circles",
      comment: "Modules that import each other cannot be read one by one. Move their common code to a third.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    ...directions,
    {
      name: "native-beside-config",
      severity: "error",
      from: { path: "^src/native\\.ts$" },
      to: { path: "^src/", pathNot: "^src/(core|config)/" },
    },
    {
      name: "one-entry-point-to-the-addon",
      comment: "Only src/native.ts loads the addon.",
      severity: "error",
      from: { pathNot: "^src/native\\.ts$" },
      to: { path: "node-gyp-build" },
    },
    {
      name: "known-folders",
      comment: "src/ has index.ts, entry.ts, native.ts and the folders of the order above.",
      severity: "error",
      from: { path: "^src/", pathNot: `^src/(${known})` },
      to: {},
    },
    {
      name: "known-folders-alone",
      severity: "error",
      from: { path: "^src/", pathNot: `^src/(${known})`, orphan: true },
      to: {},
    },
    {
      name: "nothing-imports-the-index",
      comment:
        "src/index.ts is for users of the package; entry.ts gives it to them, and modules import from each other.",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/entry\\.ts$" },
      to: { path: "^src/index\\.ts$" },
    },
    {
      name: "no-unresolved",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "require", "node", "types"],
    },
  },
};
