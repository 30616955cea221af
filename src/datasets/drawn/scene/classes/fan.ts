/** The fan: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  const y = v + 0.18;
  const radius = Math.hypot(u, y);
  if (radius <= 0.8) {
    if (radius > 0.72) return paint(out, look.second, 0.75 + 0.3 * (-u - y));
    if (radius < 0.14) return paint(out, look.accent, 1.1 - radius * 2);
    const turn = (Math.atan2(y, u) / (2 * Math.PI) + look.phase + radius * 0.16) * 4;
    const blade = turn - Math.floor(turn);
    const grille = Math.abs(radius * 7 * look.density - Math.round(radius * 7 * look.density)) < 0.13;
    if (grille) return paint(out, look.second, 0.95);
    return blade < 0.55 ? paint(out, look.main, 1.05 - 0.7 * blade) : paint(out, look.second, 0.22);
  }
  if (Math.abs(u) < 0.09 && v > 0.55 && v < 0.86) return paint(out, look.second, 0.7);
  return ellipse(u, v, 0, 0.88, 0.45, 0.11) <= 1 ? paint(out, look.second, 0.6 - 0.3 * u) : false;
};

/** A low hum with a flutter, and the rush of air. */
const voice: Voice = (out, rate, random) => {
  const hum = between(random, 85, 125) / rate;
  const flutter = between(random, 9, 15) / rate;
  let air = 0;
  for (let i = 0; i < out.length; i++) {
    air = 0.75 * air + 0.5 * (random() - 0.5);
    const turns = i * hum;
    const tone = 0.4 * sine(turns) + 0.3 * sine(2 * turns) + 0.15 * sine(3 * turns) + 0.1 * sine(5 * turns);
    out[i] = (out[i] as number) + (tone + 0.6 * air) * (0.7 + 0.3 * sine(i * flutter));
  }
};

export const fan: SoundingClass = {
  name: "fan",
  paint: paintShape,
  look: lookOf([0.5, 0.45, 0.85], [0.6, 0.08, 0.8], [0.98, 0.6, 0.75]),
  voice,
};
