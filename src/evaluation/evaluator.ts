/** Scores samples one by one: a model's maps, or maps from another source. */

import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../config/defaults.js";
import { methodNamed, sharpeningOf } from "../config/methods.js";
import { aCount, aFunction, anObject, aSignal, check, checkFields, isFloats } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { GroundTruthMap, Mask } from "../core/types.js";
import type { SkippedSample } from "../datasets/damage.js";
import type { MissingSample, Sample } from "../datasets/dataset.js";
import { aGroup, type ProcessGroup } from "../distributed/process-group.js";
import type { BootstrapOptions } from "../metrics/bootstrap.js";
import {
  type ComputedPrecision,
  computedPrecision,
  type Precision,
  scoringPrecision,
} from "../model/compute.js";
import { type PreparedSample, prepareSample } from "../model/inputs.js";
import { aModel } from "../model/loaded.js";
import { localizePrepared } from "../model/localize.js";
import type { Model } from "../model/model.js";
import { anObjectness, type Objectness } from "../model/objectness.js";
import type { Spot } from "../model/spot.js";
import { Embeddings } from "./embeddings.js";
import { exclusionsAmong, type FalseNegativeOptions, type FalseNegativeReport } from "./false-negatives.js";
import { ProtocolScorer, type ProtocolSource } from "./protocol-scorer.js";
import { type ProtocolScores, protocolScores } from "./protocol-summaries.js";
import { chosenProtocols, type Protocol, type ProtocolChoice } from "./protocols.js";
import { type Retrieval, retrievalOf } from "./retrieve.js";
import { groundTruthOf, type MapName, mapNames, nextTurn, type SampleScore, Scorer } from "./scorer.js";
import {
  type AreaScores,
  areaScores,
  byMap,
  type ClassScores,
  type ConfidenceInterval,
  classScores,
  type ExtendedScores,
  extendedScores,
  Intervals,
  type MapScores,
  mapScores,
  type SourcesScores,
  soundingOverSilent,
  sourcesScores,
} from "./summaries.js";

/** Scores of a model on a dataset, overall and for each sample. */
export interface Evaluation {
  readonly dataset: string;
  /** Samples scored, including those without a source in the image. */
  readonly samples: number;
  /** The map that models are compared by: "iqr" where the method refines by the image's own map, else "audio". */
  readonly defaultMap: MapName;
  readonly audio: MapScores;
  /** Scores of the image's own map, of methods that have one. */
  readonly image?: MapScores;
  readonly iqr?: MapScores;
  /** Scores of maps that were refined with objectness. */
  readonly ogl?: MapScores;
  readonly combined?: MapScores;
  /** Absent without labels. */
  readonly retrieval?: Retrieval;
  /** Pairs of these samples that the contrastive loss would exclude; absent without labels, or with few samples. */
  readonly exclusions?: FalseNegativeReport;
  /** Share of samples where the audio map is hotter inside the sounding object than inside the first silent one. */
  readonly soundingOverSilent?: number;
  readonly soundingOverSilentInterval?: ConfidenceInterval;
  /** Present when some samples have audio without a source in the image. */
  readonly extended?: Readonly<Partial<Record<MapName, ExtendedScores>>>;
  /** Present when images have several sources. */
  readonly interactive?: Readonly<Partial<Record<MapName, SourcesScores>>>;
  /** Absent without labels. */
  readonly perClass?: readonly ClassScores[];
  /** Quarters of the samples by the area of the sounding object, the smallest first. */
  readonly perArea: readonly AreaScores[];
  /** By protocol, where protocols were chosen: each map under it. */
  readonly protocols?: Readonly<Record<string, Readonly<Partial<Record<MapName, ProtocolScores>>>>>;
  readonly perSample: readonly SampleScore[];
  /** Samples that the dataset lists but whose files are missing. */
  readonly missing: readonly MissingSample[];
  /** Samples that could not be read. */
  readonly skipped: readonly SkippedSample[];
  readonly settings: {
    readonly sharpening: number;
    readonly threshold: number;
    readonly alpha: number;
    readonly precision: ComputedPrecision;
    /** The chosen protocols, described. */
    readonly protocols?: readonly Protocol[];
  };
}

/** How samples are scored. */
export interface EvaluatorOptions {
  /** Not needed where every sample comes with its map. */
  readonly model?: Model;
  /** Name of the dataset in the result. Default "samples". */
  readonly name?: string;
  /** Samples in one pass of the model. Default 16. */
  readonly batchSize?: number;
  /** Default the checkpoint's. */
  readonly sharpening?: number;
  /** Default 0.6. */
  readonly threshold?: number;
  /** α, the audio map's share of the refinements. Default 0.4. */
  readonly alpha?: number;
  /** Protocols that maps are scored by beside today's scores, each in the same pass: names, or descriptions. */
  readonly protocol?: ProtocolChoice;
  /**
   * Precision of the encoders. Default "float32": scores are then independent of the processor. Of a quantized model
   * that was not loaded for another precision "int8".
   */
  readonly precision?: Precision;
  /** An ImageNet ResNet-18; with it the map "ogl" is scored too and, with an image map, "combined". */
  readonly objectness?: Objectness;
  /** Confidence intervals; false makes none. Default 1000 resamples, 95 %, seed 0. */
  readonly bootstrap?: Pick<BootstrapOptions, "resamples" | "level" | "seed"> | false;
  /** How false negatives are predicted among labelled samples, for `exclusions`; false does not. */
  readonly falseNegatives?: FalseNegativeOptions | false;
  /** Processes that share the work: each adds its own samples, and all call `result` together. */
  readonly group?: ProcessGroup;
  readonly signal?: AbortSignal | undefined;
  /** Called for every sample of the model that this process scores, in order; `retrieval` is not known yet. */
  readonly onSample?: (sample: Sample, spot: Spot, score: SampleScore) => void | Promise<void>;
}

/** How one sample is added. */
export interface AddOptions {
  /** A map from another source, [height, width] of the ground truth in [0, 1], row-major, in place of the model's. */
  readonly map?: Float32Array;
  /** Confidence of that map, for data with audio without a source in the image. Default 0. */
  readonly confidence?: number;
  /** Index of the sample in its dataset. Default how many were added before it. */
  readonly index?: number;
}

/** A sample that evaluate() has prepared already. */
interface LoadedItem {
  readonly index: number;
  readonly sample: Sample;
  readonly prepared: PreparedSample;
}

interface Item extends LoadedItem {
  readonly annotation: GroundTruthMap | Mask | undefined;
}

/**
 * Scores samples one after the other; it forms batches itself. Memory holds a batch or two, the scores of every sample
 * and, while all samples have labels, their embeddings.
 * @example
 * await using evaluator = new Evaluator({ model });
 * for await (const sample of data) await evaluator.add(sample);
 * const scores = await evaluator.result();
 * scores[scores.defaultMap]?.ciou; // share of samples with cIoU ≥ 0.5
 */
export class Evaluator implements AsyncDisposable {
  readonly settings: Evaluation["settings"];
  /** Maps that are scored. */
  readonly maps: readonly MapName[];
  readonly #options: EvaluatorOptions;
  readonly #batchSize: number;
  readonly #scorer: Scorer;
  readonly #protocols: ProtocolScorer;
  readonly #embeddings = new Embeddings();
  #count = 0;
  #waiting: Item[] = [];
  /** The forward passes that have begun, one after the other. */
  #passes: Promise<void> = Promise.resolve();
  /** Scoring takes one core and runs beside the next pass. */
  #scoring: Promise<void> = Promise.resolve();
  #failure: unknown;
  #disposed = false;

  /** @throws {SoundspotError} ERR_INPUT */
  constructor(options: EvaluatorOptions) {
    checkFields(options, {
      model: aModel,
      batchSize: aCount,
      group: aGroup,
      objectness: anObjectness,
      onSample: aFunction,
      signal: aSignal,
    });
    for (const name of ["bootstrap", "falseNegatives"] as const) {
      if (options[name] !== false && options[name] !== undefined) check(options[name], anObject, name);
    }
    const { model, objectness } = options;
    this.#options = options;
    this.#batchSize = options.batchSize ?? 16;
    const { threshold = MASK_THRESHOLD, alpha = AUDIO_WEIGHT } = options;
    const chosen = chosenProtocols(options.protocol, { threshold, alpha });
    this.settings = {
      sharpening: options.sharpening ?? (model ? sharpeningOf(model.config) : 1),
      threshold,
      alpha,
      precision: model
        ? scoringPrecision(model, options.precision)
        : computedPrecision(options.precision ?? "float32", "cpu"),
      ...(chosen.length > 0 ? { protocols: chosen } : {}),
    };
    const own = model ? methodNamed(model.config.method.name).maps : (["audio"] as const);
    const refined = (["ogl", ...(own.includes("image") ? (["combined"] as const) : [])] as const).filter(
      () => objectness !== undefined,
    );
    this.maps = mapNames.filter((name) => own.includes(name) || refined.includes(name as "ogl"));
    this.#scorer = new Scorer(threshold);
    this.#protocols = new ProtocolScorer(chosen, this.maps, alpha);
  }

  /** Samples scored so far. */
  get scored(): number {
    return this.#scorer.samples.length;
  }

  /**
   * Adds a sample, and resolves when the next one can be added. It is scored when its batch is full, or with
   * `result`.
   * @throws {SoundspotError} ERR_DATASET when it has no annotation; ERR_SHAPE when a map is not of the annotation's
   *   size; ERR_INPUT without a model and without a map, or when a protocol needs the confidence of a map that is empty
   *   or not finite; ERR_ABORTED, ERR_DISPOSED; and the error of an earlier sample.
   */
  async add(sample: Sample, options: AddOptions = {}): Promise<void> {
    this.#check();
    check(sample, anObject, "The sample");
    checkFields(options, { map: [isFloats, "a Float32Array"] });
    const { map, confidence = 0, index = this.#count } = options;
    const annotation = sample.sounding === false ? undefined : groundTruthOf(sample);
    this.#count++;
    if (map) return this.#addMap({ index, sample, annotation, map, confidence });
    const { model } = this.#options;
    if (!model) {
      throw new SoundspotError("ERR_INPUT", "Give the evaluator a model, or pass a map with every sample.");
    }
    const handle = await prepareSample(sample, model.config);
    await this.#take({ index, sample, annotation, prepared: { handle, image: sample.image } });
  }

  /** @internal A sample that is prepared already, whose audio may be another's. */
  async addLoaded(item: LoadedItem): Promise<void> {
    this.#check();
    const { sample } = item;
    this.#count++;
    await this.#take({ ...item, annotation: sample.sounding === false ? undefined : groundTruthOf(sample) });
  }

  /**
   * Scores of all samples that were added so far; more may be added afterwards. In a group every process gets the
   * scores of all, in the order of their ranks.
   * @throws {SoundspotError} the error of a failed sample; ERR_DISTRIBUTED when another process of the group is lost.
   */
  async result(): Promise<Evaluation> {
    return this.resultWith({ missing: [], skipped: [] });
  }

  /** @internal The same, with the samples that were missing or skipped. */
  async resultWith({ missing, skipped }: Pick<Evaluation, "missing" | "skipped">): Promise<Evaluation> {
    const { group } = this.#options;
    if (!group) {
      await this.#flush();
      return this.#summarize(this.#scorer, this.#embeddings, missing, skipped);
    }
    const parts = await group.gatherFrom(async () => {
      await this.#flush();
      return { scores: this.#scorer.state(), rows: this.#embeddings.all, skipped };
    });
    const [scorer, embeddings] = [new Scorer(this.settings.threshold), new Embeddings()];
    for (const { scores, rows } of parts) {
      scorer.addState(scores);
      embeddings.addRows(rows);
    }
    const all = parts.flatMap((part) => part.skipped);
    return this.#summarize(scorer, embeddings, missing, all);
  }

  /** Waits for running work. Further use throws ERR_DISPOSED. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#waiting = [];
    await this.#passes.catch(() => undefined);
    await this.#scoring.catch(() => undefined);
  }

  /** The same as `dispose()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #check(): void {
    if (this.#disposed) {
      throw new SoundspotError("ERR_DISPOSED", "The evaluator was disposed. Make a new one.");
    }
    if (this.#failure !== undefined) throw this.#failure;
    throwIfAborted(this.#options.signal);
  }

  async #take(item: Item): Promise<void> {
    this.#waiting.push(item);
    if (this.#waiting.length < this.#batchSize) return;
    const before = this.#passes;
    // At once: samples may be added while others wait.
    this.#begin();
    await before.catch(() => undefined);
    this.#check();
  }

  /** Begins the forward pass of the waiting samples. */
  #begin(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    const before = this.#passes;
    this.#passes = before.then(() => this.#pass(batch));
    this.#passes.catch((error) => {
      this.#failure ??= error;
    });
  }

  async #pass(batch: readonly Item[]): Promise<void> {
    const { model, objectness } = this.#options;
    const spots = await localizePrepared(
      model as Model,
      batch.map(({ prepared }) => prepared),
      {
        ...this.settings,
        ...(objectness ? { objectness } : {}),
        allMaps: true,
        sizes: batch.map(({ sample, annotation }) => {
          const { height, width } = annotation ?? sample.image;
          return [height, width] as const;
        }),
      },
    );
    await this.#scoring;
    this.#scoring = this.#score(batch, spots);
    this.#scoring.catch((error) => {
      this.#failure ??= error;
    });
  }

  async #score(batch: readonly Item[], spots: readonly Spot[]): Promise<void> {
    for (const [i, spot] of spots.entries()) {
      const { index, sample, annotation } = batch[i] as Item;
      const own = await this.#addScore(index, sample, annotation, spot);
      if (own.sounding) this.#embeddings.add(sample, spot.embedding);
      await this.#options.onSample?.(sample, spot, own);
      await nextTurn();
    }
    throwIfAborted(this.#options.signal);
  }

  async #addScore(
    index: number,
    sample: Sample,
    annotation: GroundTruthMap | Mask | undefined,
    source: ProtocolSource,
  ): Promise<SampleScore> {
    const byProtocol = await this.#protocols.scores(annotation, sample.image, source);
    const maps = Object.values(byProtocol ?? {}).flatMap((each) => Object.values(each));
    if (maps.some(({ confidence = 0 }) => !Number.isFinite(confidence))) {
      throw new SoundspotError(
        "ERR_INPUT",
        `The map of sample ${sample.id} is empty or has values that are not finite: it has no confidence. Give one number for each pixel.`,
      );
    }
    return this.#scorer.add(index, sample, annotation, source, byProtocol);
  }

  async #addMap(item: {
    readonly index: number;
    readonly sample: Sample;
    readonly annotation: GroundTruthMap | Mask | undefined;
    readonly map: Float32Array;
    readonly confidence: number;
  }): Promise<void> {
    const { index, sample, annotation, map, confidence } = item;
    if (annotation && map.length !== annotation.width * annotation.height) {
      throw new SoundspotError(
        "ERR_SHAPE",
        `The map of sample ${sample.id} has ${map.length} values; its annotation is ${annotation.width} × ${annotation.height}.`,
      );
    }
    // After the model's samples that were added before it.
    if (this.#waiting.length > 0) this.#begin();
    await this.#passes;
    await this.#scoring;
    await this.#addScore(index, sample, annotation, { audioMap: map, refined: {}, confidence });
    // Maps from another source come without embeddings.
    this.#embeddings.addRows(undefined);
  }

  async #flush(): Promise<void> {
    this.#check();
    if (this.#waiting.length > 0) this.#begin();
    await this.#passes;
    await this.#scoring;
    this.#check();
  }

  async #summarize(
    scorer: Scorer,
    embeddings: Embeddings,
    missing: readonly MissingSample[],
    skipped: readonly SkippedSample[],
  ): Promise<Evaluation> {
    const { bootstrap, falseNegatives, model, name = "samples", signal } = this.#options;
    const intervals = new Intervals(bootstrap, signal);
    const { rows } = embeddings;
    const retrieved = rows && (await retrievalOf(rows, bootstrap, signal, model?.compute.device));
    const exclusions =
      rows && falseNegatives !== false
        ? await exclusionsAmong(rows, falseNegatives ?? {}, signal)
        : undefined;
    const samples = scorer.samples.map((sample): SampleScore => {
      const own = retrieved?.found.get(sample.id);
      return own ? { ...sample, retrieval: own } : sample;
    });
    const names = mapNames.filter((map) => samples.some((sample) => sample[map] !== undefined));
    const maps = await byMap(this.maps, (map) => mapScores(map, scorer, intervals));
    const labelled = samples.some(({ label }) => label !== undefined);
    return {
      dataset: name,
      samples: samples.length,
      defaultMap: model ? methodNamed(model.config.method.name).defaultMap : "audio",
      ...(maps as { audio: MapScores } & typeof maps),
      ...(retrieved ? { retrieval: retrieved.retrieval } : {}),
      ...(exclusions ? { exclusions } : {}),
      ...(await soundingOverSilent(samples, intervals)),
      ...(samples.some(({ sounding }) => !sounding)
        ? { extended: await byMap(names, (map) => extendedScores(samples, map, intervals)) }
        : {}),
      ...(samples.some(({ imageId }) => imageId !== undefined)
        ? { interactive: await byMap(names, (map) => sourcesScores(samples, map, intervals)) }
        : {}),
      ...(labelled ? { perClass: classScores(samples, names) } : {}),
      perArea: areaScores(samples, names),
      ...(await this.#byProtocol(samples, intervals)),
      perSample: samples,
      missing,
      skipped,
      settings: this.settings,
    };
  }

  async #byProtocol(
    samples: readonly SampleScore[],
    intervals: Intervals,
  ): Promise<Pick<Evaluation, "protocols">> {
    const { protocols } = this.settings;
    if (!protocols) return {};
    const all: Record<string, Partial<Record<MapName, ProtocolScores>>> = {};
    for (const protocol of protocols) {
      all[protocol.name] = await byMap(this.maps, (map) => protocolScores(protocol, map, samples, intervals));
    }
    return { protocols: all };
  }
}
