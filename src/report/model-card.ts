/** A model card in Markdown, of a checkpoint that another program wrote. */

import { basename } from "node:path";
import { methodNamed } from "../config/methods.js";
import { frameCount, type ModelConfig, parseModelConfig, rowCount } from "../config/model.js";
import { presets } from "../config/presets.js";
import type { WeightsReport } from "../model/model.js";
import { countParts, type Listed } from "./parts.js";

/** A converted checkpoint. */
export interface CardSubject {
  readonly title: string;
  readonly config: ModelConfig;
  /** Parameters and buffers of a model of this configuration. */
  readonly tensors: readonly Listed[];
  /** Tensors that published files have beside them, which are kept and which no computation uses. */
  readonly unused: readonly Listed[];
  readonly weights: WeightsReport;
  readonly source: {
    /** Name of the file that it was made of, without its folder. */
    readonly file: string;
    readonly bytes: number;
    /** Hexadecimal. */
    readonly sha256: string;
    /** Where that file is from, as its user says. */
    readonly from?: string | undefined;
  };
  readonly license?: string | undefined;
  /** The preset that was given for its configuration. */
  readonly preset?: string | undefined;
}

const MOST_UNUSED = 100; // names before "and n more"

/** Text of a file or a user in one line of Markdown, without markup of its own. */
function plain(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
  return line.replace(/[\\`*_[\]<>|&#~]/g, (mark) => `\\${mark}`);
}

/** The same as code, which knows no escapes: what would end it is replaced. */
function code(text: string): string {
  return `\`${text
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
    .replace(/`/g, "'")
    .replaceAll("|", "\\|")}\``;
}

function table(rows: readonly (readonly [string, string])[]): string {
  return ["| | |", "| --- | --- |", ...rows.map(([name, value]) => `| ${name} | ${value} |`)].join("\n");
}

/** Where the configuration is from. */
function configurationOf(
  { config, preset, otherPresets = [] }: WeightsReport,
  given: string | undefined,
): string {
  if (config !== undefined) return `of ${code(basename(config))}`;
  if (given !== undefined) return `of the preset ${code(given)}, which was given`;
  if (preset === undefined) return "of the file itself";
  const others = otherPresets.map(
    (name) => methodNamed(parseModelConfig(presets[name].model).method.name).title,
  );
  const also = others.length === 0 ? "" : `; files of ${others.join(" and ")} have the same`;
  return `of the preset ${code(preset)}, by the names of the tensors${also}`;
}

/** A list of names, the first ones of many. */
function listOf(names: readonly string[]): string[] {
  const more = names.length - MOST_UNUSED;
  const shown = names.slice(0, MOST_UNUSED).map((name) => `- ${code(name)}`);
  return ["", ...shown, ...(more > 0 ? [`- and ${more} more`] : [])];
}

function unusedLines({ unused, weights }: CardSubject): string[] {
  const { ignored, otherKeys = [], key, ignoredConfig = [] } = weights;
  const where = key === undefined ? "at its top" : `under ${code(key)}`;
  const others = otherKeys.map((each) => (each === "" ? "its top" : code(each))).join(", ");
  const paragraphs = [
    ...(ignored.length === 0 && unused.length === 0 ? [["Every tensor of the file is used."]] : []),
    ...(ignored.length === 0
      ? []
      : [["Tensors that are no part of the model, and were left out:", ...listOf(ignored)]]),
    ...(unused.length === 0
      ? []
      : [
          [
            "Tensors that its program stores and that no computation uses; they were kept, and are not counted above:",
            ...listOf(unused.map(({ name }) => name)),
          ],
        ]),
    ...(others === "" ? [] : [[`The weights lie ${where}; those of ${others} were not taken.`]]),
    ...(ignoredConfig.length === 0
      ? []
      : [[`Fields of the configuration that are not known: ${ignoredConfig.map(code).join(", ")}.`]]),
  ];
  return paragraphs.flatMap((lines, i) => (i === 0 ? lines : ["", ...lines]));
}

/** The card; its last line ends with a line feed. */
export function modelCard(subject: CardSubject): string {
  const { title, config, tensors, unused, weights, source, license, preset } = subject;
  const parts = countParts(tensors);
  const number = (value: number) => value.toLocaleString("en");
  const { imageSize, imageStride, audio, dim } = config;
  const side = Math.ceil(imageSize / imageStride);
  const lines = [
    `# Model card: ${plain(title)}`,
    "",
    table([
      ["Method", methodNamed(config.method.name).title],
      ["Source", plain(source.from ?? "unknown")],
      ["File", `${code(source.file)}, ${number(source.bytes)} bytes`],
      ["SHA-256 of the file", code(source.sha256)],
      ["License", license === undefined ? "unknown" : plain(license)],
      ["Configuration", configurationOf(weights, preset)],
    ]),
    "",
    "## Shapes",
    "",
    table([
      ["Image", `[3, ${imageSize}, ${imageSize}]`],
      [
        "Spectrogram",
        `[1, ${rowCount(config)}, ${frameCount(config)}], of ${audio.seconds} s at ${number(audio.sampleRate)} Hz`,
      ],
      ["Map before enlargement", `[${side}, ${side}]`],
      ["Features of a token", String(dim)],
    ]),
    "",
    "## Parameters",
    "",
    table([
      ["All", number(parts.total)],
      ["At inference", number(parts.inference)],
      ["Image encoder", number(parts.imageEncoder)],
      ["Audio encoder", number(parts.audioEncoder)],
      ["Joint slot attention", number(parts.jointSlotAttention)],
      ["Decoders", number(parts.imageDecoder + parts.audioDecoder)],
      ["Other", number(parts.other)],
    ]),
    "",
    "## What the file held that is unused",
    "",
    ...unusedLines(subject),
    "",
    "## What the file lacked",
    "",
    weights.missing.length === 0
      ? "Nothing."
      : `${weights.missing.map(code).join(", ")}: the model has its initial values there.`,
    "",
    "## Evaluation",
    "",
    "None: the figures of whoever trained it were not checked.",
    "",
    "## Tensors",
    "",
    "| name | shape |",
    "| --- | --- |",
    ...[...tensors, ...unused].map(({ name, shape }) => `| ${code(name)} | [${shape.join(", ")}] |`),
    "",
    "## Configuration",
    "",
    "```json",
    JSON.stringify(config, null, 2),
    "```",
  ];
  return `${lines.join("\n")}\n`;
}
