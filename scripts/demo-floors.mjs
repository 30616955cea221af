/**
 * The least that the demo model must reach on held-out scenes to be published, as shares. Those of the audio map and
 * of R@1 from audio to images are what README.md promises. Each other one is the lowest figure that README.md names for
 * a trained model, on any processor; a test compares them. That of two objects in view has a margin of two scenes of
 * 200.
 */
export const FLOORS = {
  audio: 0.84, // cIoU@0.5, audio map
  iqr: 0.833, // cIoU@0.5, IQR
  auc: 0.589, // AUC, IQR
  audioToImage: 0.99, // R@1
  imageToAudio: 0.997,
  soundingOverSilent: 0.99, // two objects in view: the map is hotter on the sounding one
};

/** What each figure is called. */
export const NAMES = {
  audio: "cIoU@0.5, audio map",
  iqr: "cIoU@0.5, IQR",
  auc: "AUC, IQR",
  audioToImage: "R@1 audio → image",
  imageToAudio: "R@1 image → audio",
  soundingOverSilent: "hotter on the sounding of two objects",
  mismatched: "cIoU@0.5, audio map, with mismatched audio",
};

export const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "none");

/**
 * @param {Readonly<Record<string, number | undefined>>} figures
 * @returns {string[]} A line for each figure that is below its floor, as it is printed: to a tenth of a percent.
 */
export function shortfalls(figures) {
  const tenths = (share) => Math.round(1000 * share);
  return Object.entries(FLOORS)
    .filter(([name, floor]) => !(tenths(figures[name]) >= tenths(floor)))
    .map(
      ([name, floor]) => `${NAMES[name]}: ${percent(figures[name])}, at least ${percent(floor)} is needed`,
    );
}
