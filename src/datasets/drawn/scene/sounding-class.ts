/** A class of objects that can sound. */

import type { Random } from "../drawing.js";
import type { Look, Painter } from "./shapes.js";
import type { Voice } from "./voices.js";

export interface SoundingClass {
  readonly name: string;
  readonly paint: Painter;
  readonly look: (random: Random) => Look;
  readonly voice: Voice;
}
