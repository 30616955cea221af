/** From a video to the two files of a sample: its frame as JPEG and its audio as WAV. */
import { SoundspotError } from "../core/errors.js";
import { inSlices } from "../core/pacer.js";
import type { RawAudio } from "../core/types.js";
import { encodeImage } from "../drawing/encode.js";
import { type OpenMediaOptions, openMedia } from "../media/media.js";
import { infoOf, windowAround } from "../media/video.js";
import { encodeWav } from "../media/wav.js";
import { preprocess } from "../model/preprocess.js";

export interface SampleSettings {
  /** Moment of the frame, in seconds; null for the middle. */
  readonly frameAt: number | null;
  /** Of the audio, in hertz. */
  readonly sampleRate: number;
  /** The audio around the frame is cut to this, in seconds; null for all of it. */
  readonly maxSeconds: number | null;
  /** Averages the channels; otherwise there are one or two. */
  readonly mono: boolean;
  /** Default the track that the video marks. */
  readonly audioTrack?: number | undefined;
  /** 1 … 100. */
  readonly jpegQuality: number;
}

export interface SampleMedia {
  readonly jpeg: Uint8Array;
  /** 16-bit PCM. */
  readonly wav: Uint8Array;
}

/** Samples converted before the event loop may run. */
const SLICE = 65536;

/**
 * Decodes the frame and the audio, and encodes them.
 * @returns beside the files, how many samples of the audio were outside the range of 16 bits.
 * @throws {SoundspotError} ERR_NO_AUDIO, and as `openMedia` does.
 */
export async function makeSample(
  path: string,
  settings: SampleSettings,
  options: Omit<OpenMediaOptions, "audioTrack">,
): Promise<SampleMedia & { readonly clipped: number }> {
  const { signal } = options;
  const media = await openMedia(path, { ...options, audioTrack: settings.audioTrack });
  // Before time is spent on the frame.
  if (!infoOf(media, path).hasAudio) {
    throw new SoundspotError("ERR_NO_AUDIO", `${path} has no audio stream. Give a video with audio.`);
  }
  const { duration } = media;
  const at = settings.frameAt ?? duration / 2;
  media.checkMoment("frameAt", at);
  const { image } = await media.frameAt(at);
  const jpeg = await encodeImage(image, { format: "jpeg", quality: settings.jpegQuality });
  const decoded = await media.audio(
    settings.maxSeconds === null ? {} : windowAround(at, settings.maxSeconds, duration),
  );
  const mixed = await mix(decoded, settings.mono ? 1 : 2, signal);
  return { jpeg, ...(await encodeAudio(await resampled(mixed, settings.sampleRate), signal)) };
}

async function resampled(audio: RawAudio, sampleRate: number): Promise<RawAudio> {
  if (audio.sampleRate === sampleRate) return audio;
  const { data, shape } = await preprocess.resample(audio, sampleRate);
  return { samples: data, sampleRate, channels: shape[0] ?? 1 };
}

/**
 * At most as many channels as wanted. One is the mean of all. Of two, each has its own channel and,
 * 3 dB down, what is in neither (centre, bass, surround), all scaled so that nothing can clip.
 */
async function mix(audio: RawAudio, wanted: 1 | 2, signal: AbortSignal | undefined): Promise<RawAudio> {
  const { samples, sampleRate, channels = 1 } = audio;
  if (channels <= wanted) return audio;
  const frames = samples.length / channels;
  const others = wanted === 1 ? 1 : Math.SQRT1_2;
  const scale = 1 / (1 + others * (channels - wanted));
  const mixed = new Float32Array(wanted * frames);
  const step = Math.max(1, Math.floor(SLICE / channels));
  await inSlices(frames, step, signal, (from, to) => {
    for (let frame = from; frame < to; frame++) {
      let rest = 0;
      for (let channel = wanted; channel < channels; channel++) {
        rest += samples[channel * frames + frame] as number;
      }
      for (let side = 0; side < wanted; side++) {
        mixed[side * frames + frame] = scale * ((samples[side * frames + frame] as number) + others * rest);
      }
    }
  });
  return { samples: mixed, sampleRate, channels: wanted };
}

/** WAV by slices, between which the event loop runs. */
async function encodeAudio(
  audio: RawAudio,
  signal: AbortSignal | undefined,
): Promise<{ wav: Uint8Array; clipped: number }> {
  const { samples, sampleRate, channels = 1 } = audio;
  const frames = samples.length / channels;
  const head = encodeWav({ samples: new Float32Array(0), sampleRate, channels });
  const wav = new Uint8Array(head.length + 2 * samples.length);
  wav.set(head);
  const view = new DataView(wav.buffer);
  view.setUint32(4, wav.length - 8, true);
  view.setUint32(head.length - 4, 2 * samples.length, true);
  let clipped = 0;
  const step = Math.max(1, Math.floor(SLICE / channels));
  await inSlices(frames, step, signal, (from, to) => {
    const part = new Float32Array(channels * (to - from));
    for (let channel = 0; channel < channels; channel++) {
      part.set(samples.subarray(channel * frames + from, channel * frames + to), channel * (to - from));
    }
    for (const sample of part) {
      const rounded = Math.round(sample * 32768);
      if (rounded > 32767 || rounded < -32768) clipped++;
    }
    const encoded = encodeWav({ samples: part, sampleRate, channels });
    wav.set(encoded.subarray(head.length), head.length + 2 * channels * from);
  });
  return { wav, clipped };
}
