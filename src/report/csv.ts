/** Scores as CSV (RFC 4180), one row per sample or per class. */
import {
  type Evaluation,
  type MapName,
  mapNames,
  type ProtocolSampleScore,
  type SampleScore,
} from "../evaluation/evaluate.js";
import { protocolFigureNames, protocolFiguresOf } from "./figures.js";

type Cell = string | number | boolean | undefined;

function csv(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cell = (value: Cell) => {
    if (value === undefined || Number.isNaN(value)) return "";
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [header, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

const mapsIn = ({ perSample }: Evaluation) =>
  mapNames.filter((map) => perSample.some((sample) => sample[map] !== undefined));

/** A column of a sample's scores under a protocol. */
interface ProtocolColumn {
  readonly title: string;
  readonly of: (sample: SampleScore) => Cell;
}

/** Of each protocol and map: cIoU and IoU, by the adaptive threshold too and the confidence where it has them. */
function protocolColumns({ settings, perSample }: Evaluation, maps: readonly MapName[]): ProtocolColumn[] {
  return (settings.protocols ?? []).flatMap(({ name, adaptive, confidence }) =>
    maps
      .filter((map) => perSample.some(({ protocols }) => protocols?.[name]?.[map] !== undefined))
      .flatMap((map) => {
        const column = (title: string, of: (own: ProtocolSampleScore) => Cell): ProtocolColumn => ({
          title: `${name}_${map}_${title}`,
          of: ({ protocols }) => {
            const own = protocols?.[name]?.[map];
            return own && of(own);
          },
        });
        return [
          column("ciou", ({ ciou }) => ciou),
          column("iou", ({ iou }) => iou),
          ...(adaptive
            ? [
                column("ciou_adap", (own) => own.adaptive?.ciou),
                column("iou_adap", (own) => own.adaptive?.iou),
              ]
            : []),
          ...(confidence === undefined ? [] : [column("confidence", (own) => own.confidence)]),
        ];
      }),
  );
}

/**
 * One row per sample: id, label, confidence, area, cIoU, IoU and F of every map in [0, 1], retrieval ranks, and the
 * scores under every protocol.
 */
export function samplesCsv(scores: Evaluation): string {
  const maps = mapsIn(scores);
  const byProtocol = protocolColumns(scores, mapNames);
  const header = [
    "id",
    "label",
    "sounding",
    "confidence",
    "area",
    ...maps.flatMap((map) => [`${map}_ciou`, `${map}_iou`, `${map}_f`]),
    "inside_sounding",
    "inside_silent",
    "image_rank",
    "audio_rank",
    ...byProtocol.map(({ title }) => title),
  ];
  const row = (sample: SampleScore): Cell[] => [
    sample.id,
    sample.label,
    sample.sounding,
    sample.confidence,
    sample.area,
    ...maps.flatMap((map) => [sample[map]?.ciou, sample[map]?.iou, sample[map]?.f]),
    sample.insideSounding,
    sample.insideSilent,
    sample.retrieval?.imageRank,
    sample.retrieval?.audioRank,
    ...byProtocol.map(({ of }) => of(sample)),
  ];
  return csv(header, scores.perSample.map(row));
}

/** One row per class: number of samples, scores on every map, R@1 both ways, and the class it is confused with. */
export function classesCsv(scores: Evaluation): string {
  const maps = mapsIn(scores);
  const header = [
    "label",
    "samples",
    ...maps.flatMap((map) => [`${map}_ciou`, `${map}_auc`, `${map}_iou`, `${map}_f`]),
    "audio_to_image_r1",
    "image_to_audio_r1",
    "confused_with",
    "confused_share",
  ];
  const rows = (scores.perClass ?? []).map((each): Cell[] => [
    each.label,
    each.samples,
    ...maps.flatMap((map) => {
      const own = each.maps[map];
      return [own?.ciou, own?.auc, own?.meanIou, own?.f];
    }),
    each.audioToImage,
    each.imageToAudio,
    each.confusedWith?.label,
    each.confusedWith?.share,
  ]);
  return csv(header, rows);
}

/** One row per protocol and map: every figure in percent with its interval, empty where there is none. */
export function protocolsCsv(scores: Evaluation): string {
  const header = [
    "protocol",
    "map",
    ...protocolFigureNames.flatMap((name) => [name, `${name}_low`, `${name}_high`].map(underscored)),
  ];
  const rows = Object.entries(scores.protocols ?? {}).flatMap(([protocol, maps]) =>
    mapNames
      .filter((map) => maps[map] !== undefined)
      .map((map): Cell[] => {
        const figures = new Map(protocolFiguresOf(scores, protocol, map).map((each) => [each.name, each]));
        return [
          protocol,
          map,
          ...protocolFigureNames.flatMap((name) => {
            const own = figures.get(name);
            return [own?.value, own?.interval?.[0], own?.interval?.[1]];
          }),
        ];
      }),
  );
  return csv(header, rows);
}

const underscored = (name: string) => name.replaceAll("-", "_");
