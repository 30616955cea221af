/** The attention of every slot over the image, of the audio queries and of the image queries. */
import { blank, contextOf, make } from "./dom.js";
import { type Attention, enlarge, type Tensor } from "./maps.js";
import { colored } from "./overlay.js";

const SIDE = 220;
const ROWS = [
  { name: "audioOnImage", title: "Audio queries" },
  { name: "imageOnImage", title: "Image queries" },
] as const;

export class SlotsPanel {
  readonly #root: HTMLElement;
  #shape = "";
  #panels: HTMLCanvasElement[] = [];

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** @param image under the maps, at any size */
  show(image: HTMLCanvasElement, attention: Attention, targets: number): void {
    const scale = SIDE / Math.max(image.width, image.height);
    const width = Math.max(1, Math.round(image.width * scale));
    const height = Math.max(1, Math.round(image.height * scale));
    const slots = attention.audioOnImage.shape[0] ?? 0;
    this.#build(slots, targets, width, height);
    const base = blank(width, height);
    const context = contextOf(base);
    context.drawImage(image, 0, 0, width, height);
    // Darkened: heat stands out, and cold slots differ from a plain image.
    context.fillStyle = "rgb(0 0 0 / 0.45)";
    context.fillRect(0, 0, width, height);
    ROWS.forEach(({ name }, row) => {
      const scaled = scaledTogether(attention[name]);
      const [, h = 0, w = 0] = attention[name].shape;
      for (let slot = 0; slot < slots; slot++) {
        const panel = this.#panels[row * slots + slot];
        if (!panel) continue;
        const data = enlarge(scaled.subarray(slot * h * w, (slot + 1) * h * w), h, w, height, width);
        const target = contextOf(panel);
        target.drawImage(base, 0, 0);
        target.drawImage(colored({ width, height, data }, 0.85), 0, 0);
      }
    });
  }

  #build(slots: number, targets: number, width: number, height: number): void {
    const shape = [slots, targets, width, height].join();
    if (shape === this.#shape) return;
    this.#shape = shape;
    this.#panels = [];
    const groups = ROWS.map(({ title }) => {
      const group = make("div", { className: "slot-row" });
      group.append(make("h3", { text: title }));
      const panels = make("div", { className: "slot-panels" });
      for (let slot = 0; slot < slots; slot++) {
        const name =
          slot < targets
            ? `target${targets > 1 ? ` ${slot + 1}` : ""}`
            : `off-target${slots - targets > 1 ? ` ${slot - targets + 1}` : ""}`;
        const panel = blank(width, height);
        panel.setAttribute("role", "img");
        panel.setAttribute("aria-label", `${title}: attention of the ${name} slot on the image`);
        const figure = make("figure", { className: slot < targets ? "slot target" : "slot" });
        figure.append(panel, make("figcaption", { text: name }));
        panels.append(figure);
        this.#panels.push(panel);
      }
      group.append(panels);
      return group;
    });
    this.#root.replaceChildren(...groups);
  }
}

/** Over the range of all slots, so that they can be compared. */
function scaledTogether({ data }: Tensor): Float32Array {
  const values = Float32Array.from(data);
  const low = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return values.map((value) => (high > low ? (value - low) / (high - low) : 0));
}
