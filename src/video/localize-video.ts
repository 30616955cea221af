/** Localization over a video: some frames through the model, all frames out. */
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../config/defaults.js";
import { methodNamed } from "../config/methods.js";
import { placesOf } from "../config/model.js";
import { aFunction, aPath, aSignal, aText, check, checkFields, inRange, shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { type InternalFramesOptions, type Media, type MediaFrameAt, openMedia } from "../media/media.js";
import { infoOf } from "../media/video.js";
import { asWindow } from "../model/audio-window.js";
import { isDemoModel, warnOfDemoModel } from "../model/demo.js";
import { checkFileRate } from "../model/file-rate.js";
import { prepareSample } from "../model/inputs.js";
import type { LoadedModel } from "../model/loaded.js";
import { aModel } from "../model/loaded.js";
import { localizePrepared } from "../model/localize.js";
import type { Model } from "../model/model.js";
import {
  type LocalizeVideoOptions,
  registerVideoLocalizer,
  type VideoRange,
  type VideoSpot,
} from "../model/video.js";
import { type AudioWindow, AudioWindows } from "./audio-windows.js";
import { LocalizedFrame } from "./localized-frame.js";
import { reachOf, smoothed, type Tracked, weighted } from "./tracking.js";

/** Localized frames that the model works on while later ones are decoded. */
const AHEAD = 2;
const PER_SECOND = 5;

interface Look {
  readonly tracked: Tracked;
  readonly silent: boolean;
}

/**
 * Finds the sound source over a video. Every nth frame with the audio around it goes through the model; attention is
 * smoothed over time and interpolated for the frames between. Gives every frame in order; of a video with uneven frames
 * those shown at even moments, which do not depend on `from`. Memory holds the frames of half a second to a second,
 * however long the video is; leaving the loop ends all that runs.
 *
 * @throws {SoundspotError} ERR_NO_AUDIO for a video without audio; ERR_INPUT for options out of range, and audio of a rate that
 * `audio.rate: "file"` rejects; those of decoding;
 * ERR_DISPOSED, ERR_ABORTED.
 * @example
 * for await (const { time, source, boxes } of model.localizeVideo("clip.mp4")) console.log(time, source, boxes);
 */
export async function* localizeVideo(
  model: Model,
  path: string,
  options: LocalizeVideoOptions = {},
): AsyncGenerator<VideoSpot, void, void> {
  yield* localizeFile(model, path, options);
}

async function* localizeFile(
  model: LoadedModel,
  path: string,
  options: LocalizeVideoOptions,
): AsyncGenerator<LocalizedFrame, void, void> {
  check(model, aModel, "model");
  check(path, aPath, "The video");
  checkFields(options, { signal: aSignal, onStart: aFunction, ffmpeg: aText });
  yield* localizeMedia(model, path, () => openMedia(path, options), options);
}

registerVideoLocalizer(localizeFile);

/** @internal `localizeVideo` of a file that is opened when the options are checked. */
export async function* localizeMedia(
  model: LoadedModel,
  path: string,
  opened: () => Promise<Media>,
  options: LocalizeVideoOptions,
): AsyncGenerator<LocalizedFrame, void, void> {
  const { signal, smoothing = 0.2, minConfidence = 0.5 } = options;
  const settings = {
    threshold: inRange(options.threshold ?? MASK_THRESHOLD, 0, 1, "threshold"),
    alpha: options.refine === "iqr" ? inRange(options.alpha ?? AUDIO_WEIGHT, 0, 1, "alpha") : undefined,
    ...placesOf(model.config),
  };
  if (options.refine !== undefined && options.refine !== "none" && options.refine !== "iqr") {
    throw new SoundspotError(
      "ERR_INPUT",
      `refine must be none or iqr for a video, got ${shown(options.refine)}.`,
    );
  }
  if (options.refine === "iqr" && !methodNamed(model.config.method.name).maps.includes("iqr")) {
    throw new SoundspotError(
      "ERR_INPUT",
      `The method "${model.config.method.name}" has no map of the image's own to refine by. Leave refine out.`,
    );
  }
  inRange(smoothing, 0, 10, "smoothing");
  inRange(minConfidence, -1, 1, "minConfidence");
  void model.handle; // a disposed model is rejected before anything is decoded
  if (isDemoModel(model)) warnOfDemoModel();
  const media = await opened();
  const { range, moments } = rangeOf(media, path, options);
  const every = options.every ?? Math.max(1, Math.round(range.frameRate / PER_SECOND));
  if (!Number.isSafeInteger(every) || every < 1) {
    throw new SoundspotError(
      "ERR_INPUT",
      `every must be a whole number of frames of at least 1, got ${shown(every)}.`,
    );
  }
  const config = asWindow(model.config);
  if (media.audioTrack) checkFileRate(media.audioTrack.sampleRate, config, path, "ERR_INPUT");
  options.onStart?.(range);

  const step = every / range.frameRate;
  const reach = reachOf(smoothing, step);
  const windows = new AudioWindows(media, model.config.audio.seconds);
  const frames = media.frames(moments);
  /** Of localized frames in order; those that no waiting frame needs any more are freed. */
  const looks: (Promise<Look> | undefined)[] = [];
  const waiting: { readonly index: number; readonly frame: MediaFrameAt }[] = [];

  const look = async (frame: MediaFrameAt, window: Promise<AudioWindow>): Promise<Look> => {
    const { audio, silent } = await window;
    const handle = await prepareSample({ image: frame.image, audio }, config);
    const [spot] = await localizePrepared(model, [{ handle }], {
      ...options,
      refine: "none",
      sizes: [[1, 1]],
    });
    if (!spot) throw new SoundspotError("ERR_INTERNAL", "A frame was not localized.");
    return { tracked: { ...spot.targets, confidence: spot.confidence }, silent };
  };
  const at = async (key: number): Promise<Look> => {
    const from = Math.max(0, key - reach);
    const near = await Promise.all(looks.slice(from, key + reach + 1));
    const all = near as Look[];
    const own = all[key - from] as Look;
    return {
      tracked: smoothed(
        all.map(({ tracked }) => tracked),
        key - from,
        smoothing,
        step,
      ),
      silent: own.silent,
    };
  };
  const finish = async ({ index, frame }: (typeof waiting)[number]): Promise<LocalizedFrame> => {
    const key = Math.floor(index / every);
    const next = Math.min(key + 1, looks.length - 1);
    const share = next === key ? 0 : (index % every) / every;
    const [before, after] = [await at(key), await at(next)];
    for (let old = Math.max(0, key - reach - 2); old < key - reach; old++) looks[old] = undefined;
    const tracked =
      share === 0 ? before.tracked : weighted([before.tracked, after.tracked], [1 - share, share]);
    const { silent } = share < 0.5 ? before : after;
    const source = (!silent || options.includeSilent === true) && tracked.confidence >= minConfidence;
    const localized = index % every === 0;
    return LocalizedFrame.of(
      { index, time: frame.at, frameTime: frame.time, image: frame.image, source, silent, localized },
      tracked,
      settings,
    );
  };

  // Audio is read in order: one window after the other.
  let lastWindow: Promise<unknown> = Promise.resolve();
  try {
    let index = 0;
    for await (const frame of frames) {
      if (index % every === 0) {
        const window = lastWindow.then(() => windows.around(frame.at));
        lastWindow = window.catch(() => undefined);
        const own = look(frame, window);
        own.catch(() => undefined); // reported where it is awaited
        looks.push(own);
      }
      waiting.push({ index, frame });
      index++;
      for (let first = waiting[0]; first; first = waiting[0]) {
        if (Math.floor(first.index / every) + 1 + reach + AHEAD >= looks.length) break;
        waiting.shift();
        yield await finish(first);
        throwIfAborted(signal);
      }
    }
    for (let first = waiting.shift(); first; first = waiting.shift()) {
      yield await finish(first);
      throwIfAborted(signal);
    }
  } finally {
    waiting.length = 0;
    await Promise.allSettled(looks);
    await lastWindow.catch(() => undefined);
    await windows.close();
  }
}

/** What is worked on, and the moments of its frames: those of the whole video that lie in it. */
function rangeOf(
  media: Media,
  path: string,
  { from = 0, to }: LocalizeVideoOptions,
): { readonly range: VideoRange; readonly moments: InternalFramesOptions } {
  const info = infoOf(media, path);
  if (!info.hasAudio) {
    throw new SoundspotError("ERR_NO_AUDIO", `${path} has no audio stream. Give a video with audio.`);
  }
  const { duration, frameRate: rate } = info;
  if (!(typeof from === "number" && from >= 0 && from < duration)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `from must be in [0, ${duration}) s, the length of ${path}, got ${shown(from)}.`,
    );
  }
  if (to !== undefined && !(typeof to === "number" && to > from)) {
    throw new SoundspotError("ERR_INPUT", `to must be after from (${from} s), got ${shown(to)}.`);
  }
  const end = Math.min(to ?? duration, duration);
  // Of a video with a constant rate a frame may be off its moment by rounding.
  const slack = media.video?.constant ? 0.25 / rate : undefined;
  const first = media.firstFrame;
  const aligned = Math.max(0, first + Math.ceil((from - first) * rate - 1e-3) / rate);
  // Between two frames, the one shown at `from`.
  const start = aligned < end ? aligned : from;
  const frames = Math.max(1, Math.ceil((end - start) * rate - 1e-3));
  return {
    range: { ...info, from: start, to: end, frames },
    moments: { from: start, to: start + frames / rate, rate, slack, unlimited: true },
  };
}
