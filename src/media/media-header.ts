/** What ffmpeg's log reports of an input: its format and its streams. */

/** How the pixels of a video stream are to be read. Absent fields are not stated. */
export interface PixelTags {
  /** "tv" is limited, "pc" full range. */
  readonly range?: "tv" | "pc";
  /** Names of ffmpeg, such as "bt709". */
  readonly matrix?: string;
  readonly primaries?: string;
  readonly transfer?: string;
}

export interface VideoHeader extends PixelTags {
  readonly type: "video";
  /** Of the stream in the file. */
  readonly index: number;
  readonly codec: string;
  readonly isDefault: boolean;
  readonly language?: string;
  readonly title?: string;
  /** Cover art, not moving images. */
  readonly attachedPicture: boolean;
  /** Coded, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Sample aspect ratio: width over height of a pixel. */
  readonly aspect: number;
  readonly pixelFormat: string;
  readonly interlaced: boolean;
  /** Frames a second as declared, where a rate is. */
  readonly declaredRate?: number;
  /** Clockwise, in degrees; not reliable for a mirrored stream. */
  readonly rotation: number;
}

export interface AudioHeader {
  readonly type: "audio";
  readonly index: number;
  readonly codec: string;
  readonly isDefault: boolean;
  readonly language?: string;
  readonly title?: string;
  /** In hertz. */
  readonly sampleRate: number;
  /** As ffmpeg names it, such as "stereo" or "5.1(side)". */
  readonly layout: string;
  readonly channels: number;
}

export interface OtherHeader {
  readonly type: "subtitle" | "data" | "attachment";
  readonly index: number;
  readonly codec: string;
  readonly isDefault: boolean;
  readonly language?: string;
  readonly title?: string;
}

export type StreamHeader = VideoHeader | AudioHeader | OtherHeader;

export interface MediaHeader {
  /** Names of the format, such as "mov,mp4,m4a,3gp,3g2,mj2". */
  readonly format: string;
  /** As stated, in seconds. */
  readonly duration?: number;
  /** First time stamp, in seconds. */
  readonly start?: number;
  readonly streams: readonly StreamHeader[];
}

/** Nothing where ffmpeg could not open the file. */
export function parseHeader(log: string): MediaHeader | undefined {
  const begin = log.search(/^Input #0, /m);
  if (begin < 0) return undefined;
  const text = log.slice(begin).split(/^(?:Output #0|Stream mapping:)/m)[0] ?? "";
  const format = /^Input #0, (.*), from /.exec(text)?.[1] ?? "";
  const clock = /^ *Duration: (\d+):(\d+):([\d.]+)/m.exec(text);
  const duration = clock && Number(clock[1]) * 3600 + Number(clock[2]) * 60 + Number(clock[3]);
  const start = /^ *Duration: .*, start: (-?[\d.]+)/m.exec(text)?.[1];
  const streams: StreamHeader[] = [];
  for (const section of text.split(/^(?=\s*Stream #0:)/m)) {
    const stream = parseStream(section);
    if (stream) streams.push(stream);
  }
  return {
    format,
    ...(duration === null ? {} : { duration }),
    ...(start === undefined ? {} : { start: Number(start) }),
    streams,
  };
}

const STREAM = /^\s*Stream #0:(\d+)(?:\[\w+\])?(?:\(([^)]*)\))?: (\w+): (.*)/;

function parseStream(section: string): StreamHeader | undefined {
  const match = STREAM.exec(section);
  if (!match) return undefined;
  const [, index, language, kind, rest = ""] = match;
  const description = rest.replace(/( \([a-z ]+\))+\s*$/, "");
  const flags = rest.slice(description.length);
  const title = /^\s*title\s*: (.*)$/im.exec(section)?.[1]?.trim();
  const parts = splitOutside(description);
  const common = {
    index: Number(index),
    codec: /^\S+/.exec(parts[0] ?? "")?.[0] ?? "unknown",
    isDefault: flags.includes("(default)"),
    ...(language && language !== "und" ? { language } : {}),
    ...(title ? { title } : {}),
  };
  if (kind === "Video") return videoOf(common, parts, flags, section);
  if (kind === "Audio") return audioOf(common, parts);
  const type = (["subtitle", "data", "attachment"] as const).find((each) => each === kind?.toLowerCase());
  return type && { type, ...common };
}

type Common = Omit<OtherHeader, "type">;

function audioOf(common: Common, parts: readonly string[]): AudioHeader {
  const at = parts.findIndex((part) => /^\d+ Hz$/.test(part));
  const layout = (at >= 0 && parts[at + 1]) || "";
  return {
    type: "audio",
    ...common,
    sampleRate: at < 0 ? 0 : Number.parseInt(parts[at] as string, 10),
    layout,
    channels: channelsOf(layout),
  };
}

const CHANNELS: Readonly<Record<string, number>> = {
  mono: 1,
  stereo: 2,
  downmix: 2,
  quad: 4,
  hexagonal: 6,
  octagonal: 8,
};

function channelsOf(layout: string): number {
  const counted = /^(\d+) channels/.exec(layout) ?? /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(layout);
  if (counted) return counted.slice(1).reduce((sum, each) => sum + Number(each ?? 0), 0);
  return CHANNELS[/^\w+/.exec(layout)?.[0] ?? ""] ?? 0;
}

function videoOf(common: Common, parts: readonly string[], flags: string, section: string): VideoHeader {
  const size = parts.map((part) => /^(\d{1,6})x(\d{1,6})\b/.exec(part)).find((match) => match !== null);
  const pixels = /^(\w+)(?:\((.*)\))?/.exec(parts[1] ?? "");
  const aspect = /SAR (\d+):(\d+)/.exec(parts.join(", "));
  const ratio = aspect ? Number(aspect[1]) / Number(aspect[2]) : 1;
  const rate = /^([\d.]+)(k?) fps$/;
  const declared = parts.map((part) => rate.exec(part)).find((match) => match !== null);
  const tags = (pixels?.[2] ?? "").split(", ");
  return {
    type: "video",
    ...common,
    // Versions before 4.2 do not report it, but give a still image the clock's rate.
    attachedPicture:
      flags.includes("(attached pic)") ||
      (/^(mjpeg|png|bmp|gif|tiff|webp)$/.test(common.codec) && parts.includes("90k tbr")),
    width: Number(size?.[1] ?? 0),
    height: Number(size?.[2] ?? 0),
    aspect: ratio > 0 && Number.isFinite(ratio) ? ratio : 1,
    pixelFormat: pixels?.[1] ?? "unknown",
    interlaced: tags.some((tag) => /^(top|bottom)( coded)? first/.test(tag)),
    ...(declared ? { declaredRate: Number(declared[1]) * (declared[2] ? 1000 : 1) } : {}),
    rotation: rotationIn(section),
    ...colorsIn(tags),
  };
}

function colorsIn(tags: readonly string[]): PixelTags {
  const range = tags.find((tag) => tag === "tv" || tag === "pc") as "tv" | "pc" | undefined;
  const known =
    /^(bt|smpte|iec|arib|ycgco|fcc|gbr|linear|log|film|gamma|unknown|reserved|ebu|jedec|ictcp|chroma)/;
  const colors = tags.find((tag) => known.test(tag))?.split("/") ?? [];
  const [matrix, primaries = matrix, transfer = matrix] = colors.map((name) =>
    /^(unknown|reserved)/.test(name) ? undefined : name,
  );
  return {
    ...(range ? { range } : {}),
    ...(matrix ? { matrix } : {}),
    ...(primaries ? { primaries } : {}),
    ...(transfer ? { transfer } : {}),
  };
}

function rotationIn(section: string): number {
  const counterclockwise = /rotation of (-?[\d.]+) degrees/.exec(section)?.[1];
  const clockwise = /^\s*rotate\s*: (-?\d+)/m.exec(section)?.[1];
  const degrees = counterclockwise === undefined ? Number(clockwise ?? 0) : -Number(counterclockwise);
  return (((Math.round(degrees / 90) * 90) % 360) + 360) % 360;
}

/** Splits at commas that are in no brackets. */
function splitOutside(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = "";
  for (const char of text) {
    if (char === "(" || char === "[") depth++;
    if (char === ")" || char === "]") depth--;
    if (char === "," && depth === 0) {
      parts.push(part.trim());
      part = "";
    } else part += char;
  }
  return [...parts, part.trim()];
}
