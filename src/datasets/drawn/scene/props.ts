/** Silent props. */
import { ellipse, inBox, type Painter, paint, stripe } from "./shapes.js";

const paintCrate: Painter = (u, v, look, out) => {
  if (!inBox(u, v, 0, 0, 0.8, 0.72)) return false;
  const brace = Math.abs(u * 0.9 - v) < 0.13;
  const frame = Math.abs(u) > 0.66 || Math.abs(v) > 0.58;
  const gap = Math.abs(v * 3.2 - Math.round(v * 3.2)) > 0.45;
  return paint(out, look.main, frame ? 0.95 : brace ? 0.85 : gap ? 0.4 : 0.68);
};

const paintBall: Painter = (u, v, look, out) => {
  const radius = Math.hypot(u, v);
  if (radius > 0.85) return false;
  const turn = (Math.atan2(v - 0.2, u + 0.2) / (2 * Math.PI) + look.phase) * 3;
  const glint = Math.exp(-((u + 0.3) ** 2 + (v + 0.35) ** 2) * 9);
  return paint(out, stripe(turn) ? look.main : look.second, 0.95 - 0.4 * radius * radius + 0.5 * glint);
};

const paintPlant: Painter = (u, v, look, out) => {
  if (v > 0.25 && v < 0.92 && Math.abs(u) < 0.5 - 0.28 * (v - 0.25)) {
    return paint(out, look.main, (v < 0.38 ? 1 : 0.8) - 0.35 * u);
  }
  for (let leaf = -2; leaf <= 2; leaf++) {
    const angle = leaf * 0.55 + (look.phase - 0.5) * 0.3;
    const along = u * Math.sin(angle) - (v - 0.3) * Math.cos(angle);
    const across = u * Math.cos(angle) + (v - 0.3) * Math.sin(angle);
    if (along > 0 && Math.abs(across) < 0.24 * Math.sin((Math.PI * along) / 1.15) && along < 1.15) {
      return paint(out, look.second, Math.abs(across) < 0.025 ? 0.6 : 0.75 + across);
    }
  }
  return false;
};

const paintMug: Painter = (u, v, look, out) => {
  const top = ellipse(u, v, -0.12, -0.6, 0.55, 0.14);
  if (top <= 1) return paint(out, look.second, top > 0.7 ? 1 : 0.45);
  const x = (u + 0.12) / 0.55;
  if (Math.abs(x) <= 1 && v > -0.6 && v < 0.66 + 0.12 * Math.sqrt(1 - x * x)) {
    const dot = Math.hypot(((u * 3.5 + 9) % 1) - 0.5, ((v * 3.5 + 9 + look.phase) % 1) - 0.5) < 0.25;
    return paint(out, dot ? look.accent : look.main, 0.6 + 0.45 * Math.sqrt(1 - x * x) - 0.15 * x);
  }
  const ring = Math.hypot((u - 0.42) / 0.9, v);
  return u > 0.4 && ring < 0.42 && ring > 0.26 ? paint(out, look.main, 0.7) : false;
};

const paintCushion: Painter = (u, v, look, out) => {
  const p = Math.abs(u / 0.85) ** 3 + Math.abs(v / 0.7) ** 3;
  if (p > 1) return false;
  const check = stripe((u + v) * 2 * look.density) !== stripe((u - v) * 2 * look.density);
  return paint(out, check ? look.main : look.second, 1.02 - 0.35 * p - 0.12 * v);
};

const paintLamp: Painter = (u, v, look, out) => {
  if (v > -0.85 && v < 0.05 && Math.abs(u) < 0.32 + 0.4 * (v + 0.85)) {
    const fold = 0.85 + 0.15 * Math.cos((u * 14) / (0.6 + 0.4 * (v + 0.85)));
    return paint(out, look.main, fold * (1.05 - 0.3 * Math.abs(v + 0.3)));
  }
  if (Math.abs(u) < 0.07 && v >= 0.05 && v < 0.8) return paint(out, look.second, 0.8 - 2 * u);
  return ellipse(u, v, 0, 0.84, 0.42, 0.12) <= 1 ? paint(out, look.second, 0.7 - 0.3 * u) : false;
};

export const propPainters: readonly Painter[] = [
  paintCrate,
  paintBall,
  paintPlant,
  paintMug,
  paintCushion,
  paintLamp,
];
