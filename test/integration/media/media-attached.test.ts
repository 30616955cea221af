/** Streams, geometry and colours of real files. */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RawImage } from "../../../src/core/types.js";
import { Model, openMedia, renderVideo } from "../../../src/index.js";
import { standardColor } from "../../../src/media/color-lookup.js";
import { inputArgs, runFfmpeg } from "../../../src/media/ffmpeg.js";
import { parseHeader, type VideoHeader } from "../../../src/media/media-header.js";
import { ffmpeg, fixture, level, toneOf, usedBy } from "../../support/media.js";
import { setMatrix } from "../../support/random-media.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-attached-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);
let model: Model;
beforeAll(async () => {
  model = await Model.create(tiny, { seed: 3 });
});

async function used(video: string, at: number, audioTrack?: number) {
  const input = { video, at, ...(audioTrack === undefined ? {} : { audioTrack }) };
  const [sample] = await usedBy(() => model.localize(input));
  if (!sample?.audio) throw new Error("nothing was used");
  return { ...sample, audio: sample.audio };
}

async function frameOf(path: string, at = 0): Promise<RawImage> {
  await using media = await openMedia(path);
  return (await media.frameAt(at)).image;
}

async function videoHeader(path: string): Promise<VideoHeader> {
  const { stderr } = await runFfmpeg(inputArgs(path));
  return parseHeader(stderr)?.streams.find(({ type }) => type === "video") as VideoHeader;
}

const pixel = ({ data, width }: RawImage, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3),
];

/** Largest difference of two colours. */
const apart = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));

describe("streams", () => {
  it("are the moving images, not the cover", async () => {
    const { image } = await used(fixture("cover_udta_first.mp4"), 2);
    expect(image).toMatchObject({ width: 64, height: 48 });
    expect(level(image)).toBeLessThan(20);
    await using media = await openMedia(fixture("cover_udta_first.mp4"));
    expect(media.streams.map(({ type, attachedPicture, used }) => [type, attachedPicture, used])).toEqual([
      ["video", true, false],
      ["video", false, true],
      ["audio", undefined, true],
    ]);
  });

  it("are of the audio the default track, or the one that is asked for", async () => {
    const path = fixture("two_tracks.mp4");
    const tone = async (track?: number) => {
      const { audio } = await used(path, 3, track);
      return toneOf(audio.samples, audio.sampleRate);
    };
    expect(await tone()).toBeCloseTo(2000, -1);
    expect(await tone(0)).toBeCloseTo(440, -1);
    expect(await tone(1)).toBeCloseTo(2000, -1);
    await expect(tone(2)).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringContaining("audio tracks 0 to 1"),
    });
    const output = file("track0.mp4");
    await renderVideo(model, path, { output, audioTrack: 0, to: 2, minConfidence: 1 });
    await using rendered = await openMedia(output);
    const audio = await rendered.audio({ from: 0.5, to: 1.5 });
    expect(toneOf(audio.samples, audio.sampleRate)).toBeCloseTo(440, -1);
  });
});

describe("geometry", () => {
  it("has square pixels, in frames and in what is rendered", async () => {
    const path = fixture("sar.mp4");
    const spot = await model.localize({ video: path, at: 0.2 });
    expect([spot.width, spot.height]).toEqual([524, 288]);
    const output = file("sar-out.mp4");
    await renderVideo(model, path, { output, minConfidence: 1 });
    const { width, height, aspect } = await videoHeader(output);
    expect((width * aspect) / height).toBeCloseTo((360 * 16) / 11 / 288, 2);
  });

  /** Of a matrix a, b, c, d: where the pixel that is shown at x, y lies in the coded frame. */
  const origin = ([a, b, c, d]: readonly number[], { width, height }: RawImage, x: number, y: number) => {
    const [w, h] = a === 0 ? [height, width] : [width, height];
    // The inverse is the transpose; moved to positive places.
    const place = (u: number, v: number, size: number) => (u + v < 0 ? size - 1 : 0);
    return [
      (a as number) * x + (b as number) * y + place(a as number, b as number, w),
      (c as number) * x + (d as number) * y + place(c as number, d as number, h),
    ] as const;
  };

  const matrices = [
    [1, 0, 0, 1],
    [0, 1, -1, 0],
    [-1, 0, 0, -1],
    [0, -1, 1, 0],
    [-1, 0, 0, 1],
    [1, 0, 0, -1],
    [0, 1, 1, 0],
    [0, -1, -1, 0],
  ] as const;

  it.each(matrices.map((matrix) => [matrix] as const))(
    "is turned and mirrored as the matrix %j says",
    async (matrix) => {
      const path = file(`matrix${matrix.join("")}.mp4`);
      await ffmpeg(
        ...["-f", "lavfi", "-i", "testsrc2=s=96x64:r=5:d=1", "-f", "lavfi", "-i", "sine=440:d=1"],
        ...["-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv444p", path],
      );
      const coded = await frameOf(path, 0.4);
      setMatrix(path, matrix);
      const { image: shown } = await used(path, 0.4);
      expect([shown.width, shown.height]).toEqual(matrix[0] === 0 ? [64, 96] : [96, 64]);
      let worst = 0;
      for (let y = 0; y < shown.height; y += 3) {
        for (let x = 0; x < shown.width; x += 3) {
          const [u, v] = origin(matrix, shown, x, y);
          worst = Math.max(worst, apart(pixel(shown, x, y), pixel(coded, u, v)));
        }
      }
      expect(worst).toBeLessThan(3);
    },
  );

  it("is mirrored in a file that says so", async () => {
    const shown = await frameOf(fixture("mirrored.mp4"), 1);
    const plain = file("plain.mp4");
    copyFileSync(fixture("mirrored.mp4"), plain);
    setMatrix(plain, [1, 0, 0, 1]);
    const coded = await frameOf(plain, 1);
    expect(shown).toMatchObject({ width: 160, height: 120 });
    expect(pixel(coded, 5, 60)).not.toEqual(pixel(coded, 154, 60));
    for (const [x, y] of [
      [0, 0],
      [5, 60],
      [40, 100],
      [120, 20],
      [159, 119],
    ] as const) {
      expect(pixel(shown, x, y)).toEqual(pixel(coded, 159 - x, y));
    }
  });
});

describe("interlaced video", () => {
  it.each(["libx264", "mpeg2video"])("of %s shows no comb", async (codec) => {
    const path = file(`comb-${codec}.mkv`);
    const flags =
      codec === "libx264" ? ["-x264opts", "tff=1", "-flags", "+ildct+ilme"] : ["-flags", "+ildct+ilme"];
    // A bar that moves by four pixels from field to field.
    await ffmpeg(
      ...[
        "-f",
        "lavfi",
        "-i",
        "color=black:s=64x64:r=50:d=2,format=gray,geq=lum='255*lt(mod(X+4*N,64),32)',format=yuv420p",
      ],
      ...["-f", "lavfi", "-i", "sine=440:d=2", "-vf", "tinterlace=interleave_top,setfield=tff", "-top", "1"],
      ...["-c:v", codec, ...flags, "-qscale:v", "2", path],
    );
    expect((await videoHeader(path)).interlaced).toBe(true);
    const image = await frameOf(path, 1);
    let torn = 0;
    for (let y = 1; y < 64; y++) {
      for (let x = 0; x < 64; x++) {
        if (Math.abs((pixel(image, x, y)[0] as number) - (pixel(image, x, y - 1)[0] as number)) > 100) torn++;
      }
    }
    // 504 where the fields are woven.
    expect(torn).toBeLessThan(60);
  });
});

describe("colours", () => {
  const color = [200, 40, 90] as const;
  const hex = color.map((value) => value.toString(16).padStart(2, "0")).join("");

  it.each([
    ["bt709", "bt709", "tv", "320x240"],
    ["bt601", "smpte170m", "tv", "1280x720"],
    ["bt601", "bt470bg", "pc", "320x240"],
    ["bt2020", "bt2020nc", "tv", "320x240"],
    ["bt601", undefined, "tv", "320x240"],
    ["bt709", undefined, "tv", "1280x720"],
  ] as const)(
    "by the matrix %s, tagged %s, of range %s and %s pixels are what they were",
    async (matrix, tag, range, size) => {
      const path = file(`color-${matrix}-${tag}-${range}-${size}.mkv`);
      const tags =
        tag === undefined ? [] : ["-colorspace", tag, "-color_primaries", "bt709", "-color_trc", "bt709"];
      await ffmpeg(
        ...["-f", "lavfi", "-i", `color=0x${hex}:s=${size}:r=5:d=0.4,format=rgb24`],
        ...["-vf", `scale=out_color_matrix=${matrix}:out_range=${range},format=yuv444p`],
        ...[
          "-c:v",
          "ffv1",
          ...tags,
          ...(tag === undefined ? [] : ["-color_range", range === "tv" ? "1" : "2"]),
          path,
        ],
      );
      const found = pixel(await frameOf(path), 20, 20);
      expect(apart(found, color), `${found}`).toBeLessThan(4);
    },
  );

  it.each([
    ["hd709.mp4", "bt709"],
    ["sar.mp4", "smpte170m"],
  ])("of %s are rendered by the matrix that the file is tagged with", async (name, matrix) => {
    const output = file(`out-${name}`);
    const frames: RawImage[] = [];
    await renderVideo(model, fixture(name), {
      output,
      minConfidence: 1,
      onFrame: ({ image }) => frames.push(image),
    });
    expect(await videoHeader(output)).toMatchObject({ matrix, range: "tv" });
    const rendered = await frameOf(output);
    const [first] = frames as [RawImage];
    // The upper half is under no words.
    for (const [x, y] of [
      [0.25, 0.2],
      [0.6, 0.3],
      [0.8, 0.25],
    ] as const) {
      const at = [Math.round(x * first.width), Math.round(y * first.height)] as const;
      expect(apart(pixel(rendered, ...at), pixel(first, ...at)), `${name} ${at}`).toBeLessThan(12);
    }
  });

  const pq = (nits: number) => {
    const y = (nits / 10_000) ** (2610 / 16384);
    return ((3424 / 4096 + (2413 / 128) * y) / (1 + (2392 / 128) * y)) ** (2523 / 32);
  };
  const hlg = (scene: number) =>
    scene <= 1 / 12 ? Math.sqrt(3 * scene) : 0.17883277 * Math.log(12 * scene - 0.28466892) + 0.55991073;
  /** 10-bit Y′CbCr of limited range by BT.2020. */
  const yuv = ([r, g, b]: readonly [number, number, number]) => {
    const y = 0.2627 * r + 0.678 * g + 0.0593 * b;
    return [64 + 876 * y, 512 + (896 * (b - y)) / 1.8814, 512 + (896 * (r - y)) / 1.4746].map(Math.round);
  };
  const wide = (r: number, g: number, b: number) =>
    [
      0.627404 * r + 0.329283 * g + 0.043313 * b,
      0.069097 * r + 0.91954 * g + 0.011362 * b,
      0.016391 * r + 0.088013 * g + 0.895595 * b,
    ] as const;

  async function hdrFrame(name: string, signal: readonly [number, number, number], transfer: string) {
    const [y, cb, cr] = yuv(signal);
    const path = file(name);
    await ffmpeg(
      ...[
        "-f",
        "lavfi",
        "-i",
        `color=black:s=64x64:r=5:d=0.4,format=yuv420p10le,geq=lum=${y}:cb=${cb}:cr=${cr}`,
      ],
      ...["-c:v", "ffv1", "-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", transfer],
      ...["-color_range", "1", path],
    );
    return pixel(await frameOf(path), 20, 20);
  }

  it("of HDR are mapped to standard range: grey, white, highlights and a primary", async () => {
    const grey = (nits: number) => [pq(nits), pq(nits), pq(nits)] as const;
    const shown = async (nits: number) => hdrFrame(`pq${nits}.mkv`, grey(nits), "smpte2084");
    // 100 cd/m² are below the knee: light relative to a white of 203, by a display's gamma of 2.4.
    const hundred = Math.round(255 * (100 / 203) ** (1 / 2.4));
    expect(apart(await shown(100), [hundred, hundred, hundred])).toBeLessThan(4);
    const [white, bright, beyond] = [await shown(203), await shown(1000), await shown(4000)].map(
      ([r]) => r as number,
    );
    expect(white).toBeGreaterThan(215);
    expect(white).toBeLessThan(240);
    expect(bright).toBeGreaterThan(250);
    expect(beyond).toBeGreaterThan(250);
    const red = wide(100, 0, 0).map(pq) as unknown as readonly [number, number, number];
    expect(apart(await hdrFrame("red.mkv", red, "smpte2084"), [hundred, 0, 0])).toBeLessThan(16);
  });

  it("of HLG are mapped by the same light", async () => {
    // A reference white of 75 % signal is 203 cd/m² on a display of 1000.
    const [r] = await hdrFrame("hlg.mkv", [0.75, 0.75, 0.75], "arib-std-b67");
    const [white] = standardColor({ transfer: "smpte2084", primaries: "bt2020" })([
      pq(203),
      pq(203),
      pq(203),
    ]);
    expect(Math.abs((r as number) - 255 * white)).toBeLessThan(5);
    expect(hlg(0.2635)).toBeCloseTo(0.75, 1);
  });
});
