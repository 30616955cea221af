/** Drawn scenes with their sounds, to try the page without files: those that `soundspot demo` learns from. */
import { renderScene } from "../../src/datasets/drawn/scene/scene.js";
import { blank, contextOf } from "./dom.js";
import type { Pair } from "./files.js";

const SIDE = 336;

/** The `index`th sample: two things of sounding classes in view, of which one is heard. */
export function drawSample(index: number, seconds: number, sampleRate: number): Pair {
  const { image, audio, label } = renderScene(
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
  const picture = blank(image.width, image.height);
  const pixels = new ImageData(image.width, image.height);
  for (let i = 0; i < image.width * image.height; i++) {
    pixels.data.set([...image.data.subarray(i * 3, i * 3 + 3), 255], i * 4);
  }
  contextOf(picture).putImageData(pixels, 0, 0);
  const sound = { samples: Float32Array.from(audio.samples), sampleRate: audio.sampleRate };
  return { picture, sound, name: `a drawn scene in which the ${label} is heard` };
}
