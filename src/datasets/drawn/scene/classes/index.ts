/** All classes of scenes that can sound, in an order that seeds depend on. */
import type { SoundingClass } from "../sounding-class.js";
import { bee } from "./bee.js";
import { bell } from "./bell.js";
import { bird } from "./bird.js";
import { clock } from "./clock.js";
import { drum } from "./drum.js";
import { fan } from "./fan.js";
import { frog } from "./frog.js";
import { horn } from "./horn.js";
import { radio } from "./radio.js";
import { siren } from "./siren.js";

export const soundingClasses: readonly SoundingClass[] = [
  bell,
  drum,
  bird,
  siren,
  fan,
  clock,
  radio,
  horn,
  frog,
  bee,
];

/** Names of the classes that can sound. */
export const sceneClasses: readonly string[] = soundingClasses.map(({ name }) => name);
