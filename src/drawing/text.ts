/** Text on images, by a font of its own. */
import type { RawImage } from "../core/types.js";
import { type Color, fillRect } from "./overlay.js";

/** Columns of a 5 × 7 font for ASCII 32 … 126, five bytes a glyph, lowest bit on top: text without any font installed. */
const FONT = Buffer.from(
  "000000000000005f00000007000700147f147f14242a7f2a12231308646236495620500008070300001c2241000041221c00" +
    "2a1c7f1c2a08083e080800807030000808080808000060600020100804023e5149453e00427f400072494949462141494d33" +
    "1814127f1027454545393c4a49493141211109073649494936464949291e0000140000004034000000081422411414141414" +
    "004122140802015909063e415d594e7c1211127c7f494949363e414141227f4141413e7f494949417f090909013e41415173" +
    "7f0808087f00417f41002040413f017f081422417f404040407f021c027f7f0408107f3e4141413e7f090909063e4151215e" +
    "7f09192946264949493203017f01033f4040403f1f2040201f3f4038403f631408146303047804036159494d43007f414141" +
    "0204081020004141417f04020102044040404040000307080020545478407f284444383844444428384444287f3854545418" +
    "00087e090218a4a49c787f0804047800447d40002040403d007f1028440000417f40007c047804787c080404783844444438" +
    "fc1824241818242418fc7c08040408485454542404043f44243c4040207c1c2040201c3c4030403c44281028444c9090907c" +
    "4464544c440008364100000077000000413608000201020402",
  "hex",
);

/** Writes a line with its top left corner at (x, y); a character takes 6 × 8 pixels times `scale`. */
export function drawGlyphs(
  canvas: RawImage,
  x: number,
  y: number,
  text: string,
  scale: number,
  color: Color,
): void {
  for (const [position, character] of [...text].entries()) {
    const code = character.charCodeAt(0);
    const glyph = (code >= 32 && code <= 126 ? code : 63) - 32;
    for (let column = 0; column < 5; column++) {
      const bits = FONT[glyph * 5 + column] ?? 0;
      for (let row = 0; row < 8; row++) {
        if (bits & (1 << row)) {
          fillRect(canvas, x + (position * 6 + column) * scale, y + row * scale, scale, scale, color);
        }
      }
    }
  }
}

const CAPTION_INK: Color = [240, 240, 240];
const CAPTION_GROUND: Color = [24, 24, 24];

/** Writes a line on a dark ground in the lower left corner, a thirtieth of the image high; into the image itself. */
export function drawCaption(canvas: RawImage, text: string): void {
  const scale = Math.max(1, Math.round(canvas.height / 240));
  const [width, height, rim] = [text.length * 6 * scale, 8 * scale, 3 * scale];
  const [x, y] = [2 * rim, canvas.height - height - 3 * rim];
  fillRect(canvas, x - rim, y - rim, width + 2 * rim, height + 2 * rim, CAPTION_GROUND);
  drawGlyphs(canvas, x, y, text, scale, CAPTION_INK);
}
