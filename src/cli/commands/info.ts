/** `soundspot info`: the content of a checkpoint or a media file; without a file, of the paper's model. */
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { methodNamed } from "../../config/methods.js";
import { type ModelConfig, parseModelConfig } from "../../config/model.js";
import { presets } from "../../config/presets.js";
import { isSoundspotError, SoundspotError } from "../../core/errors.js";
import { type Media, type MediaStream, openMedia } from "../../media/media.js";
import { CALIBRATION_KEY, configOf, QUANTIZATION_KEY } from "../../model/configuration.js";
import { Model, type WeightsReport, weightsReport } from "../../model/model.js";
import { type BindingReport, native } from "../../native.js";
import { countParts, type Listed } from "../../report/parts.js";
import { storedTraining } from "../../training/progress.js";
import { someOf, withConfigOption } from "../checkpoints.js";

export function register(program: Command): void {
  const command = program
    .command("info")
    .description("list parameters, parts and configuration of a checkpoint, or the streams of a media file")
    .argument("[file]", "checkpoint (.safetensors or .pth), video or audio file; default the paper's model");
  withConfigOption(command)
    .option("--tensors", "list every tensor")
    .option("--json", "print as JSON")
    .action(run);
}

/** Whether a file begins like safetensors, a zip archive or a pickle. */
async function beginsAsCheckpoint(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (!file) return true;
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(9), 0, 9, 0);
    const head = buffer.subarray(0, bytesRead);
    return head[8] === 0x7b || head.subarray(0, 2).toString("latin1") === "PK" || head[0] === 0x80;
  } catch {
    return true;
  } finally {
    await file.close();
  }
}

/** Undefined when the file is not a media file. */
async function mediaAt(path: string): Promise<Media | undefined> {
  if (await beginsAsCheckpoint(path)) return undefined;
  return openMedia(path).catch((error: unknown) => {
    if (isSoundspotError(error) && error.code === "ERR_MEDIA_DECODE") return undefined;
    throw error;
  });
}

function streamLine({ index, type, codec, language, title, used, track, ...stream }: MediaStream): string {
  const rate =
    stream.frameRate === undefined ? "" : `, ${Number(stream.frameRate.toFixed(3))} frames per second`;
  const parts = [
    stream.attachedPicture ? "cover art" : type,
    codec,
    ...(stream.width === undefined ? [] : [`${stream.width} × ${stream.height}${rate}`]),
    ...(stream.sampleRate === undefined ? [] : [`${stream.sampleRate} Hz, ${stream.channels} channels`]),
    ...(stream.start === undefined
      ? []
      : [`${stream.start.toFixed(3)} to ${(stream.end ?? 0).toFixed(3)} s`]),
    ...(track === undefined ? [] : [`--audio-track ${track}`]),
    ...(language === undefined ? [] : [language]),
    ...(title === undefined ? [] : [title]),
    ...(stream.isDefault ? ["default"] : []),
    ...(used ? ["used"] : []),
  ];
  return `  ${index}  ${parts.join(", ")}`;
}

function printMedia(file: string, { duration, streams }: Media, json: boolean): void {
  const text = json
    ? JSON.stringify({ file, duration, streams }, null, 2)
    : [file, `duration  ${duration.toFixed(3)} s`, "streams", ...streams.map(streamLine)].join("\n");
  process.stdout.write(`${text}\n`);
}

interface Flags {
  config?: string;
  tensors?: true;
  json?: true;
}

/** The printed facts of a model. */
interface Inspected {
  readonly tensors: readonly Listed[];
  /** The same under the model's names. */
  readonly parameters: readonly Listed[];
  readonly config: ModelConfig;
  readonly metadata: Readonly<Record<string, string>>;
  /** The weights that a model of this configuration loads from the file. */
  readonly weights?: WeightsReport;
  /** Why it loads none. */
  readonly mismatch?: string;
}

async function inspectPaper(config: string | undefined): Promise<Inspected> {
  if (config !== undefined) {
    throw new SoundspotError("ERR_CONFIG", "--config is for a checkpoint. Give one, or leave it out.");
  }
  using model = await Model.create();
  const tensors = (await model.parameters()).map(({ name, shape }) => ({ name, shape }));
  return { tensors, parameters: tensors, config: model.config, metadata: {} };
}

async function inspect(file: string, given: string | undefined): Promise<Inspected> {
  const { handle, metadata, tensors } = await native().readCheckpoint(file);
  const found = await configOf(
    resolve(file),
    metadata,
    given,
    tensors.map(({ name }) => name),
  );
  let report: BindingReport | undefined;
  let mismatch: string | undefined;
  try {
    report = await native().bindCheckpoint(found.config, handle, file);
  } catch (error) {
    if (!isSoundspotError(error) || error.code !== "ERR_CHECKPOINT_MISMATCH") throw error;
    mismatch = error.message;
  }
  const key = report?.key ?? tensors[0]?.key;
  const names = new Map(report?.sources.map((source, i) => [source, report.loaded[i] as string]));
  return {
    // Tensors of other keys by key and name.
    tensors: tensors.map(({ key: own, name, ...rest }) => ({
      name: own === key || own === "" ? name : `${own}/${name}`,
      ...rest,
    })),
    parameters: tensors
      // Of a file that does not fit, all are listed.
      .filter((each) => each.key === key && (!report || names.has(each.name)))
      .map(({ name, shape }) => ({ name: names.get(name) ?? name, shape })),
    config: found.config,
    metadata,
    ...(report ? { weights: weightsReport(report, found) } : {}),
    ...(mismatch === undefined ? {} : { mismatch }),
  };
}

/** Lines about the weights that a model of the configuration loads from the file. */
function weightsLines({ weights, mismatch }: Inspected): string[] {
  if (mismatch !== undefined) return [`weights               do not fit: ${mismatch}`];
  if (!weights) return [];
  const { loaded, ignored, missing, key, otherKeys = [], config, ignoredConfig = [] } = weights;
  const others = otherKeys.map((each) => each || "the top of the file").join(", ");
  return [
    `weights               ${loaded.length} loaded, ${ignored.length} ignored, ${missing.length} missing`,
    ...(key === undefined ? [] : [`  from                ${key}`]),
    ...(others === "" ? [] : [`  not from            ${others}`]),
    ...(ignored.length === 0 ? [] : [`  ignored             ${someOf(ignored)}`]),
    ...(missing.length === 0 ? [] : [`  missing             ${someOf(missing)}`]),
    ...(config === undefined ? [] : [`configuration from    ${config}`]),
    ...(ignoredConfig.length === 0 ? [] : [`  unknown fields      ${someOf(ignoredConfig)}`]),
  ];
}

/** How the weights of a quantized model are stored, and what it was calibrated with. */
function quantizationOf(metadata: Readonly<Record<string, string>>, tensors: readonly Listed[]) {
  const type = metadata[QUANTIZATION_KEY];
  if (type === undefined) return undefined;
  const convolutions = tensors.filter(({ name }) => name.endsWith(".weight_scale")).length;
  const calibration = metadata[CALIBRATION_KEY];
  return { type, convolutions, ...(calibration === undefined ? {} : { calibration }) };
}

/** The method's title, and others whose files have the same tensors. */
function methodText({ method }: ModelConfig, weights: WeightsReport | undefined): string {
  const others = (weights?.otherPresets ?? []).map(
    (name) => parseModelConfig(presets[name].model).method.name,
  );
  const titles = others.map((name) => methodNamed(name).title);
  const own = methodNamed(method.name).title;
  return titles.length === 0
    ? own
    : `${own} (or ${titles.join(", ")}, whose files have the same tensors: --config ${weights?.otherPresets?.join(" or ")})`;
}

async function run(file: string | undefined, flags: Flags): Promise<void> {
  const media = file === undefined ? undefined : await mediaAt(file);
  if (file !== undefined && media) return printMedia(file, media, flags.json === true);
  const inspected = file === undefined ? await inspectPaper(flags.config) : await inspect(file, flags.config);
  const { tensors, parameters, config, metadata, weights, mismatch } = inspected;
  const method = config.method.name;
  const parts = countParts(parameters);
  const quantization = quantizationOf(metadata, tensors);
  if (flags.json) {
    const training = file === undefined ? undefined : storedTraining(metadata, file);
    const state = training === undefined ? {} : { training };
    const list = flags.tensors ? { tensors } : {};
    process.stdout.write(
      `${JSON.stringify({ file, method, parameters: parts, config, quantization, weights, mismatch, ...state, ...list }, null, 2)}\n`,
    );
    return;
  }
  const millions = (count: number) => `${(count / 1e6).toFixed(2)} M`;
  const lines = [
    file ?? "the paper's model",
    `method                ${methodText(config, weights)}`,
    `parameters            ${parts.total.toLocaleString("en")} (${millions(parts.total)})`,
    `  at inference        ${millions(parts.inference)}`,
    `  encoders            ${millions(parts.encoders)}`,
    ...[
      ["  joint slot attention", parts.jointSlotAttention] as const,
      ["  image decoder      ", parts.imageDecoder] as const,
      ["  audio decoder      ", parts.audioDecoder] as const,
      ["  other              ", parts.other] as const,
    ].flatMap(([name, count]) => (count > 0 ? [`${name} ${millions(count)}`] : [])),
    `tensors               ${tensors.length}`,
    ...(quantization
      ? [
          `quantized             ${quantization.type}, ${quantization.convolutions} convolutions${quantization.calibration === undefined ? "" : `, calibrated with ${quantization.calibration}`}`,
        ]
      : []),
    ...weightsLines(inspected),
    `training state        ${"soundspot.training" in metadata ? "yes" : "none"}`,
    `configuration         ${JSON.stringify(config)}`,
  ];
  if (flags.tensors) lines.push(...tensors.map(({ name, shape }) => `${name} [${shape.join(", ")}]`));
  process.stdout.write(`${lines.join("\n")}\n`);
}
