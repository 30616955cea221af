/**
 * Draws one procedural scene, picture and sound, from numbers only: a pure, synchronous function
 * that runs on any thread. `scenes.ts` makes a dataset of it.
 */
import {
  asRecorded,
  between,
  boundingBox,
  createRandom,
  type DrawnSettings,
  logUniform,
  pickDistinct,
  pickUnseen,
  type Random,
  rms,
  type Scene,
  type SceneKey,
} from "./drawing.js";

export type { Scene, SceneKey } from "./drawing.js";

/** What every scene of a dataset shares. */
export type SceneSettings = DrawnSettings;

/** Draws scene `key`. Takes a few milliseconds. */
export function renderScene(settings: SceneSettings, key: SceneKey): Scene {
  const random = createRandom(key);
  const { size, sources } = settings;
  const kinds = pickDistinct(sceneClasses.length, sources, random);
  const heard = kinds[0] as number;

  let placed: Placed[] | undefined;
  while (!placed) placed = arrange(settings, kinds, random);

  const canvas = new Float32Array(size * size * 3);
  paintBackground(canvas, size, random);
  for (const object of placed) paintShadow(canvas, size, object);
  const masks = placed.map(() => new Uint8Array(size * size));
  for (let i = placed.length - 1; i >= 0; i--) {
    paintObject(canvas, size, placed[i] as Placed, masks[i] as Uint8Array);
  }
  const mask = { data: masks[0] as Uint8Array, width: size, height: size };
  return {
    image: { data: developed(canvas, random), width: size, height: size },
    audio: { samples: mixSound(settings, kinds, random), sampleRate: settings.sampleRate },
    label: sceneClasses[heard] as string,
    box: boundingBox(mask),
    mask,
    silentMasks: masks.slice(1, sources).map((data) => ({ data, width: size, height: size })),
  };
}

// Colours and shapes

type Colour = readonly [red: number, green: number, blue: number]; // each in [0, 1]

/** The individual look of an object: what differs between two objects of one class. */
interface Look {
  readonly main: Colour;
  readonly second: Colour;
  readonly accent: Colour;
  /** Height over width, relative to the class. */
  readonly aspect: number;
  /** Density of the texture, about 1. */
  readonly density: number;
  /** Shifts the texture, in [0, 1). */
  readonly phase: number;
}

/**
 * Colour of an object at a point of its own plane, u to the right and v down, the object within
 * the unit disc. Writes the colour to `out` and returns true, or returns false outside the object.
 */
type Painter = (u: number, v: number, look: Look, out: Float32Array) => boolean;

function hsv(hue: number, saturation: number, value: number): Colour {
  const channel = (n: number): number => {
    const k = (n + hue * 6 + 6) % 6;
    return value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}

function paint(out: Float32Array, colour: Colour, shade = 1): true {
  out[0] = colour[0] * shade;
  out[1] = colour[1] * shade;
  out[2] = colour[2] * shade;
  return true;
}

/** Squared distance from the centre in units of the radii: at most 1 inside the ellipse. */
const ellipse = (u: number, v: number, x: number, y: number, rx: number, ry: number): number =>
  ((u - x) / rx) ** 2 + ((v - y) / ry) ** 2;

const inBox = (u: number, v: number, x: number, y: number, rx: number, ry: number): boolean =>
  Math.abs(u - x) <= rx && Math.abs(v - y) <= ry;

function inRoundedBox(u: number, v: number, rx: number, ry: number, radius: number): boolean {
  const x = Math.max(0, Math.abs(u) - rx + radius);
  const y = Math.max(0, Math.abs(v) - ry + radius);
  return x * x + y * y <= radius * radius;
}

/** Alternates between 0 and 1 with period 1 in `x`. */
const stripe = (x: number): boolean => x - Math.floor(x) < 0.5;

/** Each in [0, 1]. */
type Hsv = readonly [hue: number, saturation: number, value: number];

/** A look around given hues; saturation and value vary too. */
function lookOf(main: Hsv, second: Hsv, accent: Hsv): (random: Random) => Look {
  return (random) => {
    const hueShift = between(random, -0.045, 0.045);
    const vary = ([hue, saturation, value]: Hsv): Colour =>
      hsv(
        hue + hueShift + 1,
        Math.min(1, saturation * between(random, 0.75, 1.2)),
        Math.min(1, value * between(random, 0.75, 1.15)),
      );
    return {
      main: vary(main),
      second: vary(second),
      accent: vary(accent),
      aspect: between(random, 0.85, 1.18),
      density: between(random, 0.8, 1.25),
      phase: random(),
    };
  };
}

const anyColour = (random: Random): Hsv => [
  random(),
  between(random, 0.25, 0.95),
  between(random, 0.35, 0.95),
];

const anyLook = (random: Random): Look =>
  lookOf(anyColour(random), anyColour(random), anyColour(random))(random);

// Sounding classes: how they look

const paintBell: Painter = (u, v, look, out) => {
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

const paintDrum: Painter = (u, v, look, out) => {
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

const paintBird: Painter = (u, v, look, out) => {
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

const paintSiren: Painter = (u, v, look, out) => {
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

const paintFan: Painter = (u, v, look, out) => {
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

const paintClock: Painter = (u, v, look, out) => {
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

const paintRadio: Painter = (u, v, look, out) => {
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

const paintHorn: Painter = (u, v, look, out) => {
  const flare = 0.1 + 0.62 * Math.max(0, (u + 0.55) / 1.3) ** 1.7;
  if (ellipse(u, v, 0.76, 0, 0.2, 0.74) <= 1) {
    const rim = ellipse(u, v, 0.76, 0, 0.2, 0.74);
    return paint(out, rim > 0.72 ? look.accent : look.second, rim > 0.72 ? 1 : 0.25 + 0.35 * rim);
  }
  if (u > -0.66 && u < 0.76 && Math.abs(v) <= flare) {
    const ring = stripe(u * 2.4 * look.density + look.phase);
    return paint(
      out,
      ring ? look.main : look.accent,
      0.6 + 0.5 * Math.sqrt(1 - (v / flare) ** 2) - 0.25 * (v / flare),
    );
  }
  if (ellipse(u, v, -0.78, 0, 0.2, 0.22) <= 1) return paint(out, look.second, 0.8 - v);
  return Math.abs(u + 0.15 + 0.3 * v) < 0.09 && v > 0 && v < 0.6 ? paint(out, look.second, 0.65) : false;
};

const paintFrog: Painter = (u, v, look, out) => {
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

const paintBee: Painter = (u, v, look, out) => {
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

// Props: things that never sound

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

const propPainters: readonly Painter[] = [
  paintCrate,
  paintBall,
  paintPlant,
  paintMug,
  paintCushion,
  paintLamp,
];

// Placing and painting

/**
 * Places one object of each of the sounding classes `kinds`, then the props: the first come first,
 * so that they find room. Returns undefined when there was none.
 */
function arrange(
  { size, props }: SceneSettings,
  kinds: readonly number[],
  random: Random,
): Placed[] | undefined {
  const placed: Placed[] = [];
  const largest = kinds.length === 1 ? 0.185 : 0.12;
  for (const kind of kinds) {
    const { paint, look } = soundingClasses[kind] as SoundingClass;
    const area = logUniform(random, 0.045, largest);
    const object = place(paint, look(random), area, 0.045, size, placed, random);
    if (!object) return undefined;
    placed.push(object);
  }
  for (let left = 1 + Math.floor(random() * props); left > 0; left--) {
    const prop = propPainters[Math.floor(random() * propPainters.length)] as Painter;
    const area = logUniform(random, 0.03, 0.13);
    const object = place(prop, anyLook(random), area, 0.008, size, placed, random);
    if (!object) return undefined;
    placed.push(object);
  }
  return placed;
}

/** An object with its place in the picture. Positions and lengths in pixels. */
interface Placed {
  readonly paint: Painter;
  readonly look: Look;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Pixels to the object's own plane: u = a·dx + b·dy, v = c·dx + d·dy from the origin. */
  readonly toPlane: readonly [a: number, b: number, c: number, d: number];
  /** The object's origin. */
  readonly originX: number;
  readonly originY: number;
}

/**
 * Puts an object of `area`, a fraction of the picture, at a uniformly random position where it lies
 * fully in the frame and its box touches no other; where there is no room it shrinks, though
 * not below `minimumArea`. Returns undefined when no room was found.
 */
function place(
  painter: Painter,
  look: Look,
  area: number,
  minimumArea: number,
  size: number,
  others: readonly Placed[],
  random: Random,
): Placed | undefined {
  const angle = between(random, -0.22, 0.22);
  const mirror = random() < 0.5 ? -1 : 1;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const stretch = Math.sqrt(look.aspect);
  const toPlane = (dx: number, dy: number): [number, number] => [
    mirror * stretch * (cos * dx + sin * dy),
    (-sin * dx + cos * dy) / stretch,
  ];

  // Area and extent at scale 1, on a grid.
  const grid = 48;
  const reach = 1.3;
  const colour = new Float32Array(3);
  let inside = 0;
  let [left, right, top, bottom] = [reach, -reach, reach, -reach];
  for (let i = 0; i < grid; i++) {
    const dy = (((i + 0.5) / grid) * 2 - 1) * reach;
    for (let j = 0; j < grid; j++) {
      const dx = (((j + 0.5) / grid) * 2 - 1) * reach;
      const [u, v] = toPlane(dx, dy);
      if (!painter(u, v, look, colour)) continue;
      inside++;
      left = Math.min(left, dx);
      right = Math.max(right, dx);
      top = Math.min(top, dy);
      bottom = Math.max(bottom, dy);
    }
  }
  const margin = reach / grid;
  left -= margin;
  right += margin;
  top -= margin;
  bottom += margin;
  const unitArea = inside * (2 * margin) ** 2;

  let fraction = area;
  for (let attempt = 0; attempt < 200; attempt++) {
    const scale = Math.sqrt((fraction * size * size) / unitArea);
    const width = (right - left) * scale;
    const height = (bottom - top) * scale;
    const x = between(random, 0.5, size - 0.5 - width);
    const y = between(random, 0.5, size - 0.5 - height);
    const fits = width <= size - 1 && height <= size - 1;
    const free = others.every(
      (o) => x + width + 1 < o.x || o.x + o.width + 1 < x || y + height + 1 < o.y || o.y + o.height + 1 < y,
    );
    if (fits && free) {
      const [a, c] = toPlane(1 / scale, 0);
      const [b, d] = toPlane(0, 1 / scale);
      const origin = { originX: x - left * scale, originY: y - top * scale };
      return { paint: painter, look, x, y, width, height, toPlane: [a, b, c, d], ...origin };
    }
    if (attempt % 10 === 9) fraction = Math.max(minimumArea, fraction * 0.85);
  }
  return undefined;
}

/** Paints with four samples a pixel; a pixel is of the object when at least two of them are. */
function paintObject(canvas: Float32Array, size: number, object: Placed, mask: Uint8Array): void {
  const [a, b, c, d] = object.toPlane;
  const colour = new Float32Array(3);
  const right = Math.min(size, Math.ceil(object.x + object.width));
  const bottom = Math.min(size, Math.ceil(object.y + object.height));
  for (let y = Math.max(0, Math.floor(object.y)); y < bottom; y++) {
    for (let x = Math.max(0, Math.floor(object.x)); x < right; x++) {
      let hits = 0;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let sample = 0; sample < 4; sample++) {
        const dx = x + (sample & 1 ? 0.75 : 0.25) - object.originX;
        const dy = y + (sample & 2 ? 0.75 : 0.25) - object.originY;
        if (!object.paint(a * dx + b * dy, c * dx + d * dy, object.look, colour)) continue;
        hits++;
        red += colour[0] as number;
        green += colour[1] as number;
        blue += colour[2] as number;
      }
      if (hits === 0) continue;
      const pixel = y * size + x;
      if (hits >= 2) mask[pixel] = 1;
      const rest = 1 - hits / 4;
      const at = pixel * 3;
      canvas[at] = (canvas[at] as number) * rest + red / 4;
      canvas[at + 1] = (canvas[at + 1] as number) * rest + green / 4;
      canvas[at + 2] = (canvas[at + 2] as number) * rest + blue / 4;
    }
  }
}

/** A soft shadow at the foot of an object. */
function paintShadow(canvas: Float32Array, size: number, object: Placed): void {
  const centreX = object.x + object.width / 2;
  const centreY = object.y + object.height * 0.96;
  const rx = object.width * 0.55;
  const ry = Math.max(2, object.height * 0.14);
  const bottom = Math.min(size, Math.ceil(centreY + ry));
  const right = Math.min(size, Math.ceil(centreX + rx));
  for (let y = Math.max(0, Math.floor(centreY - ry)); y < bottom; y++) {
    for (let x = Math.max(0, Math.floor(centreX - rx)); x < right; x++) {
      const distance = ellipse(x + 0.5, y + 0.5, centreX, centreY, rx, ry);
      if (distance >= 1) continue;
      const keep = 1 - 0.45 * (1 - distance);
      const at = (y * size + x) * 3;
      for (let channel = at; channel < at + 3; channel++)
        canvas[channel] = (canvas[channel] as number) * keep;
    }
  }
}

/** Wall and floor with their own texture, and clutter: patches, bars and discs in any colour. */
function paintBackground(canvas: Float32Array, size: number, random: Random): void {
  const surface = () => ({
    colour: hsv(random(), between(random, 0.05, 0.6), between(random, 0.35, 0.9)),
    period: between(random, 0.05, 0.25) * size,
    angle: random() * Math.PI,
    contrast: random() < 0.6 ? between(random, 0.05, 0.25) : 0,
  });
  const wall = surface();
  const floor = surface();
  const horizon = between(random, 0.45, 0.85) * size;
  const tilt = between(random, -0.12, 0.12);
  const light = between(random, -0.35, 0.35);
  const noise = createNoise(size, random);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const { colour, period, angle, contrast } = y > horizon + tilt * (x - size / 2) ? floor : wall;
      const wave = Math.abs((((x * Math.cos(angle) + y * Math.sin(angle)) / period + 100) % 1) * 2 - 1);
      const shade =
        1 +
        light * (x / size - 0.5) -
        0.2 * (y / size - 0.5) +
        noise(x, y) +
        contrast * (wave > 0.5 ? 0.5 : -0.5);
      const at = (y * size + x) * 3;
      canvas[at] = colour[0] * shade;
      canvas[at + 1] = colour[1] * shade;
      canvas[at + 2] = colour[2] * shade;
    }
  }
  const pieces = 8 + Math.floor(random() * 9);
  for (let i = 0; i < pieces; i++) paintClutter(canvas, size, random);
}

/** One translucent, textured piece of clutter: a disc, ring, bar, triangle or patch. */
function paintClutter(canvas: Float32Array, size: number, random: Random): void {
  const shape = Math.floor(random() * 5);
  const colour = hsv(random(), between(random, 0.1, 0.9), between(random, 0.2, 0.95));
  const opacity = between(random, 0.35, 0.95);
  const rx = between(random, 0.03, 0.16) * size * (shape === 2 ? 1.8 : 1);
  const ry = shape === 2 ? rx * between(random, 0.06, 0.2) : rx * between(random, 0.6, 1.6);
  const centreX = random() * size;
  const centreY = random() * size;
  const angle = random() * Math.PI;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const period = random() < 0.5 ? between(random, 1, 4) : 0;
  const reach = Math.hypot(rx, ry);
  const bottom = Math.min(size, Math.ceil(centreY + reach));
  const right = Math.min(size, Math.ceil(centreX + reach));
  for (let y = Math.max(0, Math.floor(centreY - reach)); y < bottom; y++) {
    for (let x = Math.max(0, Math.floor(centreX - reach)); x < right; x++) {
      const dx = x + 0.5 - centreX;
      const dy = y + 0.5 - centreY;
      const u = (cos * dx + sin * dy) / rx;
      const v = (cos * dy - sin * dx) / ry;
      // Distance to the edge in pixels, positive inside, for a soft edge.
      const radius = Math.hypot(u, v);
      const round = (1 - radius) * Math.min(rx, ry);
      const square = Math.min((1 - Math.abs(u)) * rx, (1 - Math.abs(v)) * ry);
      const edge =
        shape === 0
          ? round
          : shape === 1
            ? Math.min(round, (radius - 0.6) * Math.min(rx, ry))
            : shape === 3
              ? Math.min((1 - v) * ry, ((1 + v) / 2 - Math.abs(u)) * rx)
              : square;
      const cover = Math.max(0, Math.min(1, edge + 0.5)) * opacity;
      if (cover === 0) continue;
      const shade = (period > 0 && stripe(u * period) ? 0.7 : 1) * (1 - 0.15 * v);
      const at = (y * size + x) * 3;
      canvas[at] = (canvas[at] as number) * (1 - cover) + colour[0] * shade * cover;
      canvas[at + 1] = (canvas[at + 1] as number) * (1 - cover) + colour[1] * shade * cover;
      canvas[at + 2] = (canvas[at + 2] as number) * (1 - cover) + colour[2] * shade * cover;
    }
  }
}

/** Smooth noise of two octaves, about ±0.2, interpolated between random values on a lattice. */
function createNoise(size: number, random: Random): (x: number, y: number) => number {
  const octaves = [
    { cells: 6, gain: 0.2 },
    { cells: 22, gain: 0.12 },
  ].map(({ cells, gain }) => {
    const lattice = Float32Array.from({ length: (cells + 1) ** 2 }, () => gain * (2 * random() - 1));
    return { cells, lattice };
  });
  return (x, y) => {
    let sum = 0;
    for (const { cells, lattice } of octaves) {
      const u = (x / size) * cells;
      const v = (y / size) * cells;
      const i = Math.floor(u);
      const j = Math.floor(v);
      const s = u - i;
      const t = v - j;
      const at = j * (cells + 1) + i;
      const above = (lattice[at] as number) * (1 - s) + (lattice[at + 1] as number) * s;
      const below = (lattice[at + cells + 1] as number) * (1 - s) + (lattice[at + cells + 2] as number) * s;
      sum += above * (1 - t) + below * t;
    }
    return sum;
  };
}

/** The canvas as 8-bit RGB with a little sensor noise. */
function developed(canvas: Float32Array, random: Random): Uint8Array {
  const pixels = new Uint8ClampedArray(canvas.length);
  for (let i = 0; i < canvas.length; i++) {
    pixels[i] = (canvas[i] as number) * 255 + 8 * (random() - 0.5);
  }
  return new Uint8Array(pixels.buffer);
}

// Sounding classes: how they sound

/** Adds a sound of amplitude about 1 to `out`, at `rate` samples a second. */
type Voice = (out: Float32Array, rate: number, random: Random) => void;

const SINE_STEPS = 8192;
const sineTable = Float32Array.from({ length: SINE_STEPS }, (_, i) =>
  Math.sin((2 * Math.PI * i) / SINE_STEPS),
);
/** Sine of a phase counted in turns, at least 0. */
const sine = (turns: number): number => sineTable[((turns % 1) * SINE_STEPS) | 0] as number;

/** Calls `event` with the first sample of each event: `perSecond` of them, not quite regularly. */
function repeat(
  length: number,
  rate: number,
  perSecond: number,
  unevenness: number,
  random: Random,
  event: (start: number) => void,
): void {
  const gap = rate / perSecond;
  for (let at = random() * 0.7 * gap; at < length; at += gap * (1 + unevenness * (random() - 0.5))) {
    event(Math.floor(at));
  }
}

/** A struck bell: inharmonic partials that ring out. */
const soundBell: Voice = (out, rate, random) => {
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

/** Thumps: a low tone that falls in pitch, and the slap of the stick. */
const soundDrum: Voice = (out, rate, random) => {
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

/** Short chirps that sweep up, high. */
const soundBird: Voice = (out, rate, random) => {
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

/** A tone that wails up and down. */
const soundSiren: Voice = (out, rate, random) => {
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

/** A low hum with a flutter, and the rush of air. */
const soundFan: Voice = (out, rate, random) => {
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

/** Regular ticks: clicks of a few milliseconds with a short ring. */
const soundClock: Voice = (out, rate, random) => {
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

/** Static: bursts of white noise. */
const soundRadio: Voice = (out, rate, random) => {
  repeat(out.length, rate, between(random, 2.5, 5), 0.8, random, (start) => {
    const end = Math.min(out.length, start + Math.floor(between(random, 0.1, 0.22) * rate));
    const level = between(random, 0.7, 1.2);
    for (let i = start; i < end; i++) out[i] = (out[i] as number) + level * (random() - 0.5);
  });
};

/** Long honks, rich in harmonics. */
const soundHorn: Voice = (out, rate, random) => {
  const pitch = between(random, 260, 380) / rate;
  const seconds = between(random, 0.35, 0.6);
  repeat(out.length, rate, 1 / (seconds + between(random, 0.12, 0.25)), 0.1, random, (start) => {
    const length = Math.floor(seconds * rate);
    const end = Math.min(out.length, start + length);
    for (let i = start; i < end; i++) {
      const t = i - start;
      const edge = Math.min(1, t / (0.02 * rate), (start + length - i) / (0.03 * rate));
      let sum = 0;
      for (let harmonic = 1; harmonic <= 7; harmonic++) sum += sine(harmonic * t * pitch) / harmonic;
      out[i] = (out[i] as number) + 0.5 * edge * sum;
    }
  });
};

/** Croaks: trains of pulses of a middle tone. */
const soundFrog: Voice = (out, rate, random) => {
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

/** A buzz that wanders in pitch. */
const soundBee: Voice = (out, rate, random) => {
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

// Classes

interface SoundingClass {
  readonly name: string;
  readonly paint: Painter;
  readonly look: (random: Random) => Look;
  readonly sound: Voice;
}

const soundingClasses: readonly SoundingClass[] = [
  {
    name: "bell",
    paint: paintBell,
    look: lookOf([0.12, 0.75, 0.95], [0.08, 0.8, 0.6], [0.09, 0.5, 0.45]),
    sound: soundBell,
  },
  {
    name: "drum",
    paint: paintDrum,
    look: lookOf([0.99, 0.8, 0.75], [0.1, 0.5, 0.55], [0.12, 0.15, 0.97]),
    sound: soundDrum,
  },
  {
    name: "bird",
    paint: paintBird,
    look: lookOf([0.57, 0.75, 0.9], [0.08, 0.35, 0.97], [0.09, 0.9, 0.95]),
    sound: soundBird,
  },
  {
    name: "siren",
    paint: paintSiren,
    look: lookOf([0.03, 0.9, 0.95], [0.6, 0.2, 0.35], [0.14, 0.8, 0.95]),
    sound: soundSiren,
  },
  {
    name: "fan",
    paint: paintFan,
    look: lookOf([0.5, 0.45, 0.85], [0.6, 0.08, 0.8], [0.98, 0.6, 0.75]),
    sound: soundFan,
  },
  {
    name: "clock",
    paint: paintClock,
    look: lookOf([0.45, 0.65, 0.65], [0.13, 0.1, 0.98], [0.12, 0.6, 0.85]),
    sound: soundClock,
  },
  {
    name: "radio",
    paint: paintRadio,
    look: lookOf([0.06, 0.65, 0.62], [0.1, 0.3, 0.75], [0.12, 0.35, 0.95]),
    sound: soundRadio,
  },
  {
    name: "horn",
    paint: paintHorn,
    look: lookOf([0.87, 0.65, 0.85], [0.8, 0.3, 0.4], [0.12, 0.12, 0.97]),
    sound: soundHorn,
  },
  {
    name: "frog",
    paint: paintFrog,
    look: lookOf([0.31, 0.75, 0.7], [0.2, 0.35, 0.92], [0.16, 0.4, 0.97]),
    sound: soundFrog,
  },
  {
    name: "bee",
    paint: paintBee,
    look: lookOf([0.14, 0.9, 0.97], [0.08, 0.5, 0.2], [0.55, 0.15, 0.98]),
    sound: soundBee,
  },
];

/** Names of the classes that can sound. */
export const sceneClasses: readonly string[] = soundingClasses.map(({ name }) => name);

/** The first of what is in view, maybe a quieter sound from off screen, and background noise; peak below 1. */
function mixSound(settings: SceneSettings, inView: readonly number[], random: Random): Float32Array {
  const { sampleRate, offscreen } = settings;
  const heard = inView[0] as number;
  const length = Math.max(1, Math.round(settings.seconds * sampleRate));
  const mix = loud(heard, 1);
  const other = random() < offscreen ? pickUnseen(soundingClasses.length, heard, inView, random) : undefined;
  if (other !== undefined) {
    const quiet = loud(other, logUniform(random, 0.1, 0.3));
    for (let i = 0; i < length; i++) mix[i] = (mix[i] as number) + (quiet[i] as number);
  }
  return asRecorded(mix, random);

  /** The sound of a class at root mean square `level`. */
  function loud(kind: number, level: number): Float32Array {
    const samples = new Float32Array(length);
    (soundingClasses[kind] as SoundingClass).sound(samples, sampleRate, random);
    const factor = level / Math.max(rms(samples), 1e-6);
    for (let i = 0; i < length; i++) samples[i] = (samples[i] as number) * factor;
    return samples;
  }
}
