/** Drawn scenes with audio, to try the page without files: those of `soundspot demo`. */
import { renderScene } from "../../src/datasets/drawn/scene/scene.js";
import { blank, contextOf } from "./dom.js";
import type { Pair } from "./files.js";

const SIDE = 336;

/** The `index`th sample: two objects of sounding classes in view, of which one sounds. */
export function drawSample(index: number, seconds: number, sampleRate: number): Pair {
  const scene = renderScene(
    {
      size: SIDE,
      seconds: Math.min(5, Math.max(1, seconds)),
      sampleRate: Math.max(12_000, sampleRate),
      sources: 2,
      props: 2,
      offscreen: 0,
    },
    { seed: 7, split: "test", epoch: 0, index },
  );
  const { width, height, data } = scene.image;
  const image = blank(width, height);
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    pixels.data.set([...data.subarray(i * 3, i * 3 + 3), 255], i * 4);
  }
  contextOf(image).putImageData(pixels, 0, 0);
  const { samples, sampleRate: rate } = scene.audio;
  const audio = { samples: Float32Array.from(samples), sampleRate: rate };
  return { image, audio, name: `a drawn scene in which the ${scene.label} sounds` };
}
