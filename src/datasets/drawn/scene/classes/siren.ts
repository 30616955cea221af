/** The siren: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, inBox, lookOf, type Painter, paint, stripe } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  if (inBox(u, v, 0, 0.68, 0.86, 0.16)) return paint(out, look.second, 0.9 - 0.35 * Math.abs(u));
  if (inBox(u, v, 0, 0.43, 0.68, 0.1)) {
    return paint(out, stripe(u * 3 * look.density + v + look.phase) ? look.accent : look.second, 0.9);
  }
  const x = u / 0.6;
  const inside = v > -0.35 ? Math.abs(x) <= 1 && v < 0.34 : ellipse(u, v, 0, -0.35, 0.6, 0.55) <= 1;
  if (!inside) return false;
  const glow = Math.exp(-((x - look.phase + 0.5) ** 2 * 5) - ((v + 0.15) * 2) ** 2);
  if (glow > 0.8) return paint(out, [1, 0.97, 0.85]);
  const rib = stripe(Math.asin(Math.max(-1, Math.min(1, x))) * 1.6) ? 1 : 0.82;
  return paint(out, look.main, rib * (0.62 + 0.6 * glow + 0.2 * Math.sqrt(1 - Math.min(1, x * x))));
};

/** A tone that wails up and down. */
const voice: Voice = (out, rate, random) => {
  const centre = between(random, 850, 1150);
  const swing = between(random, 300, 450);
  const wail = between(random, 0.9, 2) / rate;
  const start = random();
  let turns = 0;
  for (let i = 0; i < out.length; i++) {
    turns += (centre + swing * sine(start + i * wail)) / rate;
    out[i] = (out[i] as number) + 0.5 * sine(turns) + 0.2 * sine(2 * turns) + 0.1 * sine(3 * turns);
  }
};

export const siren: SoundingClass = {
  name: "siren",
  paint: paintShape,
  look: lookOf([0.03, 0.9, 0.95], [0.6, 0.2, 0.35], [0.14, 0.8, 0.95]),
  voice,
};
