/** Camera and microphone: the current frame with the latest audio. */

import type { AudioClip } from "./audio.js";
import { copyOf, encoded, fitted, LONGEST_SIDE } from "./images.js";
import recorderUrl from "./recorder.worklet.ts?worker&url";
import type { Scene, Surroundings, View } from "./scene.js";

/** Least audio for a request, in seconds. */
const LEAST_AUDIO = 0.5;
/** Least time between two requests, in milliseconds. */
const PAUSE = 100;

export class LiveScene implements Scene {
  readonly kind = "live";
  readonly name = "camera and microphone";
  readonly width: number;
  readonly height: number;
  readonly duration = Number.POSITIVE_INFINITY;
  readonly #stream: MediaStream;
  readonly #video: HTMLVideoElement;
  readonly #context: AudioContext;
  readonly #ring: Ring;
  readonly #surroundings: Surroundings;
  readonly #stop = new AbortController();
  #view: View | undefined;

  private constructor(
    stream: MediaStream,
    video: HTMLVideoElement,
    context: AudioContext,
    ring: Ring,
    surroundings: Surroundings,
  ) {
    this.#stream = stream;
    this.#video = video;
    this.#context = context;
    this.#ring = ring;
    this.#surroundings = surroundings;
    const size = fitted(video.videoWidth, video.videoHeight, LONGEST_SIDE);
    this.width = size.width;
    this.height = size.height;
  }

  /** @throws {Error} with a message for users without a camera or microphone, or without permission. */
  static async open(surroundings: Surroundings): Promise<LiveScene> {
    const stream = await permitted();
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(recorderUrl);
      const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
      const ring = new Ring(Math.ceil(surroundings.seconds * context.sampleRate));
      recorder.port.onmessage = ({ data }: MessageEvent<Float32Array>) => ring.write(data);
      context.createMediaStreamSource(stream).connect(recorder);
      await context.resume();
      const video = document.createElement("video");
      video.muted = true;
      video.playsInline = true;
      video.srcObject = stream;
      await video.play();
      return new LiveScene(stream, video, context, ring, surroundings);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      await context.close();
      throw error;
    }
  }

  get image(): HTMLVideoElement {
    return this.#video;
  }

  get time(): number {
    return this.#context.currentTime;
  }

  get view(): View | undefined {
    return this.#view;
  }

  start(): void {
    this.#follow().catch((error) => {
      if (!this.#stop.signal.aborted) this.#surroundings.onFailure(error);
    });
  }

  async #follow(): Promise<void> {
    const { ask, onNews, frameSide, sampleRate, seconds } = this.#surroundings;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const recorded = this.#ring.read();
      if (recorded.length >= Math.min(LEAST_AUDIO, seconds) * this.#context.sampleRate) {
        const until = this.time;
        const size = fitted(this.#video.videoWidth, this.#video.videoHeight, frameSide);
        const image = await encoded(copyOf(this.#video, size), "image/jpeg");
        const audio = await resampled(recorded, this.#context.sampleRate, sampleRate);
        const { logits, confidence } = await ask(image, audio, signal);
        if (signal.aborted) return;
        const from = Math.max(0, until - audio.samples.length / sampleRate);
        this.#view = { logits, confidence, audio: { ...audio, from } };
        onNews();
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }

  close(): void {
    this.#stop.abort();
    for (const track of this.#stream.getTracks()) track.stop();
    this.#video.srcObject = null;
    this.#context.close().catch(() => undefined);
  }
}

/** The last samples of a stream. */
class Ring {
  readonly #samples: Float32Array<ArrayBuffer>;
  #next = 0;
  #filled = 0;

  constructor(length: number) {
    this.#samples = new Float32Array(length);
  }

  write(block: Float32Array): void {
    for (const sample of block) {
      this.#samples[this.#next] = sample;
      this.#next = (this.#next + 1) % this.#samples.length;
    }
    this.#filled = Math.min(this.#samples.length, this.#filled + block.length);
  }

  /** Oldest first. */
  read(): Float32Array<ArrayBuffer> {
    const first = (this.#next - this.#filled + this.#samples.length) % this.#samples.length;
    return Float32Array.from(
      { length: this.#filled },
      (_, i) => this.#samples[(first + i) % this.#samples.length] as number,
    );
  }
}

async function resampled(samples: Float32Array<ArrayBuffer>, from: number, to: number): Promise<AudioClip> {
  const context = new OfflineAudioContext(1, Math.max(1, Math.round((samples.length * to) / from)), to);
  const buffer = new AudioBuffer({ length: samples.length, numberOfChannels: 1, sampleRate: from });
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  const rendered = await context.startRendering();
  return { samples: rendered.getChannelData(0), sampleRate: to };
}

async function permitted(): Promise<MediaStream> {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers allow camera and microphone on https and on localhost only.");
  }
  try {
    // Unprocessed audio: processing for speech removes other audio sources.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return await navigator.mediaDevices.getUserMedia({ video: true, audio });
  } catch (cause) {
    const name = cause instanceof DOMException ? cause.name : "";
    const messages: Record<string, string> = {
      NotAllowedError: "Camera and microphone are not allowed. Allow them for this page, then try again.",
      NotFoundError: "No camera with a microphone was found. Connect them, then try again.",
      NotReadableError: "Camera or microphone are in use by another program. Close it, then try again.",
    };
    throw new Error(messages[name] ?? "Camera and microphone could not be opened. Try again.", { cause });
  }
}
