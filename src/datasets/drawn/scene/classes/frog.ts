/** The frog: how it looks and sounds. */

import { between } from "../../drawing.js";
import { ellipse, lookOf, type Painter, paint } from "../shapes.js";
import type { SoundingClass } from "../sounding-class.js";
import { repeat, sine, type Voice } from "../voices.js";

const paintShape: Painter = (u, v, look, out) => {
  for (const side of [-1, 1]) {
    if (ellipse(u, v, side * 0.42, -0.56, 0.09, 0.12) <= 1) return paint(out, [0.04, 0.05, 0.04]);
    if (ellipse(u, v, side * 0.42, -0.56, 0.2, 0.2) <= 1) return paint(out, look.accent);
    if (ellipse(u, v, side * 0.42, -0.52, 0.27, 0.28) <= 1) return paint(out, look.main, 0.95);
  }
  const head = ellipse(u, v, 0, -0.12, 0.8, 0.46);
  const mouth = Math.abs(v - 0.1 + 0.28 * u * u) < 0.035 && Math.abs(u) < 0.6;
  if (head <= 1 && mouth) return paint(out, look.main, 0.35);
  const belly = ellipse(u, v, 0, 0.44, 0.46, 0.36);
  if (belly <= 1) return paint(out, look.second, 1 - 0.2 * belly);
  const body = ellipse(u, v, 0, 0.36, 0.76, 0.5);
  const feet = ellipse(Math.abs(u), v, 0.66, 0.78, 0.3, 0.14);
  if (head > 1 && body > 1 && feet > 1) return false;
  const spots =
    Math.sin((u * 7 + look.phase * 9) * look.density) * Math.sin((v * 8 - look.phase * 5) * look.density);
  return paint(out, look.main, (spots > 0.42 ? 0.55 : 1) - 0.25 * v);
};

/** Croaks: trains of pulses of a middle tone. */
const voice: Voice = (out, rate, random) => {
  const tone = between(random, 550, 850) / rate;
  const pulses = between(random, 28, 42) / rate;
  const seconds = between(random, 0.2, 0.32);
  repeat(out.length, rate, between(random, 1.8, 2.8), 0.3, random, (start) => {
    const length = Math.floor(seconds * rate);
    const end = Math.min(out.length, start + length);
    for (let i = start; i < end; i++) {
      const t = i - start;
      const pulse = Math.max(0, sine(t * pulses));
      out[i] =
        (out[i] as number) +
        pulse * pulse * (0.7 * sine(t * tone) + 0.4 * sine(2.5 * t * tone)) * sine(t / length / 2);
    }
  });
};

export const frog: SoundingClass = {
  name: "frog",
  paint: paintShape,
  look: lookOf([0.31, 0.75, 0.7], [0.2, 0.35, 0.92], [0.16, 0.4, 0.97]),
  voice,
};
