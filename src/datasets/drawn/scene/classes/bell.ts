/** The bell: how it looks and sounds. */

import { between, logUniform } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { repeat, sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  if (ellipse(u, v, 0, -0.88, 0.13, 0.12) <= 1) return paint(out, look.second, 0.8);
  if (v > -0.82 && v < 0.62) {
    const t = (v + 0.82) / 1.44;
    const half = 0.3 + 0.22 * t + 0.3 * t ** 6 + 0.12 * Math.sqrt(t);
    const round = v < -0.6 ? Math.sqrt(Math.max(0, 1 - ((-0.6 - v) / 0.22) ** 2)) : 1;
    if (Math.abs(u) <= half * round) {
      const x = u / half;
      const glint = 0.62 + 0.38 * Math.cos((x + 0.35) * 2.4) + 0.45 * Math.exp(-(((x + 0.4) * 7) ** 2));
      const band = Math.abs(t - 0.7) < 0.035 || Math.abs(t - 0.28) < 0.03;
      return paint(out, band ? look.second : look.main, glint);
    }
  }
  if (ellipse(u, v, 0, 0.72, 0.17, 0.17) <= 1) return paint(out, look.accent, 1 - 0.6 * (v - 0.6));
  return false;
};

/** A struck bell: inharmonic partials that ring out. */
const voice: Voice = (out, rate, random) => {
  const base = logUniform(random, 420, 640);
  const decay = between(random, 0.25, 0.5);
  repeat(out.length, rate, between(random, 1.2, 2.4), 0.4, random, (start) => {
    for (const [ratio, gain, speed] of [
      [1, 0.5, 1],
      [2.01, 0.35, 1.4],
      [2.41, 0.3, 1.7],
      [4.1, 0.25, 2.6],
      [5.43, 0.15, 3.5],
    ] as const) {
      const step = (base * ratio) / rate;
      const fade = Math.exp(-speed / (decay * rate));
      let level = gain;
      for (let i = start; i < out.length && level > 0.003; i++, level *= fade) {
        out[i] = (out[i] as number) + level * sine((i - start) * step);
      }
    }
  });
};

export const bell: SoundingClass = {
  name: "bell",
  paint: paintShape,
  look: lookOf([0.12, 0.75, 0.95], [0.08, 0.8, 0.6], [0.09, 0.5, 0.45]),
  voice,
};
