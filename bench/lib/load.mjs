// Clients of the service: forms with an image and audio, sent one after the other.
import { Agent, get, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { encodeWav } from "../../dist/index.js";

const BOUNDARY = "soundspot-bench";

/** An image of 224 px as JPEG and audio of 5 s as WAV. */
export async function files(seed) {
  const pixels = new Uint8Array(224 * 224 * 3);
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [(i / 3) % 224, Math.floor(i / 672)];
    pixels[i] =
      128 + 90 * Math.sin((x * (1 + (i % 3)) + seed * y) / 23) + 30 * Math.sin((x * y) / (97 * seed));
  }
  const raw = { width: 224, height: 224, channels: 3 };
  const samples = Float32Array.from(
    { length: 80_000 },
    (_, i) => 0.4 * Math.sin(i * 0.03 * seed) + 0.2 * Math.sin(i * 0.171),
  );
  return {
    image: await sharp(pixels, { raw }).jpeg({ quality: 85 }).toBuffer(),
    audio: Buffer.from(encodeWav({ samples, sampleRate: 16_000 })),
  };
}

/** Files as a browser would send them. */
export function form({ image, audio }) {
  const part = (name, type, file) => [
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n`,
    file,
    "\r\n",
  ];
  const parts = [...part("image", "image/jpeg", image), ...part("audio", "audio/wav", audio)];
  return Buffer.concat([...parts, `--${BOUNDARY}--\r\n`].map((each) => Buffer.from(each)));
}

/** Sends one form. @returns status, milliseconds and the seconds of Retry-After */
function send(url, agent, body, address) {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": `multipart/form-data; boundary=${BOUNDARY}`,
      "content-length": body.length,
      ...(address ? { "x-forwarded-for": address } : {}),
    };
    const sent = request(`${url}/v1/localize`, { method: "POST", agent, headers }, (response) => {
      response.resume().on("error", reject);
      response.on("end", () => {
        const retryAfter = response.headers["retry-after"];
        resolve({ status: response.statusCode, ms: performance.now() - started, retryAfter });
      });
    });
    sent.on("error", reject).end(body);
  });
}

/**
 * Clients that send one form after the other for some seconds. A rejected one waits as long as Retry-After says.
 *
 * @param clients their number; `addressOf` gives the address that each has behind the trusted proxy
 * @returns answers a second, percentiles of their milliseconds, statuses, and rejections without Retry-After
 */
export async function load(url, forms, { clients, seconds, addressOf = () => undefined }) {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const [statuses, times] = [new Map(), []];
  let silent = 0;
  const started = performance.now();
  const end = started + 1000 * seconds;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = client; performance.now() < end; i++) {
        const sent = send(url, agent, forms[i % forms.length], addressOf(client));
        const { status, ms, retryAfter } = await sent.catch(() => ({ status: "broken" }));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 200) times.push(ms);
        else if (retryAfter === undefined) silent++;
        else await sleep(Math.min(1000 * retryAfter, Math.max(0, end - performance.now())));
      }
    }),
  );
  agent.destroy();
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
  const rate = (1000 * times.length) / (performance.now() - started);
  return { statuses, silent, rate, p50: at(0.5), p99: at(0.99) };
}

/** The service's metrics: MiB resident, and the event loop's delay since the last request for them. */
export function figures(url) {
  return new Promise((resolve, reject) => {
    get(`${url}/metrics`, async (response) => {
      let text = "";
      for await (const chunk of response.setEncoding("utf8")) text += chunk;
      const value = (name) => Number(new RegExp(`^${name} (\\S+)`, "m").exec(text)[1]);
      resolve({
        memory: value("process_resident_memory_bytes") / 2 ** 20,
        delay: 1000 * value("nodejs_eventloop_lag_p99_seconds"),
      });
    }).on("error", reject);
  });
}

/** Figures in equal parts of some seconds; `onPart` is called with each. */
export async function watch(url, { seconds, parts, onPart }) {
  const all = [];
  for (let part = 1; part <= parts; part++) {
    // The last one comes while the load is still there.
    await sleep((1000 * seconds) / parts - (part === parts ? Math.min(500, (500 * seconds) / parts) : 0));
    all.push(await figures(url));
    onPart?.(part);
  }
  return all;
}
