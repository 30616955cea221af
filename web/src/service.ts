/** Requests to the service. */
import type { Attention, Box } from "./maps.js";

export interface Info {
  readonly name: string;
  readonly version: string;
  readonly model: {
    readonly imageSize: number;
    readonly seconds: number;
    readonly sampleRate: number;
    readonly targetSlots: number;
    readonly offTargetSlots: number;
    readonly sharpening: number;
    /** Whether it is the demo model, which knows drawn scenes only. */
    readonly demo?: boolean;
  };
  readonly limits: { readonly uploadBytes: number };
  readonly search: boolean;
}

/** The page's part of an answer to /v1/localize. */
export interface Answer {
  readonly width: number;
  readonly height: number;
  readonly confidence: number;
  readonly boxes: readonly Box[];
  readonly logits: Attention;
}

export interface Found {
  readonly id: string;
  readonly score: number;
  readonly kind: "image" | "audio";
  readonly name: string;
  readonly label?: string | null;
  readonly url: string;
}

/** A failure with a message for users. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  readonly status: number;

  constructor(message: string, status: number, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

/** Total tries of a request that the service postpones. */
const TRIES = 6;
const WAIT_SECONDS = 1;
const LONGEST_WAIT_SECONDS = 30;

export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called before each wait that the service requests. */
  readonly onWait?: ((seconds: number) => void) | undefined;
}

export async function info(): Promise<Info> {
  return (await (await ask("v1/info", {})).json()) as Info;
}

/** An image (PNG or JPEG) and its audio (WAV). */
export async function localize(
  { image, audio }: { readonly image: Blob; readonly audio: Blob },
  options: AskOptions = {},
): Promise<Answer> {
  const form = new FormData();
  form.set("include", "logits");
  form.set("image", image, image.type === "image/png" ? "image.png" : "image.jpg");
  form.set("audio", audio, "audio.wav");
  const answer = (await (await ask("v1/localize", { method: "POST", body: form }, options)).json()) as Answer;
  if (answer.logits) return answer;
  throw new ServiceError(
    "The service's model localizes without slots, so it has no logits to draw maps from. Serve a model with slots.",
    200,
  );
}

export async function search(
  query: { readonly image: Blob } | { readonly audio: Blob },
  { label, k = 12, ...options }: AskOptions & { readonly label?: string; readonly k?: number } = {},
): Promise<readonly Found[]> {
  const form = new FormData();
  form.set("k", String(k));
  if (label) form.set("label", label);
  if ("image" in query) form.set("image", query.image, "image.png");
  else form.set("audio", query.audio, "audio.wav");
  const answer = await (await ask("v1/search", { method: "POST", body: form }, options)).json();
  return (answer as { readonly results: readonly Found[] }).results;
}

/** @throws {ServiceError} when the answer is an error, after the tries that the service asks for. */
async function ask(path: string, init: RequestInit, options: AskOptions = {}): Promise<Response> {
  const { signal, onWait } = options;
  for (let attempt = 1; ; attempt++) {
    const response = await send(path, signal ? { ...init, signal } : init);
    if (response.ok) return response;
    const later = response.status === 429 || response.status === 503;
    if (!later || attempt === TRIES) throw await failure(response);
    const seconds = waitOf(response.headers.get("Retry-After"));
    onWait?.(seconds);
    await rest(seconds, signal);
  }
}

async function send(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new ServiceError("The service cannot be reached. Check that it runs, then try again.", 0, {
      cause,
    });
  }
}

/** Seconds of a Retry-After, which is a number of seconds or a date. */
function waitOf(header: string | null): number {
  if (header === null) return WAIT_SECONDS;
  const seconds = Number(header);
  const wait = Number.isFinite(seconds) ? seconds : (Date.parse(header) - Date.now()) / 1000;
  return Math.min(LONGEST_WAIT_SECONDS, Math.max(0.1, Number.isFinite(wait) ? wait : WAIT_SECONDS));
}

function rest(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

const MESSAGES: Readonly<Record<number, string>> = {
  404: "The service does not know this request. Page and service may be of different versions: reload the page.",
  413: "The file is larger than the service's limit. Choose a smaller one.",
  415: "The service cannot read files of this kind. Choose a common image, audio or video format.",
  429: "The service is busy. Try again in a while.",
  503: "The service is busy or shutting down. Try again in a while.",
};

async function failure(response: Response): Promise<ServiceError> {
  const text = await response.text().catch(() => "");
  let message: string | undefined;
  try {
    message = (JSON.parse(text) as { error?: { message?: string } }).error?.message;
  } catch {
    // A proxy in between answers in its own form.
  }
  const usual = MESSAGES[response.status] ?? `The service failed with status ${response.status}. Try again.`;
  return new ServiceError(message ?? usual, response.status);
}
