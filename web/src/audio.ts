/** Audio: decoded and resampled by the browser, cut to the audio window, written as WAV. */

/** One channel at the model's sample rate, in [−1, 1]. */
export interface AudioClip {
  readonly samples: Float32Array<ArrayBuffer>;
  /** In hertz. */
  readonly sampleRate: number;
}

/** A part of a clip. */
export interface AudioWindow extends AudioClip {
  /** Where it begins, in seconds. */
  readonly from: number;
}

export const lengthOf = ({ samples, sampleRate }: AudioClip): number => samples.length / sampleRate;

/**
 * Decodes an audio file, or a video's audio track, as the mean of its channels.
 * @throws {Error} with a message for users when the browser cannot.
 */
export async function decodeAudio(file: Blob, sampleRate: number, name: string): Promise<AudioClip> {
  const bytes = await file.arrayBuffer();
  // A context resamples decoded audio to its own rate.
  const context = new OfflineAudioContext(1, 1, sampleRate);
  let decoded: AudioBuffer;
  try {
    decoded = await context.decodeAudioData(bytes);
  } catch (cause) {
    throw new Error(`${name} has no audio that this browser can decode. Choose WAV, MP3, Ogg, WebM or MP4.`, {
      cause,
    });
  }
  if (decoded.length === 0) throw new Error(`The audio of ${name} is empty.`);
  const samples = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    const data = decoded.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) {
      samples[i] = (samples[i] as number) + (data[i] as number) / decoded.numberOfChannels;
    }
  }
  return { samples, sampleRate };
}

/** Up to `seconds` around the moment `at`, moved inside the clip. */
export function around(audio: AudioClip, at: number, seconds: number): AudioWindow {
  const { samples, sampleRate } = audio;
  const count = Math.min(samples.length, Math.round(seconds * sampleRate));
  const wanted = Math.round(at * sampleRate - count / 2);
  const first = Math.max(0, Math.min(samples.length - count, wanted));
  return { samples: samples.slice(first, first + count), sampleRate, from: first / sampleRate };
}

/** 16-bit mono RIFF WAV. */
export function wavOf({ samples, sampleRate }: AudioClip): Blob {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (at: number, letters: string) => {
    for (let i = 0; i < letters.length; i++) view.setUint8(at + i, letters.charCodeAt(i));
  };
  text(0, "RIFF");
  view.setUint32(4, 36 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, samples.length * 2, true);
  for (let i = 0; i < samples.length; i++) {
    const value = Math.max(-1, Math.min(1, samples[i] as number));
    view.setInt16(44 + i * 2, Math.round(value * 32767), true);
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}
