/** TIFF whose samples libvips does not scale as their writers mean them: floating point, 32 bits, CIELAB. */
import sharp, { type Sharp, type SharpOptions } from "sharp";
import type { RawImage } from "../core/types.js";

/** Format of a TIFF's samples, in its first directory. */
interface TiffFields {
  readonly photometric: number;
  readonly bits: number;
  /** 1 unsigned, 2 signed, 3 floating point. */
  readonly format: number;
  /** Where the value of the photometric interpretation stands, in bytes. */
  readonly photometricAt: number;
  readonly littleEndian: boolean;
}

const PHOTOMETRIC = { whiteIsZero: 0, rgb: 2, cielab: 8 } as const;
const UNSIGNED = 1;
const SIGNED = 2;
const FLOAT = 3;

/**
 * Decodes a TIFF of samples that need more than libvips does. Floating-point samples are in [0, 1], sRGB as 8-bit
 * samples / 255 are; where all are whole numbers up to 255 they are taken as these. CIELAB has the white point D50.
 * @returns undefined for every other image
 * @throws {Error} that names the samples that cannot be read, and a form in which they can.
 */
export async function decodeDeepTiff(
  encoded: Uint8Array,
  options: SharpOptions,
  seconds: number,
): Promise<RawImage | undefined> {
  const fields = readTiffFields(encoded);
  if (!fields) return undefined;
  const { photometric, bits, format } = fields;
  const raw = async (source: Sharp, depth: "uchar" | "ushort" | "float" | "int" | "uint") => {
    const { data, info } = await source
      .raw({ depth })
      .timeout({ seconds })
      .toBuffer({ resolveWithObject: true });
    return { bytes: new Uint8Array(data).buffer, ...info };
  };
  if (photometric === PHOTOMETRIC.cielab) {
    const source = sharp(asRgb(encoded, fields), { ...options, ignoreIcc: true });
    const read = {
      8: () => raw(source, "uchar"),
      16: () => raw(source.pipelineColourspace("rgb16").toColourspace("rgb16"), "ushort"),
      32: () => raw(source.pipelineColourspace("scrgb").toColourspace("scrgb"), "float"),
    }[bits];
    if (!read) throw new Error(`it has CIELAB samples of ${bits} bits; save it with 8, 16 or 32`);
    return fromLab(await read(), bits);
  }
  if (format === FLOAT) {
    if (bits !== 32 || photometric === PHOTOMETRIC.whiteIsZero) {
      const kind = bits === 32 ? "where 0 is white" : `of ${bits} bits`;
      throw new Error(`it has floating-point samples ${kind}; save it with 32-bit ones where 0 is black`);
    }
    const source = sharp(encoded, { ...options, ignoreIcc: true });
    const linear = photometric === PHOTOMETRIC.rgb;
    return fromFloat(
      await raw(linear ? source.pipelineColourspace("scrgb").toColourspace("scrgb") : source, "float"),
    );
  }
  if (format === SIGNED && bits !== 32) {
    throw new Error(`it has signed samples of ${bits} bits; save it with unsigned ones`);
  }
  if (bits === 32)
    return fromInt(await raw(sharp(encoded, options), format === SIGNED ? "int" : "uint"), format);
  return undefined;
}

interface Raw {
  readonly bytes: ArrayBuffer;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** 8-bit RGB of `colour`, 0 … 1, over white where there is a fourth channel of opacity. */
function pixels(
  { width, height, channels }: Raw,
  colour: (at: number, to: Float64Array) => void,
  alpha: (at: number) => number,
): RawImage {
  const data = new Uint8Array(width * height * 3);
  const rgb = new Float64Array(3);
  for (let i = 0; i < width * height; i++) {
    const at = i * channels;
    colour(at, rgb);
    const opacity = channels > 3 ? Math.min(1, Math.max(0, alpha(at + 3))) : 1;
    for (let c = 0; c < 3; c++) {
      const value = Math.min(1, Math.max(0, rgb[c] as number));
      data[i * 3 + c] = Math.round(255 * (value * opacity + 1 - opacity));
    }
  }
  return { data, width, height };
}

function fromFloat(raw: Raw): RawImage {
  const values = new Float32Array(raw.bytes);
  let [least, most, whole] = [0, 0, true];
  for (const value of values) {
    if (!Number.isFinite(value)) throw new Error(`it has the sample ${value}; samples must be in [0, 1]`);
    least = Math.min(least, value);
    most = Math.max(most, value);
    whole &&= Number.isInteger(value);
  }
  const scale = most <= 1 ? 1 : whole && most <= 255 ? 255 : 0;
  if (scale === 0 || least < 0) {
    throw new Error(
      `it has floating-point samples from ${least} to ${most}, which must be in [0, 1]; divide them by their largest value`,
    );
  }
  const colour = (at: number, to: Float64Array) => {
    for (let c = 0; c < 3; c++) to[c] = (values[at + c] as number) / scale;
  };
  return pixels(raw, colour, (at) => (values[at] as number) / scale);
}

/** Small values are those of 8 bits, as of a mask or labels. */
function fromInt(raw: Raw, format: number): RawImage {
  const values = format === SIGNED ? new Int32Array(raw.bytes) : new Uint32Array(raw.bytes);
  let [least, most] = [0, 0];
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (format === SIGNED && (least < 0 || most > 255)) {
    throw new Error(
      `it has signed samples of 32 bits from ${least} to ${most}; save it with unsigned ones of 8 or 16`,
    );
  }
  const full = most <= 255 ? 255 : 2 ** 32 - 1;
  const colour = (at: number, to: Float64Array) => {
    for (let c = 0; c < 3; c++) to[c] = (values[at + c] as number) / full;
  };
  return pixels(raw, colour, (at) => (values[at] as number) / full);
}

/** L* is unsigned over its range 0 … 100; a* and b* are signed, in units of 1 or, with 16 bits, of 1/256. */
function fromLab(raw: Raw, bits: number): RawImage {
  const values =
    bits === 8
      ? new Uint8Array(raw.bytes)
      : bits === 16
        ? new Uint16Array(raw.bytes)
        : new Float32Array(raw.bytes);
  const signed = bits === 32 ? values : bits === 8 ? new Int8Array(raw.bytes) : new Int16Array(raw.bytes);
  const full = bits === 32 ? 100 : 2 ** bits - 1;
  const unit = bits === 16 ? 256 : 1;
  const colour = (at: number, to: Float64Array) =>
    labToSrgb(
      ((values[at] as number) * 100) / full,
      (signed[at + 1] as number) / unit,
      (signed[at + 2] as number) / unit,
      to,
    );
  return pixels(raw, colour, (at) => (values[at] as number) / (bits === 32 ? 1 : full));
}

/** White point D50, in XYZ. */
const WHITE = [0.96422, 1, 0.82521] as const;

/** CIELAB to sRGB, with Bradford's adaptation of D50 to D65. */
function labToSrgb(lightness: number, a: number, b: number, to: Float64Array): void {
  const inverse = (t: number) => (t > 6 / 29 ? t ** 3 : 3 * (6 / 29) ** 2 * (t - 4 / 29));
  const f = (lightness + 16) / 116;
  const x = WHITE[0] * inverse(f + a / 500);
  const y = WHITE[1] * inverse(f);
  const z = WHITE[2] * inverse(f - b / 200);
  to[0] = encoded(3.1338561 * x - 1.6168667 * y - 0.4906146 * z);
  to[1] = encoded(-0.9787684 * x + 1.9161415 * y + 0.033454 * z);
  to[2] = encoded(0.0719453 * x - 0.2289914 * y + 1.4052427 * z);
}

/** sRGB's curve. */
function encoded(linear: number): number {
  return linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
}

/** A copy whose header states RGB samples: they are read unchanged. */
function asRgb(encoded: Uint8Array, { photometricAt, littleEndian }: TiffFields): Uint8Array {
  const copy = new Uint8Array(encoded);
  new DataView(copy.buffer).setUint16(photometricAt, PHOTOMETRIC.rgb, littleEndian);
  return copy;
}

/** Nothing where it is no TIFF, or its first directory cannot be read. */
function readTiffFields(bytes: Uint8Array): TiffFields | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const order = view.getUint16(0, false);
    if (order !== 0x4949 && order !== 0x4d4d) return undefined;
    const littleEndian = order === 0x4949;
    const version = view.getUint16(2, littleEndian);
    if (version !== 42 && version !== 43) return undefined;
    const big = version === 43;
    const word = (at: number) =>
      big ? Number(view.getBigUint64(at, littleEndian)) : view.getUint32(at, littleEndian);
    const directory = word(big ? 8 : 4);
    const count = big ? word(directory) : view.getUint16(directory, littleEndian);
    const [first, size, width] = big ? [directory + 8, 20, 8] : [directory + 2, 12, 4];
    let [photometric, photometricAt, bits, format] = [-1, 0, 1, UNSIGNED];
    for (let i = 0; i < Math.min(count, 4096); i++) {
      const at = first + i * size;
      const values = word(at + 4);
      const inline = at + 4 + width;
      const place = values * 2 <= width ? inline : word(inline);
      const tag = view.getUint16(at, littleEndian);
      if (tag === 258) bits = view.getUint16(place, littleEndian);
      if (tag === 262) [photometric, photometricAt] = [view.getUint16(inline, littleEndian), inline];
      if (tag === 339) format = view.getUint16(place, littleEndian);
    }
    return { photometric, photometricAt, bits, format, littleEndian };
  } catch {
    return undefined; // it points outside itself: libvips reports how it is damaged
  }
}
