/** The little XML that annotation files need: elements and their text. Attributes and entities are not kept. */
import { wrong } from "../../files/csv.js";

export interface XmlElement {
  readonly name: string;
  /** Where it begins in the file, from 1. */
  readonly line: number;
  readonly children: readonly XmlElement[];
  /** The text right in it, without that of its children, trimmed. */
  readonly text: string;
}

interface OpenElement {
  readonly name: string;
  readonly line: number;
  readonly children: XmlElement[];
  text: string;
}

/** Comment, declaration or document type; CDATA; tag; text. Whatever else begins with "<" is damage. */
const TOKEN =
  /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!DOCTYPE[^[>]*>|<!\[CDATA\[(?<data>[\s\S]*?)\]\]>|<(?<end>\/)?(?<name>[^\s<>/="'!?]+)(?:\s+[^\s<>/="']+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*\s*(?<empty>\/)?>|(?<text>[^<]+)/y;

/** Elements inside one another; annotations have a handful. */
const MOST_DEPTH = 64;

/**
 * Parses a document to its root element.
 * @throws {SoundspotError} ERR_DATASET, naming file and line, when tags are broken or do not match, or elements are
 * nested more than 64 deep.
 */
export function parseXml(source: string, path: string): XmlElement {
  const document: OpenElement = { name: "", line: 1, children: [], text: "" };
  const open = [document];
  const token = new RegExp(TOKEN);
  let line = 1;
  while (token.lastIndex < source.length) {
    const match = token.exec(source);
    if (!match) throw wrong(path, line, undefined, "is not XML: a tag is broken off. Copy the file again.");
    const { data, end, name, empty, text } = match.groups ?? {};
    const parent = open[open.length - 1] ?? document;
    parent.text += data ?? text ?? "";
    if (name !== undefined && end !== undefined) {
      if (parent.name !== name) {
        throw wrong(
          path,
          line,
          undefined,
          `is not XML: </${name}> closes no <${name}>. Copy the file again.`,
        );
      }
      parent.text = parent.text.trim();
      open.pop();
    } else if (name !== undefined) {
      const element: OpenElement = { name, line, children: [], text: "" };
      parent.children.push(element);
      if (open.length > MOST_DEPTH) {
        throw wrong(path, line, undefined, `has elements more than ${MOST_DEPTH} deep. Copy the file again.`);
      }
      if (empty === undefined) open.push(element);
    }
    line += match[0].match(/\n/g)?.length ?? 0;
  }
  const unclosed = open[open.length - 1];
  if (open.length > 1 && unclosed) {
    throw wrong(
      path,
      unclosed.line,
      undefined,
      `is not XML: <${unclosed.name}> is not closed. Copy the file again.`,
    );
  }
  const [root, second] = document.children;
  if (!root || second || document.text.trim() !== "") {
    throw wrong(path, 1, undefined, "is not XML: it must be one element, with nothing around it.");
  }
  return root;
}

/** All elements of the tree with one of these names, in lower case, in document order. */
export function* elementsNamed(names: readonly string[], tree: XmlElement): Generator<XmlElement> {
  if (names.includes(tree.name.toLowerCase())) yield tree;
  for (const child of tree.children) yield* elementsNamed(names, child);
}
