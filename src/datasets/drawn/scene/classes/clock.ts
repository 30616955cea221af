/** The clock: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { repeat, sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  const y = v - 0.1;
  const radius = Math.hypot(u, y);
  if (radius <= 0.76) {
    if (radius > 0.62) return paint(out, look.main, 0.85 - 0.35 * (u + y));
    const turn = Math.atan2(y, u) / (2 * Math.PI);
    const tick = Math.abs(turn * 12 - Math.round(turn * 12)) < 0.12;
    if (radius > 0.48 && tick) return paint(out, [0.1, 0.1, 0.12]);
    const hand = (at: number, length: number, width: number): boolean => {
      const c = Math.cos(at * 2 * Math.PI);
      const s = Math.sin(at * 2 * Math.PI);
      const along = u * c + y * s;
      return along > -0.06 && along < length && Math.abs(u * s - y * c) < width;
    };
    if (hand(look.phase, 0.44, 0.035)) return paint(out, [0.1, 0.1, 0.12]);
    if (hand(look.phase * 7.3, 0.3, 0.055)) return paint(out, [0.1, 0.1, 0.12]);
    return paint(out, look.second, 1 - 0.12 * radius);
  }
  for (const side of [-1, 1]) {
    const bell = ellipse(u, v, side * 0.52, -0.6, 0.3, 0.27);
    if (bell <= 1 && v < -0.4 - 0.35 * (Math.abs(u) - 0.5)) return paint(out, look.accent, 1.1 - 0.5 * bell);
    if (Math.abs(u - side * (0.35 + 0.3 * (v - 0.5))) < 0.08 && v > 0.6 && v < 0.97) {
      return paint(out, look.main, 0.6);
    }
  }
  return false;
};

/** Regular ticks: clicks of a few milliseconds with a short ring. */
const voice: Voice = (out, rate, random) => {
  const pitch = between(random, 1900, 2700) / rate;
  let strong = random() < 0.5;
  repeat(out.length, rate, between(random, 5, 9), 0, random, (start) => {
    strong = !strong;
    const end = Math.min(out.length, start + Math.floor(0.025 * rate));
    for (let i = start; i < end; i++) {
      const t = (i - start) / rate;
      const click = t < 0.003 ? 1.4 * (random() - 0.5) : 0;
      out[i] =
        (out[i] as number) + (strong ? 1 : 0.7) * (sine((i - start) * pitch) * Math.exp(-t * 220) + click);
    }
  });
};

export const clock: SoundingClass = {
  name: "clock",
  paint: paintShape,
  look: lookOf([0.45, 0.65, 0.65], [0.13, 0.1, 0.98], [0.12, 0.6, 0.85]),
  voice,
};
