/** The `fmt ` chunk of a WAV file: which of its fields count, and what to do when they contradict each other. */
import { SoundspotError } from "../core/errors.js";

/** How the samples of a WAV file are stored. */
export interface WavFormat {
  /** "other" is a compressed format (ADPCM, µ-law, …), which needs ffmpeg. */
  readonly encoding: "pcm" | "float" | "other";
  /** The number in the file, of the sub-format when the format is extensible. */
  readonly formatTag: number;
  /** Bytes a sample takes in the file. */
  readonly bytesPerSample: number;
  readonly channels: number;
  /** In hertz. */
  readonly sampleRate: number;
}

export const FORMAT_PCM = 1;
const FORMAT_FLOAT = 3;
const FORMAT_EXTENSIBLE = 0xfffe;
/** As much of a `fmt ` chunk as any format has. */
export const FORMAT_BYTES = 40;

/** What follows the number of the format in the sub-format's GUID, of Microsoft's and of ambisonic files. */
const SUBFORMATS = ["000000001000800000aa00389b71", "00002107d3118644c8c1ca000000"];

/** Bytes of a sample that can be read. */
const SIZES: Readonly<Record<number, readonly number[]>> = {
  [FORMAT_PCM]: [1, 2, 3, 4],
  [FORMAT_FLOAT]: [4, 8],
};

/** The fields as they stand in the file. */
interface Fields {
  readonly channels: number;
  readonly sampleRate: number;
  readonly byteRate: number;
  readonly blockAlign: number;
  readonly bits: number;
}

/**
 * Reads a `fmt ` chunk of `size` bytes that begins at `body`.
 *
 * Channels × bits and blockAlign state the same. Where they differ, byteRate decides between them; where it agrees with
 * neither, the header is damaged. The sample rate is taken as it stands: byteRate, which many writers leave at 0,
 * is used for nothing else.
 *
 * @throws {SoundspotError} ERR_MEDIA_DECODE, naming the field that cannot be right.
 */
export function readWavFormat(view: DataView, body: number, size: number, name: string): WavFormat {
  const tag = view.getUint16(body, true);
  const fields: Fields = {
    channels: view.getUint16(body + 2, true),
    sampleRate: view.getUint32(body + 4, true),
    byteRate: view.getUint32(body + 8, true),
    blockAlign: view.getUint16(body + 12, true),
    bits: view.getUint16(body + 14, true),
  };
  const { channels, sampleRate, blockAlign } = fields;
  for (const field of ["channels", "sampleRate"] as const) {
    if (fields[field] === 0) throw damaged(name, `its field ${field} is 0`);
  }
  const formatTag = tag === FORMAT_EXTENSIBLE ? subFormat(view, body, size) : tag;
  const sizes = SIZES[formatTag];
  if (!sizes)
    return { encoding: "other", formatTag, bytesPerSample: blockAlign / channels, channels, sampleRate };
  const bytesPerSample = sampleBytes(fields, name);
  const known = sizes.includes(bytesPerSample);
  const encoding = known ? (formatTag === FORMAT_PCM ? "pcm" : "float") : "other";
  return { encoding, formatTag, bytesPerSample, channels, sampleRate };
}

/** The number that a sub-format's GUID begins with; that of extensible formats itself where the GUID is not known. */
function subFormat(view: DataView, body: number, size: number): number {
  if (size < FORMAT_BYTES) return FORMAT_EXTENSIBLE;
  const bytes = Buffer.from(view.buffer, view.byteOffset + body + 26, 14);
  return SUBFORMATS.includes(bytes.toString("hex")) ? view.getUint16(body + 24, true) : FORMAT_EXTENSIBLE;
}

/** Bytes of a sample: of the container, not the valid bits, which are stored left-aligned. */
function sampleBytes({ channels, sampleRate, byteRate, blockAlign, bits }: Fields, name: string): number {
  const byBits = Math.ceil(bits / 8);
  if (byBits > 0 && blockAlign === channels * byBits) return byBits;
  if (byBits > 0 && byteRate === sampleRate * channels * byBits) return byBits;
  const container = blockAlign / channels;
  // A wider container of few bits, which whole samples of those bits would not fill: not a wrong number of channels.
  const wider = Number.isInteger(container) && container > byBits && blockAlign % byBits !== 0;
  if (wider && byteRate === sampleRate * blockAlign) return container;
  const field = byBits === 0 ? "bitsPerSample" : "blockAlign";
  throw damaged(
    name,
    `its field ${field} contradicts the others: channels ${channels}, bitsPerSample ${bits}, ` +
      `blockAlign ${blockAlign} (channels × bytes a sample), byteRate ${byteRate} (sampleRate × blockAlign)`,
  );
}

function damaged(name: string, how: string): SoundspotError {
  return new SoundspotError("ERR_MEDIA_DECODE", `${name} has a damaged WAV header: ${how}. Export it again.`);
}
