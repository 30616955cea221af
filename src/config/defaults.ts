/** Defaults of localization that belong to no model: they are not stored in checkpoints. */

/** α of IQR and the other refinements: the audio map's weight. */
export const AUDIO_WEIGHT = 0.4;

/** The mask is where the heatmap reaches it. */
export const MASK_THRESHOLD = 0.6;
