/**
 * The frames of a video element.
 *
 * `seeked` says that the decoder is at the new place. The frame may still be on its way to the screen, and until
 * it is there `drawImage` draws the one before it. `requestVideoFrameCallback` reports each frame that arrived.
 */

/** Milliseconds that a frame is waited for: a browser reports none while its page is hidden. */
const LONGEST_WAIT = 1000;

/** A video whose first frame can be drawn. */
export function opened(url: string, name: string): Promise<HTMLVideoElement> {
  return new Promise((resolve, reject) => {
    const video = document.createElement("video");
    video.playsInline = true;
    video.preload = "auto";
    const first = nextFrame(video);
    video.addEventListener("loadeddata", () => drawable(video, first).then(() => resolve(video)), {
      once: true,
    });
    video.addEventListener(
      "error",
      () => reject(new Error(`${name} is not a video that this browser can play. Choose WebM or MP4.`)),
      { once: true },
    );
    video.src = url;
  });
}

/**
 * Waits until `drawImage` draws the frame at a time.
 *
 * @param time seconds
 */
export function seek(video: HTMLVideoElement, time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const settled = new AbortController();
    const settle = (then: () => void) => {
      settled.abort();
      then();
    };
    const listen = (target: EventTarget, event: string, then: () => void) =>
      target.addEventListener(event, then, { signal: settled.signal });
    const frame = nextFrame(video);
    listen(video, "seeked", () => drawable(video, frame).then(() => settle(resolve)));
    listen(video, "error", () => settle(() => reject(new Error("The video is damaged here."))));
    listen(signal, "abort", () => settle(() => reject(signal.reason)));
    video.currentTime = time;
  });
}

/** Calls a function at each frame that can be drawn, until the signal is aborted. */
export function onFrames(video: HTMLVideoElement, then: () => void, signal: AbortSignal): void {
  nextFrame(video)?.then(() => {
    if (signal.aborted) return;
    then();
    onFrames(video, then, signal);
  });
}

/** Resolves at the next frame that arrives; undefined where the browser does not report frames. */
function nextFrame(video: HTMLVideoElement): Promise<void> | undefined {
  if (!("requestVideoFrameCallback" in video)) return undefined;
  return new Promise((resolve) => {
    video.requestVideoFrameCallback(() => resolve());
  });
}

/** After `loadeddata` or `seeked`: waits for the frame, but not for ever. A video of audio alone has none. */
function drawable(video: HTMLVideoElement, frame: Promise<void> | undefined): Promise<void> {
  if (!frame || video.videoWidth === 0) return Promise.resolve();
  const late = new Promise<void>((resolve) => {
    setTimeout(resolve, LONGEST_WAIT);
  });
  return Promise.race([frame, late]);
}
