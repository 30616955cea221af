/** The bird: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint, stripe } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { repeat, sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  if (ellipse(u, v, 0.58, -0.52, 0.055, 0.055) <= 1) return paint(out, [0.05, 0.05, 0.06]);
  if (u > 0.74 && u < 0.99 && Math.abs(v + 0.43) < (0.99 - u) * 0.42) return paint(out, look.accent);
  const wing = ellipse(u + 0.45 * v, v, -0.12, 0.06, 0.43, 0.25);
  if (wing <= 1) {
    const feather = stripe((u * 0.8 + v) * 3.2 * look.density + look.phase);
    return paint(out, look.main, (feather ? 0.5 : 0.72) + 0.1 * wing);
  }
  if (ellipse(u, v, 0.5, -0.45, 0.29, 0.28) <= 1) return paint(out, look.main, 1.05 - 0.3 * (v + 0.45));
  if (ellipse(u - 0.3 * v, v, 0, 0.1, 0.6, 0.42) <= 1) {
    return v > 0.18 + 0.35 * u * u
      ? paint(out, look.second, 1 - 0.2 * v)
      : paint(out, look.main, 1 - 0.35 * v);
  }
  if (u < -0.4 && u > -0.98 && Math.abs(v - 0.02 + 0.5 * (u + 0.5)) < 0.13 - 0.12 * (u + 0.5)) {
    return paint(out, look.main, 0.62);
  }
  return Math.abs(u - 0.02) < 0.035 && v > 0 && v < 0.78 ? paint(out, look.accent, 0.8) : false;
};

/** Short chirps that sweep up, high. */
const voice: Voice = (out, rate, random) => {
  const low = between(random, 2300, 3000);
  const span = between(random, 1200, 2200);
  const seconds = between(random, 0.07, 0.12);
  repeat(out.length, rate, between(random, 4, 7), 0.6, random, (start) => {
    let turns = 0;
    const length = Math.floor(seconds * rate);
    const end = Math.min(out.length, start + length);
    for (let i = start; i < end; i++) {
      const t = (i - start) / length;
      turns += (low + span * t) / rate;
      out[i] = (out[i] as number) + 0.8 * sine(turns) * sine(t / 2);
    }
  });
};

export const bird: SoundingClass = {
  name: "bird",
  paint: paintShape,
  look: lookOf([0.57, 0.75, 0.9], [0.08, 0.35, 0.97], [0.09, 0.9, 0.95]),
  voice,
};
