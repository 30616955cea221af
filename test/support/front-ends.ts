/** The front ends written again by their definitions, with a plain Fourier sum in float64. */

/** |Σ x·e^(−2πikn/N)|² for k = 0 … N div 2. */
function powerOf(frame: Float64Array): Float64Array {
  const length = frame.length;
  const result = new Float64Array(Math.floor(length / 2) + 1);
  for (let bin = 0; bin < result.length; bin++) {
    let [real, imaginary] = [0, 0];
    for (let i = 0; i < length; i++) {
      const angle = (2 * Math.PI * ((bin * i) % length)) / length;
      real += (frame[i] as number) * Math.cos(angle);
      imaginary -= (frame[i] as number) * Math.sin(angle);
    }
    result[bin] = real * real + imaginary * imaginary;
  }
  return result;
}

const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);

/** The symmetric Tukey window of length + 1 samples without its last. */
export function tukey(length: number, shape = 0.25): Float64Array {
  const ramp = (shape * length) / 2;
  return Float64Array.from({ length }, (_, i) => {
    const fromEnd = Math.min(i, length - i);
    return fromEnd >= ramp ? 1 : (1 - Math.cos((Math.PI * fromEnd) / ramp)) / 2;
  });
}

export interface FrontEndNumbers {
  readonly window: number;
  readonly hop: number;
  readonly rate: number;
}

/** scipy.signal.spectrogram with its defaults: a list of frames, each with its frequencies. */
export function density(samples: Float32Array, { window, hop, rate }: FrontEndNumbers): Float64Array[] {
  const weights = tukey(window);
  const scale = rate * sum(weights.map((weight) => weight * weight));
  const frames: Float64Array[] = [];
  for (let first = 0; first + window <= samples.length; first += hop) {
    const frame = Float64Array.from(samples.subarray(first, first + window));
    const mean = sum(frame) / window;
    const power = powerOf(frame.map((sample, i) => (sample - mean) * (weights[i] as number)));
    const single = (bin: number) => bin === 0 || 2 * bin === window;
    frames.push(power.map((value, bin) => ((single(bin) ? 1 : 2) * value) / scale));
  }
  return frames;
}

/** torchaudio's MelSpectrogram with normalized: a list of frames, each with its bands. */
export function mel(
  samples: Float32Array,
  { window, hop, rate, bands }: FrontEndNumbers & { readonly bands: number },
): Float64Array[] {
  const half = Math.floor(window / 2);
  const last = samples.length - 1;
  const mirrored = Float64Array.from({ length: samples.length + 2 * half }, (_, i) => {
    const at = Math.abs(i - half);
    return samples[at > last ? 2 * last - at : at] as number;
  });
  const weights = Float64Array.from({ length: window }, (_, i) => Math.sin((Math.PI * i) / window) ** 2);
  const energy = sum(weights.map((weight) => weight * weight));
  const hertzOf = (band: number) => {
    const top = 2595 * Math.log10(1 + rate / 2 / 700);
    return 700 * (10 ** ((top * band) / (bands + 1) / 2595) - 1);
  };
  const frames: Float64Array[] = [];
  for (let first = 0; first + window <= mirrored.length; first += hop) {
    const frame = mirrored.slice(first, first + window);
    const power = powerOf(frame.map((sample, i) => sample * (weights[i] as number)));
    frames.push(
      Float64Array.from({ length: bands }, (_, band) => {
        const [left, peak, right] = [hertzOf(band), hertzOf(band + 1), hertzOf(band + 2)];
        let value = 0;
        for (const [bin, each] of power.entries()) {
          const hertz = (rate / 2 / (power.length - 1)) * bin;
          const share = hertz < peak ? (hertz - left) / (peak - left) : (right - hertz) / (right - peak);
          if (share > 0) value += share * (each / energy);
        }
        return value;
      }),
    );
  }
  return frames;
}
