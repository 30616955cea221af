/** Lays a heatmap and boxes over an image, with the colours of the package's figures. */
import { colorIndex, inferno } from "../../src/drawing/colormap.js";
import { blank, contextOf } from "./dom.js";
import type { Box, HeatMap } from "./maps.js";

/** The map as an image: coloured pixels whose opacity grows with the heat, from clear where it is cold. */
export function colored({ width, height, data }: HeatMap, opacity: number): HTMLCanvasElement {
  const layer = blank(width, height);
  const pixels = new ImageData(width, height);
  const bytes = pixels.data;
  const alphas = Uint8Array.from({ length: 256 }, (_, i) => {
    // Smoothstep: cold regions stay a clean photograph, hot ones a plateau of full opacity.
    const heat = Math.min(1, i / 255 / 0.8);
    return Math.round(opacity * heat * heat * (3 - 2 * heat) * 255);
  });
  for (let i = 0; i < data.length; i++) {
    const color = colorIndex(data[i] as number);
    bytes[i * 4] = inferno[color * 3] as number;
    bytes[i * 4 + 1] = inferno[color * 3 + 1] as number;
    bytes[i * 4 + 2] = inferno[color * 3 + 2] as number;
    bytes[i * 4 + 3] = alphas[color] as number;
  }
  contextOf(layer).putImageData(pixels, 0, 0);
  return layer;
}

/** Green frames with a dark rim, which keeps them visible on a bright image; in pixels of the canvas. */
export function drawBoxes(context: CanvasRenderingContext2D, boxes: readonly Box[]): void {
  const { width, height } = context.canvas;
  const line = Math.max(1, Math.round(Math.min(width, height) / 160));
  for (const box of boxes) {
    for (const [color, thickness] of [
      ["rgb(0 0 0)", line + 2],
      ["rgb(64 255 140)", line],
    ] as const) {
      context.strokeStyle = color;
      context.lineWidth = thickness;
      context.strokeRect(box.x, box.y, box.width, box.height);
    }
  }
}

/** The scale of colours from 0 on the left to 1 on the right. */
export function drawScale(target: HTMLCanvasElement): void {
  const pixels = new ImageData(256, 1);
  for (let i = 0; i < 256; i++) {
    pixels.data.set([...inferno.subarray(i * 3, i * 3 + 3), 255], i * 4);
  }
  contextOf(target).putImageData(pixels, 0, 0);
}
