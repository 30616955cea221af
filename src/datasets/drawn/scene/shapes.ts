/** Colours and shapes that objects are drawn from. */
import { between, type Random } from "../drawing.js";

/** Each in [0, 1]. */
type Colour = readonly [red: number, green: number, blue: number];

/** The individual look of an object: what differs between two objects of one class. */
export interface Look {
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
export type Painter = (u: number, v: number, look: Look, out: Float32Array) => boolean;

export function hsv(hue: number, saturation: number, value: number): Colour {
  const channel = (n: number): number => {
    const k = (n + hue * 6 + 6) % 6;
    return value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}

export function paint(out: Float32Array, colour: Colour, shade = 1): true {
  out[0] = colour[0] * shade;
  out[1] = colour[1] * shade;
  out[2] = colour[2] * shade;
  return true;
}

/** Squared distance from the centre in units of the radii: at most 1 inside the ellipse. */
export const ellipse = (u: number, v: number, x: number, y: number, rx: number, ry: number): number =>
  ((u - x) / rx) ** 2 + ((v - y) / ry) ** 2;

export const inBox = (u: number, v: number, x: number, y: number, rx: number, ry: number): boolean =>
  Math.abs(u - x) <= rx && Math.abs(v - y) <= ry;

export function inRoundedBox(u: number, v: number, rx: number, ry: number, radius: number): boolean {
  const x = Math.max(0, Math.abs(u) - rx + radius);
  const y = Math.max(0, Math.abs(v) - ry + radius);
  return x * x + y * y <= radius * radius;
}

/** Alternates between 0 and 1 with period 1 in `x`. */
export const stripe = (x: number): boolean => x - Math.floor(x) < 0.5;

/** Each in [0, 1]. */
type Hsv = readonly [hue: number, saturation: number, value: number];

/** A look around given hues; saturation and value vary too. */
export function lookOf(main: Hsv, second: Hsv, accent: Hsv): (random: Random) => Look {
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

export const anyLook = (random: Random): Look =>
  lookOf(anyColour(random), anyColour(random), anyColour(random))(random);
