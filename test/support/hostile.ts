/** Makes files that lie, are cut off or ask for too much: each with what it is given to and the code that it must get. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { crc32, deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";
import type { ErrorCode } from "../../src/core/errors.js";
import { tarEnd, tarEntry } from "../../src/media/tar.js";
import { encodeWav } from "../../src/media/wav.js";
import { legacyFile } from "./legacy-file.js";

/** What takes such a file. */
export type Taker =
  | "image"
  | "audio"
  | "video"
  | "checkpoint"
  | "weights"
  | "shards"
  | "shard index"
  | "manifest"
  | "vggss"
  | "is3"
  | "kaist list"
  | "flickr"
  | "settings"
  | "search index";

export interface HostileFile {
  readonly taker: Taker;
  readonly path: string;
  readonly code: ErrorCode;
  /** The field that the message names where it does not name the file. */
  readonly field?: string;
}

export interface Originals {
  /** A checkpoint of the tiny model. */
  readonly model: string;
  /** A search index without items; none where LanceDB is missing. */
  readonly index?: string;
  /** Where a playlist would lead: audio that must not be decoded. */
  readonly secret: string;
  /** What listens on this machine. */
  readonly url: string;
}

const text = (value: string) => Buffer.from(value, "latin1");
const repeated = (value: string, count: number) => Buffer.from(value.repeat(count));

/** A number's bytes, big-endian. */
function be(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

/** The same, little-endian. */
function le(value: number, bytes: number): Buffer {
  return be(value, bytes).reverse();
}

function pngChunk(type: string, body: Buffer): Buffer {
  const named = Buffer.concat([text(type), body]);
  return Buffer.concat([be(body.length, 4), named, be(crc32(named), 4)]);
}

/** Grey of one bit a pixel. */
function png(width: number, height: number, rows: Buffer): Buffer {
  const header = Buffer.concat([be(width, 4), be(height, 4), Buffer.from([1, 0, 0, 0, 0])]);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const chunks = [pngChunk("IHDR", header), pngChunk("IDAT", deflateSync(rows)), pngChunk("IEND", text(""))];
  return Buffer.concat([signature, ...chunks]);
}

/** A TIFF of one strip at `offset`, which may be anywhere. */
function tiff(width: number, height: number, offset: number, bytes: number): Buffer {
  const tags: [number, number][] = [
    ...([
      [256, width],
      [257, height],
      [258, 8],
      [259, 1],
      [262, 1],
    ] as [number, number][]),
    ...([
      [273, offset],
      [277, 1],
      [278, height],
      [279, bytes],
    ] as [number, number][]),
  ];
  const entries = tags.map(([tag, value]) => Buffer.concat([le(tag, 2), le(4, 2), le(1, 4), le(value, 4)]));
  return Buffer.concat([text("II*\0"), le(8, 4), le(tags.length, 2), ...entries, le(0, 4), Buffer.alloc(64)]);
}

/** A WAV of any header: format tag, channels, rate, bits. */
function wav(
  [tag, channels, rate, bits]: readonly [number, number, number, number],
  data: Buffer,
  stated = data.length,
): Buffer {
  const block = (channels * bits) / 8;
  const format = [le(tag, 2), le(channels, 2), le(rate, 4), le(Math.min(rate * block, 2 ** 32 - 1), 4)];
  const head = [text("RIFF"), le(36 + data.length, 4), text("WAVEfmt "), le(16, 4), ...format, le(block, 2)];
  return Buffer.concat([...head, le(bits, 2), text("data"), le(stated, 4), data]);
}

function floats(...values: number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}

function box(type: string, ...bodies: Buffer[]): Buffer {
  const body = Buffer.concat(bodies);
  return Buffer.concat([be(8 + body.length, 4), text(type), body]);
}

/** Puts other numbers at `at` bytes past the first place of a name in a file. */
function patched(
  bytes: Buffer,
  name: string,
  changes: readonly (readonly [at: number, value: Buffer])[],
): Buffer {
  const copy = Buffer.from(bytes);
  const place = copy.indexOf(name, 0, "latin1");
  if (place < 0) throw new Error(`There is no ${name}.`);
  for (const [at, value] of changes) value.copy(copy, place + at);
  return copy;
}

/** A checkpoint of this header, as text or JSON, and so many zeros. */
function safetensors(header: unknown, zeros = 0, stated?: bigint): Buffer {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(stated ?? BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(zeros)]);
}

/** A zip of stored or deflated entries, whose stated sizes may lie. */
function zip(entries: readonly { name: string; data: Buffer; deflate?: boolean; stated?: number }[]): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, data, deflate = false, stated = data.length } of entries) {
    const packed = deflate ? deflateSync(data).subarray(2, -4) : data;
    const method = le(deflate ? 8 : 0, 2);
    const sizes = [
      le(crc32(data), 4),
      le(deflate ? packed.length : stated, 4),
      le(stated, 4),
      le(name.length, 2),
    ];
    const common = [le(20, 2), le(0, 2), method, le(0, 4), ...sizes, le(0, 2)];
    const file = Buffer.concat([text("PK\x03\x04"), ...common, text(name), packed]);
    directory.push(
      Buffer.concat([text("PK\x01\x02"), le(20, 2), ...common, Buffer.alloc(10), le(at, 4), text(name)]),
    );
    files.push(file);
    at += file.length;
  }
  const listed = Buffer.concat(directory);
  const counts = [
    le(0, 4),
    le(entries.length, 2),
    le(entries.length, 2),
    le(listed.length, 4),
    le(at, 4),
    le(0, 2),
  ];
  return Buffer.concat([...files, listed, text("PK\x05\x06"), ...counts]);
}

/** A pth whose pickle is this text of opcodes. */
function pth(
  pickle: string,
  extra: { name: string; data: Buffer; deflate?: boolean; stated?: number }[] = [],
) {
  const version = { name: "archive/version", data: text("3\n") };
  return zip([{ name: "archive/data.pkl", data: text(pickle) }, version, ...extra]);
}

/** An entry with other values in its header, with its checksum corrected. */
function tarWith(entry: Uint8Array, changes: readonly (readonly [at: number, value: string])[]): Buffer {
  const copy = Buffer.from(entry);
  for (const [at, value] of changes) copy.write(value, at, "latin1");
  copy.fill(0x20, 148, 156);
  const sum = copy.subarray(0, 512).reduce((all, byte) => all + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return copy;
}

/** A pax header that says `key=value` of the next entry. */
function pax(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length++;
  return tarWith(tarEntry("pax", text(`${length}${rest}`)), [[156, "x"]]);
}

/** Makes all of them below `folder`, and returns them in the order in which they were made. */
export async function makeHostileFiles(
  folder: string,
  ffmpeg: string,
  { model, index, secret, url }: Originals,
): Promise<HostileFile[]> {
  const made: HostileFile[] = [];
  const file = (taker: Taker, name: string, content: Uint8Array | string, code: ErrorCode) => {
    const path = join(folder, taker.replace(" ", "-"), name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    made.push({ taker, path, code });
    return path;
  };
  const run = (...args: string[]) => execFileSync(ffmpeg, ["-v", "error", "-y", ...args]);

  // Pictures.
  const image = (name: string, content: Uint8Array | string, code: ErrorCode = "ERR_MEDIA_DECODE") =>
    file("image", name, content, code);
  const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251);
  const photo = sharp(noise, { raw: { width: 64, height: 64, channels: 3 } });
  for (const format of ["jpeg", "png", "webp", "gif", "tiff", "avif"] as const) {
    const whole = await photo.clone().toFormat(format).toBuffer();
    image(`cut.${format}`, whole.subarray(0, whole.length >> 1));
    image(`head.${format}`, whole.subarray(0, 24));
  }
  const good = await photo.clone().png().toBuffer();
  image("damaged-data.png", patched(good, "IDAT", [[20, Buffer.alloc(600, 0xff)]]));
  image("empty.jpg", "", "ERR_FILE_EMPTY");
  image("text.jpg", repeated("this is no image\n", 50));
  image("zero-size.png", png(0, 0, Buffer.alloc(0)));
  image("bomb.png", png(20_000, 20_000, Buffer.alloc(20_000 * 2501)));
  image("promise.png", png(2 ** 31 - 1, 2 ** 31 - 1, Buffer.alloc(100)));
  const jpeg = await photo.clone().jpeg().toBuffer();
  image(
    "promise.jpg",
    patched(jpeg, "\xff\xc0", [
      [5, be(65_500, 2)],
      [7, be(65_500, 2)],
    ]),
  );
  const extended = [text("VP8X"), le(10, 4), le(0, 4), le(16_383, 3), le(16_383, 3)];
  const webp = Buffer.concat([
    text("WEBP"),
    ...extended,
    (await photo.clone().webp().toBuffer()).subarray(12),
  ]);
  image("promise.webp", Buffer.concat([text("RIFF"), le(webp.length, 4), webp]));
  image("promise.tiff", tiff(100_000, 100_000, 8, 64));
  image("strip-outside.tiff", tiff(64, 64, 2 ** 31, 4096));
  image("brands-only.avif", box("ftyp", text("avif"), be(0, 4), text("avifmif1")));
  image(
    "nothing-but-boxes.avif",
    Buffer.concat([box("ftyp", text("avif"), be(0, 4)), box("meta", be(0, 4))]),
  );
  image("other.pdf", text("%PDF-1.4\n1 0 obj <</Type/Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n"));
  image("other.ps", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n");
  image(
    "other.mvg",
    `push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'url(${url}/mvg)'\npop graphic-context`,
  );
  image("other.bmp", Buffer.concat([text("BM"), le(58, 4), le(0, 4), le(54, 4), Buffer.alloc(44)]));
  image("other.vips", Buffer.concat([Buffer.from([0x08, 0xf2, 0xa6, 0xb6]), Buffer.alloc(60)]));
  const svg = (size: string, body: string, before = "") =>
    `<?xml version="1.0"?>${before}<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ${size}>${body}</svg>`;
  image("broken.svg", svg('width="9" height="9"', "<rect"));
  image("vast.svg", svg('width="2000000" height="2000000"', "<rect width='9' height='9'/>"));
  image("sizeless.svg", svg('width="0" height="0"', ""));
  const laughs = Array.from({ length: 12 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join(
    "",
  );
  const entities = `<!DOCTYPE svg [<!ENTITY l0 "ha">${laughs}]>`;
  image("laughs.svg", svg('width="9" height="9"', "<text>&l12;</text>", entities));
  mkdirSync(join(folder, "image", "folder.jpg"));
  made.push({ taker: "image", path: join(folder, "image", "folder.jpg"), code: "ERR_FILE_NOT_FOUND" });
  if (process.platform !== "win32") {
    const special = (taker: Taker, name: string, make: (path: string) => void) => {
      const path = join(folder, taker, name);
      mkdirSync(dirname(path), { recursive: true });
      make(path);
      made.push({ taker, path, code: "ERR_FILE_NOT_FOUND" });
    };
    special("image", "circle.jpg", (path) => symlinkSync("circle.jpg", path));
    special("image", "endless.jpg", (path) => symlinkSync("/dev/zero", path));
    for (const taker of ["image", "audio", "video"] as const) {
      special(taker, "pipe.bin", (path) => execFileSync("mkfifo", [path]));
    }
  }

  // Sounds.
  const audio = (name: string, content: Uint8Array | string, code: ErrorCode = "ERR_MEDIA_DECODE") =>
    file("audio", name, content, code);
  const tone = Float32Array.from({ length: 8000 }, (_, i) => 0.5 * Math.sin(i / 5));
  const toneWav = Buffer.from(encodeWav({ samples: tone, sampleRate: 16_000 }));
  audio("empty.wav", "", "ERR_FILE_EMPTY");
  audio("head.wav", toneWav.subarray(0, 20));
  audio("no-data.wav", toneWav.subarray(0, 36));
  audio("no-channels.wav", wav([1, 0, 16_000, 16], Buffer.alloc(64)));
  audio("no-rate.wav", wav([1, 1, 0, 16], Buffer.alloc(64)));
  audio("mad-rate.wav", wav([1, 1, 2 ** 32 - 1, 16], Buffer.alloc(64)));
  audio("unknown-format.wav", wav([0x7777, 1, 16_000, 16], Buffer.alloc(64)));
  audio("no-samples.wav", wav([1, 1, 16_000, 16], Buffer.alloc(0)), "ERR_AUDIO_EMPTY");
  audio("nan.wav", wav([3, 1, 16_000, 32], floats(0, Number.NaN, 0)), "ERR_AUDIO_NOT_FINITE");
  audio("infinity.wav", wav([3, 1, 16_000, 32], floats(0, Number.NEGATIVE_INFINITY)), "ERR_AUDIO_NOT_FINITE");
  audio(
    "chunk-past-end.wav",
    Buffer.concat([toneWav.subarray(0, 12), text("LIST"), le(2 ** 31, 4), toneWav.subarray(12)]),
  );
  writeFileSync(join(folder, "tone.wav"), toneWav);
  for (const ending of ["flac", "ogg", "mp3", "m4a"]) {
    const path = join(folder, `tone.${ending}`);
    run("-i", join(folder, "tone.wav"), path);
    audio(`head.${ending}`, readFileSync(path).subarray(0, 40));
  }
  audio("no-index.m4a", readFileSync(join(folder, "tone.m4a")).subarray(0, 200));
  audio(
    "junk.mp3",
    Uint8Array.from({ length: 4096 }, (_, i) => (i * 7919) % 251),
  );
  audio("text.mp3", repeated("no audio at all\n", 50));
  audio("image.mp3", good, "ERR_NO_AUDIO");

  // Playlists under all names: none is followed.
  const lists: Record<string, string> = {
    hls: `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n${secret}\n#EXTINF:1,\n${url}/hls.ts\n#EXT-X-ENDLIST\n`,
    concat: `ffconcat version 1.0\nfile '${secret}'\n`,
    "concat-http": `ffconcat version 1.0\nfile '${url}/concat.wav'\n`,
    dash: `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/wav"><Representation id="a" bandwidth="1"><BaseURL>${url}/dash.wav</BaseURL></Representation></AdaptationSet></Period></MPD>`,
    sdp: `v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio ${new URL(url).port} RTP/AVP/TCP 0\n`,
    pls: `[playlist]\nFile1=${secret}\nNumberOfEntries=1\n`,
    m3u: `#EXTM3U\n#EXTINF:1,a\n${secret}\n`,
    asx: `<asx version="3.0"><entry><ref href="${url}/asx.wav"/></entry></asx>`,
    avs: `WavSource("${secret}")\n`,
    ffmetadata: ";FFMETADATA1\ntitle=a\n",
    srt: "1\n00:00:00,000 --> 00:00:01,000\nwords\n",
    rtsp: `RTSPtext\nrtsp://${new URL(url).host}/a\n`,
  };
  for (const [name, content] of Object.entries(lists)) {
    audio(`${name}.mp3`, content);
    file("video", `${name}.mp4`, content, "ERR_MEDIA_DECODE");
  }

  // Videos.
  const clip = join(folder, "clip.mp4");
  const grey = ["-f", "lavfi", "-i", "color=gray:s=32x32:r=5:d=1"];
  run(...grey, "-i", join(folder, "tone.wav"), "-c:v", "mpeg4", clip);
  const mp4 = readFileSync(clip);
  const video = (name: string, content: Uint8Array | string, code: ErrorCode = "ERR_MEDIA_DECODE") =>
    file("video", name, content, code);
  video("empty.mp4", "", "ERR_FILE_EMPTY");
  video("cut.mp4", mp4.subarray(0, mp4.length >> 1));
  video("head.mp4", mp4.subarray(0, 40));
  video("text.mp4", repeated("no video at all\n", 50));
  video("wav.mp4", toneWav);
  // The size is 24 bytes past the name in the sample entry; this codec has it nowhere else.
  run(
    ...grey,
    "-i",
    join(folder, "tone.wav"),
    "-c:v",
    "qtrle",
    "-c:a",
    "pcm_s16le",
    join(folder, "runs.mov"),
  );
  const vast = [
    [28, be(16_384, 2)],
    [30, be(16_384, 2)],
  ] as const;
  video("promise.mov", patched(readFileSync(join(folder, "runs.mov")), "rle ", vast));
  // Version and flags, two times, the ticks in a second, then the duration.
  video(
    "century.mp4",
    patched(mp4, "mvhd", [
      [16, be(1, 4)],
      [20, be(2 ** 31 - 1, 4)],
    ]),
  );
  run("-i", clip, "-an", "-c", "copy", join(folder, "silent.mp4"));
  video("silent.mp4", readFileSync(join(folder, "silent.mp4")), "ERR_NO_AUDIO");
  run("-f", "lavfi", "-i", "testsrc=s=16x16:d=1:r=5", "-loop", "0", join(folder, "endless.gif"));
  video("endless.gif", readFileSync(join(folder, "endless.gif")), "ERR_NO_AUDIO");
  const mov = join(folder, "clip.mov");
  run("-i", clip, "-c", "copy", mov);
  // A media reference to another file in place of "in this file".
  const alias = text(secret.padEnd(4, "\0"));
  const reference = box("alis", be(0, 4), be(alias.length, 4), alias);
  video(
    "reference.mov",
    Buffer.concat([
      box("ftyp", text("qt  "), be(0, 4), text("qt  ")),
      box(
        "moov",
        box("trak", box("mdia", box("minf", box("dinf", box("dref", be(0, 4), be(1, 4), reference))))),
      ),
    ]),
  );
  run("-i", clip, "-c:v", "mjpeg", "-c:a", "pcm_s16le", join(folder, "clip.avi"));
  const avi = readFileSync(join(folder, "clip.avi"));
  video("head.avi", avi.subarray(0, 200));
  run("-i", clip, "-c:v", "mpeg4", "-c:a", "aac", join(folder, "clip.mkv"));
  video("head.mkv", readFileSync(join(folder, "clip.mkv")).subarray(0, 100));

  // Checkpoints.
  const weights = readFileSync(model);
  const corrupt = "ERR_CHECKPOINT_CORRUPT";
  const tensor = (offsets: [number, number], shape: number[] = [1], dtype = "F32") => ({
    dtype,
    shape,
    data_offsets: offsets,
  });
  const checkpoint = (name: string, content: Uint8Array | string, code: ErrorCode = corrupt) =>
    file("checkpoint", `${name}.safetensors`, content, code);
  checkpoint("empty", "", "ERR_FILE_EMPTY");
  checkpoint("cut", weights.subarray(0, weights.length - 1000));
  checkpoint("head", weights.subarray(0, 7));
  checkpoint("vast-header", safetensors({}, 0, 2n ** 63n));
  checkpoint("header-past-end", safetensors({}, 0, 1000n));
  checkpoint("no-json", safetensors("{{{{"));
  checkpoint("deep", safetensors(`${"[".repeat(200_000)}`));
  checkpoint("list", safetensors([]));
  checkpoint("past-end", safetensors({ a: tensor([0, 4]), b: tensor([4, 400], [99]) }, 8));
  checkpoint("overlapping", safetensors({ a: tensor([0, 4]), b: tensor([0, 4]) }, 8));
  checkpoint("backwards", safetensors({ a: tensor([4, 0]) }, 8));
  checkpoint("negative", safetensors({ a: tensor([0, 4], [-1]) }, 4));
  checkpoint("overflow", safetensors({ a: tensor([0, 4], [2 ** 32, 2 ** 32]) }, 4));
  checkpoint("misfit", safetensors({ a: tensor([0, 8], [1]) }, 8));
  checkpoint("unknown-type", safetensors({ a: tensor([0, 4], [1], "Q7") }, 4));
  checkpoint(
    "twice",
    safetensors(
      '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      4,
    ),
  );
  const torch = (name: string, content: Uint8Array | string, code: ErrorCode = corrupt) =>
    file("weights", `${name}.pth`, content, code);
  torch("empty", "", "ERR_FILE_EMPTY");
  torch("text", repeated("no weights\n", 50));
  torch("system", pth("cposix\nsystem\n(S'touch hacked'\ntR."));
  torch("eval", pth("c__builtin__\neval\n(S'1/0'\ntR."));
  torch("raw-pickle", "cposix\nsystem\n(S'touch hacked'\ntR.");
  torch("endless-memo", pth(`${"(".repeat(100_000)}.`));
  torch("no-stop", pth("}"));
  torch("no-pickle", zip([{ name: "archive/version", data: text("3\n") }]));
  torch("bomb", zip([{ name: "archive/data.pkl", data: Buffer.alloc(2 ** 27), deflate: true }]));
  torch("stated-size", zip([{ name: "archive/data.pkl", data: text("}."), stated: 2 ** 31 }]));
  const old = legacyFile({
    storages: [{ key: "1", type: "Float", values: [1, 2, 3, 4] }],
    tensors: [{ name: "conv1.weight", storage: 0, offset: 0, shape: [4], strides: [1] }],
  });
  const object = old.indexOf("ccollections\nOrderedDict\n", 0, "latin1");
  const oldWith = (code: string) => Buffer.concat([old.subarray(0, object), text(`${code}.\x80\x02].`)]);
  torch("old-cut", old.subarray(0, old.length - 5));
  torch("old-system", oldWith("cposix\nsystem\nU\x0ctouch hacked\x85R"));
  torch("old-endless-marks", oldWith("(".repeat(100_000)));
  torch("old-vast-text", oldWith("T\xff\xff\xff\x7f"));
  torch("old-vast-data", patched(old, "cpu", [[3, text("J\xff\xff\xff\x7f")]]));
  torch("old-tar", Buffer.concat([tarEntry("sys_info", text("\x80\x02}.")), tarEnd]));
  const whole = pth("}.");
  torch("cut", whole.subarray(0, whole.length - 10));

  // Archives.
  const pair = [tarEntry("a.jpg", jpeg), tarEntry("a.wav", toneWav)] as const;
  const shards = (name: string, content: Uint8Array | string, code: ErrorCode = "ERR_DATASET") =>
    file("shards", name, content, code);
  shards("empty.tar", "");
  shards("text.tar", repeated("no archive at all\n", 50));
  shards("cut.tar", Buffer.concat(pair).subarray(0, 700));
  shards("end-only.tar", tarEnd);
  shards("vast-size.tar", Buffer.concat([tarWith(pair[0], [[124, "77777777777\0"]]), tarEnd]));
  shards(
    "binary-size.tar",
    Buffer.concat([tarWith(pair[0], [[124, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]]), tarEnd]),
  );
  shards("pax-size.tar", Buffer.concat([pax("size", "99999999999999"), ...pair, tarEnd]));
  shards("pax-no-size.tar", Buffer.concat([pax("size", "-1"), ...pair, tarEnd]));
  shards(
    "pax-no-length.tar",
    Buffer.concat([tarWith(tarEntry("pax", text("99 path=a\n")), [[156, "x"]]), ...pair, tarEnd]),
  );
  shards("pax-sparse.tar", Buffer.concat([pax("GNU.sparse.size", "99999999999"), ...pair, tarEnd]));
  shards("sparse.tar", Buffer.concat([...pair.map((entry) => tarWith(entry, [[156, "S"]])), tarEnd]));
  for (const [kind, name] of [
    ["1", "hard"],
    ["2", "symbolic"],
    ["3", "device"],
    ["6", "pipe"],
  ] as const) {
    const entry = (of: string) =>
      tarWith(tarEntry(of, text("")), [
        [156, kind],
        [157, secret.slice(0, 99)],
      ]);
    shards(`${name}.tar`, Buffer.concat([entry("a.jpg"), entry("a.wav"), tarEnd]));
  }
  shards("checksum.tar", Buffer.concat([Buffer.from(pair[0]).fill(0x41, 0, 5), pair[1], tarEnd]));
  shards("cut.tar.gz", gzipSync(Buffer.concat(pair)).subarray(0, 100));
  shards("text.tar.gz", gzipSync(repeated("no archive at all\n", 50)));
  shards("head.tgz", Buffer.from([0x1f, 0x8b, 8, 0, 0, 0]));
  const oversized = 2 ** 28 + 2 ** 20;
  const large = tarWith(tarEntry("a.jpg", text("")), [[124, `${oversized.toString(8).padStart(11, "0")}\0`]]);
  const bomb = Buffer.concat([large.subarray(0, 512), Buffer.alloc(oversized), pair[1], tarEnd]);
  shards("bomb.tar.gz", gzipSync(bomb, { level: 1 }));
  shards("bad-image.tar", Buffer.concat([tarEntry("a.jpg", text("x".repeat(99))), pair[1], tarEnd]));
  shards("bad-json.tar", Buffer.concat([...pair, tarEntry("a.json", text("{")), tarEnd]));
  const listed = (shardlist: unknown) => JSON.stringify({ wids_version: 1, shardlist });
  const shardIndex = (name: string, content: string) =>
    file("shard index", `${name}.json`, content, "ERR_DATASET");
  shardIndex("no-json", "{");
  shardIndex("no-shards", listed([]));
  shardIndex("negative", listed([{ url: "a.tar", nsamples: -1 }]));
  shardIndex("wrong-type", listed({ url: "a.tar" }));

  // Lists and annotations.
  const manifest = (name: string, content: string, code: ErrorCode = "ERR_DATASET") =>
    file("manifest", name, content, code);
  manifest("empty.jsonl", "", "ERR_FILE_EMPTY");
  manifest("no-json.jsonl", '{"image": "a.jpg", \n');
  manifest("deep.jsonl", "[".repeat(100_000));
  manifest("wrong-type.jsonl", '{"image": 7, "audio": {}}\n');
  manifest("mad-start.jsonl", '{"video": "a.mp4", "start": -1e999}\n');
  manifest("missing-files.jsonl", '{"image": "../../none.jpg", "audio": "none.wav"}\n');
  manifest("nul.jsonl", '{"image": "a\\u0000.jpg", "audio": "b.wav"}\n');
  manifest("quote.csv", 'image,audio\n"a.jpg,b.wav\n');
  manifest("ragged.csv", "image,audio\na.jpg,b.wav,c,d\n");
  manifest("boxes.csv", 'image,audio,boxes\na.jpg,b.wav,"[[1,2,3]]"\n');
  manifest("binary.csv", jpeg.toString("latin1"));
  manifest("list.yaml", "image: a.jpg\n");
  const annotations = (name: string, content: string) =>
    file("vggss", `${name}.json`, content, "ERR_DATASET");
  annotations("no-json", "[{");
  annotations("wrong-type", '[{"file": "a", "class": "b", "bbox": "c"}]');
  annotations("number", "1e400");
  annotations("mad-box", '[{"file": "a", "class": "b", "bbox": [[null, 0, 0, 0]]}]');
  file("is3", "prototype.json", '{"__proto__": {"gt_box": [1, 2]}, "constructor": 7}', "ERR_DATASET");
  file("is3", "wrong-type.json", '[{"image": 5}]', "ERR_DATASET");
  file(
    "kaist list",
    "kaist-prototype.json",
    '[{"__proto__": {"gt_box": [1, 2]}, "constructor": 7}]',
    "ERR_DATASET",
  );
  file(
    "kaist list",
    "kaist-nan.json",
    '[{"image": "a", "audio": "a", "gt_box": [NaN, 0, 0, 0]}]',
    "ERR_DATASET",
  );
  file(
    "kaist list",
    "kaist-out.json",
    '[{"image": "../a", "audio": "a", "gt_box": [0, 0, 9, 9]}]',
    "ERR_DATASET",
  );
  const xml: Record<string, string> = {
    broken: "<annotation><object>",
    crossed: "<a><b></a></b>",
    entity: `<!DOCTYPE a [<!ENTITY x SYSTEM "file://${secret}">]><a>&x;</a>`,
    laughs: `<!DOCTYPE a [<!ENTITY l0 "ha">${laughs}]><a>&l12;</a>`,
    "no-corner": "<annotation><object><bbox><xmin>1</xmin></bbox></object></annotation>",
    "mad-corner": "<a><bbox><xmin>NaN</xmin><ymin>1</ymin><xmax>2</xmax><ymax>3</ymax></bbox></a>",
  };
  for (const [name, content] of Object.entries(xml)) file("flickr", `${name}.xml`, content, "ERR_DATASET");
  const settings = (name: string, content: string, field?: string) => {
    const path = file("settings", `${name}.yaml`, content, "ERR_CONFIG");
    if (field !== undefined) made[made.length - 1] = { taker: "settings", path, code: "ERR_CONFIG", field };
  };
  settings("broken", "train: [1, 2\n");
  settings("list", "- 1\n- 2\n");
  settings("unknown", "exec: rm\n");
  const laughing = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
  settings("laughs", `a0: &a0 [x]\n${laughing.join("\n")}\n`);
  settings("circle", "train: &a\n  losses: *a\n", "train.losses");
  settings("tag", "train: !!js/function 'function () { return 1 }'\n", "train");
  settings("preset", "preset: __proto__\n");

  // Search indexes.
  if (index) {
    const search = (name: string, content: string) => {
      const path = join(folder, "search-index", name);
      cpSync(index, path, { recursive: true });
      writeFileSync(join(path, "index.json"), content);
      made.push({ taker: "search index", path, code: "ERR_INDEX_CORRUPT" });
    };
    const description = JSON.parse(readFileSync(join(index, "index.json"), "utf8")) as object;
    search("no-json", "{");
    search("other-version", JSON.stringify({ ...description, version: 99 }));
    search("mad-dimensions", JSON.stringify({ ...description, dimensions: -1 }));
    const damage = (name: string, work: (tables: string) => void) => {
      search(name, JSON.stringify(description));
      work(join(folder, "search-index", name, "tables"));
    };
    damage("no-tables", (tables) => rmSync(tables, { recursive: true }));
    damage("junk-in-tables", (tables) => {
      for (const entry of readdirSync(tables, { recursive: true, withFileTypes: true })) {
        if (entry.isFile()) writeFileSync(join(entry.parentPath, entry.name), "junk");
      }
    });
    const bare = join(folder, "search-index", "no-index");
    mkdirSync(bare);
    made.push({ taker: "search index", path: bare, code: "ERR_FILE_NOT_FOUND" });
  }
  return made;
}
