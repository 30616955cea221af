/** The colours of heat: inferno, which grows evenly in lightness for the eye and survives grey printing. */

/** Degree-6 polynomials of matplotlib's inferno (fit by M. Zucker, public domain), lowest power first; rows are R, G, B. */
const INFERNO_POLYNOMIALS = [
  [
    0.0002189403691192265, 0.1065134194856116, 11.60249308247187, -41.70399613139459, 77.162935699427,
    -71.31942824499214, 25.13112622477341,
  ],
  [
    0.001651004631001012, 0.5639564367884091, -3.972853965665698, 17.43639888205313, -33.40235894210092,
    32.62606426397723, -12.24266895238567,
  ],
  [
    -0.01948090843709184, 3.932712388889277, -15.9423941062914, 44.35414519872813, -81.80730925738993,
    73.20951985803202, -23.07030500287172,
  ],
] as const;

/** 256 colours from black over red to pale yellow, `[256, 3]` in RGB. */
export const inferno: Uint8Array = tabulate();

/** Index into a 256-entry table for a value in [0, 1]; values outside are clamped, NaN counts as 0. */
export function colorIndex(value: number): number {
  return value > 0 ? (value < 1 ? (value * 255 + 0.5) | 0 : 255) : 0;
}

/** The colour of a value in [0, 1] as `[red, green, blue]`, each 0 … 255. */
export function infernoColor(value: number): [number, number, number] {
  const at = colorIndex(value) * 3;
  return [inferno[at] ?? 0, inferno[at + 1] ?? 0, inferno[at + 2] ?? 0];
}

function tabulate(): Uint8Array {
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    INFERNO_POLYNOMIALS.forEach((coefficients, channel) => {
      const value = coefficients.reduceRight((sum, coefficient) => sum * (i / 255) + coefficient, 0);
      table[i * 3 + channel] = Math.max(0, Math.min(255, Math.round(value * 255)));
    });
  }
  return table;
}
