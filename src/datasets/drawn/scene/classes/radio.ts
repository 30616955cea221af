/** The radio: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, inBox, inRoundedBox, lookOf, type Painter, paint, stripe } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { repeat, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  if (v < -0.4 && v > -0.95 && Math.abs(u - 0.3 - 0.6 * (-0.4 - v)) < 0.035)
    return paint(out, [0.75, 0.76, 0.8]);
  if (!inRoundedBox(u, v - 0.1, 0.95, 0.55, 0.14)) return false;
  if (!inRoundedBox(u, v - 0.1, 0.87, 0.47, 0.1)) return paint(out, look.main, 0.6);
  const radius = Math.hypot(u + 0.4, v - 0.1);
  if (radius < 0.37) {
    const dots = 11 * look.density;
    const hole = Math.cos(u * dots * 2) * Math.cos(v * dots * 2) > 0.15;
    return paint(out, radius > 0.32 ? look.accent : look.second, hole && radius <= 0.32 ? 0.3 : 0.95);
  }
  if (inBox(u, v, 0.42, -0.12, 0.34, 0.12)) {
    const needle = Math.abs(u - 0.14 - 0.55 * look.phase) < 0.025;
    return needle ? paint(out, [0.85, 0.1, 0.1]) : paint(out, look.accent, stripe(u * 9) ? 1 : 0.85);
  }
  if (ellipse(u, v, 0.25, 0.32, 0.12, 0.12) <= 1 || ellipse(u, v, 0.6, 0.32, 0.12, 0.12) <= 1) {
    return paint(out, look.second, 0.9 - 0.6 * (v - 0.32));
  }
  const grain = Math.sin(v * 26 * look.density + 2 * Math.sin(u * 3 + look.phase * 6));
  return paint(out, look.main, 0.94 + 0.12 * grain - 0.15 * v);
};

/** Static: bursts of white noise. */
const voice: Voice = (out, rate, random) => {
  repeat(out.length, rate, between(random, 2.5, 5), 0.8, random, (start) => {
    const end = Math.min(out.length, start + Math.floor(between(random, 0.1, 0.22) * rate));
    const level = between(random, 0.7, 1.2);
    for (let i = start; i < end; i++) out[i] = (out[i] as number) + level * (random() - 0.5);
  });
};

export const radio: SoundingClass = {
  name: "radio",
  paint: paintShape,
  look: lookOf([0.06, 0.65, 0.62], [0.1, 0.3, 0.75], [0.12, 0.35, 0.95]),
  voice,
};
