/** The controls of the map, as values. */
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../../src/config/defaults.js";
import { button, find, input } from "./dom.js";
import type { MapSettings, Refinement } from "./maps.js";

export interface ShownSettings extends MapSettings {
  /** Below it no source is in view; in [−1, 1]. */
  readonly least: number;
  /** Of the map where it is hot, in [0, 1]. */
  readonly opacity: number;
  readonly map: boolean;
  readonly boxes: boolean;
}

const DEFAULTS = { threshold: MASK_THRESHOLD, alpha: AUDIO_WEIGHT, least: 0.2, opacity: 0.55 } as const;

export class Settings {
  readonly #changed: (() => void)[] = [];
  #sharpening = 1;

  constructor() {
    for (const name of ["sharpening", "threshold", "alpha", "least", "opacity"]) {
      input(name).addEventListener("input", () => this.#tell());
    }
    for (const toggle of [input("show-map"), input("show-boxes"), ...this.#kinds()]) {
      toggle.addEventListener("change", () => this.#tell());
    }
    button("reset").addEventListener("click", () => this.reset(this.#sharpening));
    this.reset(this.#sharpening);
  }

  /** Calls back after every change. */
  onChange(callback: () => void): void {
    this.#changed.push(callback);
  }

  /** @param sharpening the model's own */
  reset(sharpening: number): void {
    this.#sharpening = sharpening;
    input("sharpening").valueAsNumber = Math.log10(sharpening);
    for (const [name, value] of Object.entries(DEFAULTS)) input(name).valueAsNumber = value;
    input("show-map").checked = true;
    input("show-boxes").checked = true;
    for (const kind of this.#kinds()) kind.checked = kind.value === "none";
    this.#tell();
  }

  get values(): ShownSettings {
    const exponent = input("sharpening").valueAsNumber;
    // The slider has steps; until it is moved the value is the model's own, not the nearest step.
    const untouched = Math.abs(exponent - Math.log10(this.#sharpening)) <= 0.01;
    return {
      sharpening: untouched ? this.#sharpening : 10 ** exponent,
      threshold: input("threshold").valueAsNumber,
      alpha: input("alpha").valueAsNumber,
      least: input("least").valueAsNumber,
      opacity: input("opacity").valueAsNumber,
      map: input("show-map").checked,
      boxes: input("show-boxes").checked,
      refine: (this.#kinds().find(({ checked }) => checked)?.value ?? "none") as Refinement,
    };
  }

  #kinds(): HTMLInputElement[] {
    return [...document.querySelectorAll<HTMLInputElement>('input[name="refine"]')];
  }

  #tell(): void {
    const values = this.values;
    for (const name of ["sharpening", "threshold", "alpha", "least", "opacity"] as const) {
      const text = String(Number(values[name].toPrecision(name === "sharpening" ? 3 : 2))).replace("-", "−");
      find(`${name}-value`, HTMLOutputElement).value = text;
      input(name).setAttribute("aria-valuetext", text);
    }
    input("alpha").disabled = values.refine !== "iqr";
    for (const callback of this.#changed) callback();
  }
}
