/** The drum: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { repeat, sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  const top = ellipse(u, v, 0, -0.45, 0.86, 0.3);
  if (top <= 1) {
    return top > 0.8 ? paint(out, look.second, 0.75) : paint(out, look.accent, 1.04 - 0.2 * top);
  }
  if (Math.abs(u) > 0.86) return false;
  const bow = 0.3 * Math.sqrt(1 - (u / 0.86) ** 2);
  const t = (v + 0.45 - bow) / 1.0;
  if (t < 0 || t > 1) return false;
  const light = 0.55 + 0.5 * Math.sqrt(1 - (u / 0.9) ** 2);
  if (t < 0.1 || t > 0.9) return paint(out, look.second, light * 0.85);
  const angle = Math.asin(u / 0.87) * 1.9 * look.density + look.phase;
  const saw = Math.abs(2 * (angle - Math.floor(angle)) - 1);
  return paint(out, Math.abs(saw - t) < 0.11 ? look.accent : look.main, light);
};

/** Thumps: a low tone that falls in pitch, and the slap of the stick. */
const voice: Voice = (out, rate, random) => {
  const top = between(random, 150, 220);
  repeat(out.length, rate, between(random, 3, 5.5), 0.5, random, (start) => {
    let turns = 0;
    const end = Math.min(out.length, start + Math.floor(0.2 * rate));
    for (let i = start; i < end; i++) {
      const t = (i - start) / rate;
      turns += (55 + top * Math.exp(-t * 22)) / rate;
      const slap = t < 0.03 ? (random() - 0.5) * (1 - t / 0.03) : 0;
      out[i] = (out[i] as number) + sine(turns) * Math.exp(-t * 16) + 0.7 * slap;
    }
  });
};

export const drum: SoundingClass = {
  name: "drum",
  paint: paintShape,
  look: lookOf([0.99, 0.8, 0.75], [0.1, 0.5, 0.55], [0.12, 0.15, 0.97]),
  voice,
};
