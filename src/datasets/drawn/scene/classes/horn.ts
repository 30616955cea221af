/** The horn: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint, stripe } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { repeat, sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  const flare = 0.1 + 0.62 * Math.max(0, (u + 0.55) / 1.3) ** 1.7;
  if (ellipse(u, v, 0.76, 0, 0.2, 0.74) <= 1) {
    const rim = ellipse(u, v, 0.76, 0, 0.2, 0.74);
    return paint(out, rim > 0.72 ? look.accent : look.second, rim > 0.72 ? 1 : 0.25 + 0.35 * rim);
  }
  if (u > -0.66 && u < 0.76 && Math.abs(v) <= flare) {
    const ring = stripe(u * 2.4 * look.density + look.phase);
    return paint(
      out,
      ring ? look.main : look.accent,
      0.6 + 0.5 * Math.sqrt(1 - (v / flare) ** 2) - 0.25 * (v / flare),
    );
  }
  if (ellipse(u, v, -0.78, 0, 0.2, 0.22) <= 1) return paint(out, look.second, 0.8 - v);
  return Math.abs(u + 0.15 + 0.3 * v) < 0.09 && v > 0 && v < 0.6 ? paint(out, look.second, 0.65) : false;
};

/** Long honks, rich in harmonics. */
const voice: Voice = (out, rate, random) => {
  const pitch = between(random, 260, 380) / rate;
  const seconds = between(random, 0.35, 0.6);
  repeat(out.length, rate, 1 / (seconds + between(random, 0.12, 0.25)), 0.1, random, (start) => {
    const length = Math.floor(seconds * rate);
    const end = Math.min(out.length, start + length);
    for (let i = start; i < end; i++) {
      const t = i - start;
      const edge = Math.min(1, t / (0.02 * rate), (start + length - i) / (0.03 * rate));
      let sum = 0;
      for (let harmonic = 1; harmonic <= 7; harmonic++) sum += sine(harmonic * t * pitch) / harmonic;
      out[i] = (out[i] as number) + 0.5 * edge * sum;
    }
  });
};

export const horn: SoundingClass = {
  name: "horn",
  paint: paintShape,
  look: lookOf([0.87, 0.65, 0.85], [0.8, 0.3, 0.4], [0.12, 0.12, 0.97]),
  voice,
};
