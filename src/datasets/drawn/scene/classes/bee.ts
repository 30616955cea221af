/** The bee: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint, stripe } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  if (ellipse(u, v, 0.79, -0.08, 0.045, 0.06) <= 1) return paint(out, [1, 1, 1]);
  const head = ellipse(u, v, 0.68, 0.02, 0.24, 0.25);
  if (head <= 1) return paint(out, look.second, 1.3 - 0.6 * head);
  const body = ellipse(u, v, -0.1, 0.14, 0.72, 0.42);
  if (body <= 1) {
    const band = stripe(u * 2.1 * look.density + look.phase + 0.15 * v * v);
    return paint(out, band ? look.main : look.second, 1.08 - 0.45 * body - 0.25 * v);
  }
  for (const lean of [-0.5, 0.35]) {
    const x = u - 0.05 - lean * (v + 0.2);
    const wing = ellipse(x, v, 0, -0.48, 0.25, 0.44);
    if (wing <= 1) {
      return paint(out, look.accent, wing > 0.82 ? 0.72 : 0.92 + 0.08 * Math.sin(x * 30));
    }
  }
  return Math.abs(v - 0.14) < 0.04 * (1 + (u + 0.8) * 5) && u > -0.96 && u < -0.8
    ? paint(out, look.second, 0.8)
    : false;
};

/** A buzz that wanders in pitch. */
const voice: Voice = (out, rate, random) => {
  const pitch = between(random, 200, 270);
  const wander = between(random, 3, 6) / rate;
  let turns = 0;
  for (let i = 0; i < out.length; i++) {
    const drift = sine(i * wander);
    turns += (pitch * (1 + 0.12 * drift)) / rate;
    const saw = 2 * (turns % 1) - 1;
    out[i] = (out[i] as number) + (0.5 + 0.2 * drift) * saw;
  }
};

export const bee: SoundingClass = {
  name: "bee",
  paint: paintShape,
  look: lookOf([0.14, 0.9, 0.97], [0.08, 0.5, 0.2], [0.55, 0.15, 0.98]),
  voice,
};
