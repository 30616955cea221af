/** Objects onto the canvas, their shadows, and the canvas developed to pixels. */

import type { Random } from "../drawing.js";
import type { Placed } from "./placing.js";
import { ellipse } from "./shapes.js";

/** Paints with four samples per pixel; a pixel is of the object when at least two of them are. */
export function paintObject(canvas: Float32Array, size: number, object: Placed, mask: Uint8Array): void {
  const [a, b, c, d] = object.toPlane;
  const colour = new Float32Array(3);
  const right = Math.min(size, Math.ceil(object.x + object.width));
  const bottom = Math.min(size, Math.ceil(object.y + object.height));
  for (let y = Math.max(0, Math.floor(object.y)); y < bottom; y++) {
    for (let x = Math.max(0, Math.floor(object.x)); x < right; x++) {
      let hits = 0;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let sample = 0; sample < 4; sample++) {
        const dx = x + (sample & 1 ? 0.75 : 0.25) - object.originX;
        const dy = y + (sample & 2 ? 0.75 : 0.25) - object.originY;
        if (!object.paint(a * dx + b * dy, c * dx + d * dy, object.look, colour)) continue;
        hits++;
        red += colour[0] as number;
        green += colour[1] as number;
        blue += colour[2] as number;
      }
      if (hits === 0) continue;
      const pixel = y * size + x;
      if (hits >= 2) mask[pixel] = 1;
      const rest = 1 - hits / 4;
      const at = pixel * 3;
      canvas[at] = (canvas[at] as number) * rest + red / 4;
      canvas[at + 1] = (canvas[at + 1] as number) * rest + green / 4;
      canvas[at + 2] = (canvas[at + 2] as number) * rest + blue / 4;
    }
  }
}

/** A soft shadow at the foot of an object. */
export function paintShadow(canvas: Float32Array, size: number, object: Placed): void {
  const centreX = object.x + object.width / 2;
  const centreY = object.y + object.height * 0.96;
  const rx = object.width * 0.55;
  const ry = Math.max(2, object.height * 0.14);
  const bottom = Math.min(size, Math.ceil(centreY + ry));
  const right = Math.min(size, Math.ceil(centreX + rx));
  for (let y = Math.max(0, Math.floor(centreY - ry)); y < bottom; y++) {
    for (let x = Math.max(0, Math.floor(centreX - rx)); x < right; x++) {
      const distance = ellipse(x + 0.5, y + 0.5, centreX, centreY, rx, ry);
      if (distance >= 1) continue;
      const keep = 1 - 0.45 * (1 - distance);
      const at = (y * size + x) * 3;
      for (let channel = at; channel < at + 3; channel++)
        canvas[channel] = (canvas[channel] as number) * keep;
    }
  }
}

/** The canvas as 8-bit RGB with a little sensor noise. */
export function developed(canvas: Float32Array, random: Random): Uint8Array {
  const pixels = new Uint8ClampedArray(canvas.length);
  for (let i = 0; i < canvas.length; i++) {
    pixels[i] = (canvas[i] as number) * 255 + 8 * (random() - 0.5);
  }
  return new Uint8Array(pixels.buffer);
}
