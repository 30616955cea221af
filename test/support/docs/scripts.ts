/** Samples in JavaScript and TypeScript: what they need to stand alone, and what the compiler reports on them. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { given } from "./exceptions.js";
import { placeOf, root, type Sample } from "./samples.js";

export const isScript = ({ language }: Sample) => /^([cm]?[jt]s|javascript|typescript)$/.test(language);

/** Names that a sample declares, and names that it uses as values. */
function namesIn(text: string): { declared: Set<string>; imported: Set<string>; used: Set<string> } {
  const [declared, imported, used] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const declares =
        (ts.isVariableDeclaration(parent) ||
          ts.isBindingElement(parent) ||
          ts.isParameter(parent) ||
          ts.isFunctionDeclaration(parent) ||
          ts.isClassDeclaration(parent) ||
          ts.isImportClause(parent) ||
          ts.isImportSpecifier(parent) ||
          ts.isNamespaceImport(parent)) &&
        parent.name === node;
      const isField =
        (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
        (ts.isPropertyAssignment(parent) && parent.name === node) ||
        (ts.isBindingElement(parent) && parent.propertyName === node);
      if (declares) declared.add(node.text);
      if (declares && ts.isImportSpecifier(parent)) imported.add(node.text);
      if (!declares && !isField) used.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("sample.ts", text, ts.ScriptTarget.ES2022, true));
  return { declared, imported, used };
}

/** A sample that stands alone. Its lines keep their numbers: what it needs is put before the first one. */
export interface Script {
  readonly sample: Sample;
  readonly before: string;
}

/** Gives fragments what they use of earlier imports in their document, and of `given`. */
export function standAlone(samples: readonly Sample[]): { scripts: Script[]; givenNames: Set<string> } {
  const importedIn = new Map<string, Set<string>>();
  const givenNames = new Set<string>();
  const scripts = samples.map((sample) => {
    const { declared, imported, used } = namesIn(sample.text);
    const earlier = importedIn.get(sample.document) ?? new Set<string>();
    importedIn.set(sample.document, new Set([...earlier, ...imported]));
    const lacking = [...used].filter((name) => !declared.has(name));
    const fromEarlier = lacking.filter((name) => earlier.has(name));
    const fromGiven = lacking.filter((name) => !earlier.has(name) && Object.hasOwn(given, name));
    for (const name of fromGiven) givenNames.add(name);
    const statements = [
      ...(fromEarlier.length + fromGiven.length > 0 ? ['import * as $ from "soundspot";'] : []),
      ...(fromEarlier.length > 0 ? [`const { ${fromEarlier.join(", ")} } = $;`] : []),
      ...fromGiven.map((name) => `const ${name} = ${given[name]};`),
    ];
    return { sample, before: statements.join(" ") };
  });
  return { scripts, givenNames };
}

/** JavaScript of a sample, with types taken off. */
export function javascriptOf({ sample, before }: Script, text: string): string {
  return ts.transpileModule(`${before}${text}`, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: /^[cm]?js$/.test(sample.language),
    },
  }).outputText;
}

/** What the compiler reports on samples against the types of src: an unknown field fails here, not in silence. */
export function typeErrors(scripts: readonly Script[], folder: string): Map<Sample, string[]> {
  mkdirSync(folder, { recursive: true });
  const bySource = new Map(
    scripts.map(({ sample, before }, i) => {
      const path = join(folder, `sample-${i}.mts`).replaceAll("\\", "/");
      writeFileSync(path, `${before}${sample.text}\nexport {};\n`);
      return [path, sample];
    }),
  );
  const program = ts.createProgram([...bySource.keys()], {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    strict: true,
    noImplicitAny: false,
    noUncheckedIndexedAccess: false,
    skipLibCheck: true,
    noEmit: true,
    types: ["node"],
    typeRoots: [join(root, "node_modules", "@types")],
    paths: {
      soundspot: [join(root, "src", "index.ts")],
      "*": [join(root, "node_modules", "*"), join(root, "node_modules", "@types", "*")],
    },
  });
  const errors = new Map<Sample, string[]>();
  for (const [path, sample] of bySource) {
    const source = program.getSourceFile(path);
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    errors.set(
      sample,
      found.map(({ messageText, start }) => {
        const line = source?.getLineAndCharacterOfPosition(start ?? 0).line ?? 0;
        const place = placeOf({ ...sample, line: sample.line + line });
        return `${place}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
      }),
    );
  }
  return errors;
}
