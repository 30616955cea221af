/** Scores as CSV (RFC 4180), one row per sample or per class. */
import { type Evaluation, mapNames, type SampleScore } from "../evaluation/evaluate.js";

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

/** One row per sample: id, label, confidence, area, cIoU, IoU and F of every map in [0, 1], and retrieval ranks. */
export function samplesCsv(scores: Evaluation): string {
  const maps = mapsIn(scores);
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
