/** The samples of the documentation: every fenced block of README.md and docs/, and the workflows of examples/. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../..", import.meta.url));

export interface Sample {
  /** Path from the root of the package. */
  readonly document: string;
  /** Of its first line, from 1. */
  readonly line: number;
  /** Word after the fence; "" where there is none. */
  readonly language: string;
  readonly text: string;
  /** The file of examples/ that it shows: named by the comment `<!-- examples/NAME -->` on the line before. */
  readonly shows: string | undefined;
}

/** A command within backticks, in a sentence or a table. */
export interface Mention {
  readonly document: string;
  readonly line: number;
  readonly command: string;
}

export const placeOf = ({ document, line }: { readonly document: string; readonly line: number }) =>
  `${document}:${line}`;

const fence = /^(\s*)(`{3,}|~{3,})\s*([\w-]*)/;
const marker = /^\s*<!-- (examples\/\S+) -->\s*$/;

/** Blocks of a document in their order, without the indent of their fence, and commands in its sentences. */
export function readDocument(document: string, content: string): { samples: Sample[]; mentions: Mention[] } {
  const samples: Sample[] = [];
  const mentions: Mention[] = [];
  const lines = content.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const [, indent = "", ticks, language = ""] = fence.exec(lines[at] as string) ?? [];
    if (ticks === undefined) {
      for (const [, command = ""] of (lines[at] as string).matchAll(/`((?:npx )?soundspot [^`]+)`/g)) {
        mentions.push({ document, line: at + 1, command });
      }
      continue;
    }
    const start = at + 1;
    const shows = lines.slice(0, at).findLast((line) => line.trim() !== "");
    do at++;
    while (at < lines.length && !(lines[at] as string).trim().startsWith(ticks));
    if (at === lines.length) throw new Error(`${document}:${start}: the block is not closed.`);
    const text = lines.slice(start, at).map((line) => line.replace(new RegExp(`^${indent}`), ""));
    samples.push({
      document,
      line: start + 1,
      language,
      text: `${text.join("\n")}\n`,
      shows: marker.exec(shows ?? "")?.[1],
    });
  }
  return { samples, mentions };
}

const ofKind = (folder: string, kind: RegExp) =>
  readdirSync(join(root, folder))
    .filter((name) => kind.test(name))
    .sort()
    .map((name) => `${folder}/${name}`);

/** All documents: those that come later are among them. */
export function readDocuments(): { documents: string[]; samples: Sample[]; mentions: Mention[] } {
  const documents = ["README.md", ...ofKind("docs", /\.md$/)];
  const read = documents.map((document) =>
    readDocument(document, readFileSync(join(root, document), "utf8")),
  );
  const workflows = ofKind("examples", /\.ya?ml$/).map((document) => ({
    document,
    line: 1,
    language: "yaml",
    text: readFileSync(join(root, document), "utf8"),
    shows: undefined,
  }));
  return {
    documents,
    samples: [...read.flatMap(({ samples }) => samples), ...workflows],
    mentions: read.flatMap(({ mentions }) => mentions),
  };
}

/** Files of examples/ that are not samples themselves, as paths below it. */
export const exampleFiles = (): string[] =>
  readdirSync(join(root, "examples"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.ya?ml$/.test(entry.name))
    .map((entry) =>
      relative(join(root, "examples"), join(entry.parentPath, entry.name)).replaceAll("\\", "/"),
    )
    .sort();

/** The name by which GitHub links to a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

/** Links of a document to files of the package, or to headings, that are not there. */
export function brokenLinks(document: string): string[] {
  const content = readFileSync(join(root, document), "utf8");
  const anchorsIn = (text: string) =>
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading));
  return [...content.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = ""]) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [path = "", anchor] = link.split("#");
    const file = path === "" ? join(root, document) : join(root, dirname(document), path);
    if (!existsSync(file)) return [`${document}: ${link}`];
    if (anchor === undefined || anchorsIn(readFileSync(file, "utf8")).includes(anchor)) return [];
    return [`${document}: ${link}`];
  });
}
