/** Log spectrogram of audio, for display. */

const WINDOW = 512;
const BINS = WINDOW / 2;

const hann = Float64Array.from(
  { length: WINDOW },
  (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW),
);
const turns = Float64Array.from({ length: WINDOW }, (_, i) => Math.cos((2 * Math.PI * i) / WINDOW));

/** cos and sin of 2π·i/512. */
const cosine = (i: number): number => turns[i % WINDOW] as number;
const sine = (i: number): number => turns[(i + WINDOW - WINDOW / 4) % WINDOW] as number;

/** Fast Fourier transform in place, radix 2. */
function transform(real: Float64Array, imaginary: Float64Array): void {
  for (let i = 1, j = 0; i < WINDOW; i++) {
    let bit = WINDOW >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j] as number, real[i] as number];
      [imaginary[i], imaginary[j]] = [imaginary[j] as number, imaginary[i] as number];
    }
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    const half = size / 2;
    const stride = WINDOW / size;
    for (let start = 0; start < WINDOW; start += size) {
      for (let k = 0; k < half; k++) {
        const [even, odd] = [start + k, start + k + half];
        const [c, s] = [cosine(k * stride), -sine(k * stride)];
        const [r, i] = [real[odd] as number, imaginary[odd] as number];
        const [turnedReal, turnedImaginary] = [r * c - i * s, r * s + i * c];
        real[odd] = (real[even] as number) - turnedReal;
        imaginary[odd] = (imaginary[even] as number) - turnedImaginary;
        real[even] = (real[even] as number) + turnedReal;
        imaginary[even] = (imaginary[even] as number) + turnedImaginary;
      }
    }
  }
}

/** Loudness by time and frequency. */
export interface Spectrogram {
  readonly columns: number;
  readonly bins: number;
  /** [bins, columns] in decibels of full scale, lowest frequency first. */
  readonly data: Float32Array;
}

/** `columns` moments at equal distances over all samples; 256 bins up to half the sample rate. */
export function spectrogramOf(samples: Float32Array, columns: number): Spectrogram {
  const data = new Float32Array(BINS * columns);
  const real = new Float64Array(WINDOW);
  const imaginary = new Float64Array(WINDOW);
  for (let column = 0; column < columns; column++) {
    const first = Math.round(((column + 0.5) * samples.length) / columns - WINDOW / 2);
    for (let i = 0; i < WINDOW; i++) real[i] = (samples[first + i] ?? 0) * (hann[i] as number);
    imaginary.fill(0);
    transform(real, imaginary);
    for (let bin = 0; bin < BINS; bin++) {
      const power = (real[bin] as number) ** 2 + (imaginary[bin] as number) ** 2;
      // A full-scale sine has a magnitude of a quarter of the window under Hann's.
      data[bin * columns + column] = 10 * Math.log10(power / (WINDOW / 4) ** 2 + 1e-12);
    }
  }
  return { columns, bins: BINS, data };
}
