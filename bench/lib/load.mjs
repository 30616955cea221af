// Clients of the service: forms with an image and audio, sent one after the other.
import { get } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { encodeWav } from "../../dist/index.js";

const BOUNDARY = "soundspot-bench";
/** Seconds until the load is steady: the first answers come late, and those in flight at the end are not counted. */
const LEAD = 1.5;

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

/**
 * A connection that sends forms one after the other. It reads of an answer no more than it needs: clients share the
 * cores with the service, and must cost little beside it.
 */
class Connection {
  #url;
  #socket;
  #settle;
  #received = "";

  constructor(url) {
    this.#url = new URL(url);
  }

  /** Sends one form. @returns status, milliseconds and the seconds of Retry-After */
  async send(body, address) {
    const started = performance.now();
    const head = [
      "POST /v1/localize HTTP/1.1",
      `host: ${this.#url.host}`,
      `content-type: multipart/form-data; boundary=${BOUNDARY}`,
      `content-length: ${body.length}`,
      ...(address ? [`x-forwarded-for: ${address}`] : []),
    ];
    const { status, retryAfter } = await new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      const socket = this.#open();
      socket.cork();
      socket.write(`${head.join("\r\n")}\r\n\r\n`);
      socket.write(body);
      socket.uncork();
    });
    return { status, ms: performance.now() - started, retryAfter };
  }

  close() {
    this.#socket?.destroy();
  }

  #open() {
    if (this.#socket?.writable) return this.#socket;
    this.#received = "";
    const socket = connect(Number(this.#url.port), this.#url.hostname).setNoDelay().setEncoding("latin1");
    const fail = (error) => this.#socket === socket && this.#settle.reject(error);
    socket.on("data", (text) => this.#take(text));
    socket.on("error", fail);
    socket.on("close", () => fail(new Error("the connection was closed")));
    this.#socket = socket;
    return socket;
  }

  #take(text) {
    this.#received += text;
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#received.slice(0, end).toLowerCase();
    const length = /\ncontent-length: (\d+)/.exec(head);
    if (!length) return this.#settle.reject(new Error("an answer without a length"));
    if (this.#received.length < end + 4 + Number(length[1])) return;
    this.#received = "";
    if (/\nconnection: close/.test(head)) this.#socket.end();
    this.#settle.resolve({
      status: Number(head.slice(9, 12)),
      retryAfter: /\nretry-after: (\S+)/.exec(head)?.[1],
    });
  }
}

/**
 * Clients that send one form after the other for some seconds. A rejected one waits as long as Retry-After says.
 *
 * @param clients their number; `addressOf` gives the address that each has behind the trusted proxy
 * @returns answers a second once the load is steady, percentiles of their milliseconds, statuses, and rejections without
 *   Retry-After
 */
export async function load(url, forms, { clients, seconds, addressOf = () => undefined }) {
  const [statuses, times] = [new Map(), []];
  let [silent, counted] = [0, 0];
  const started = performance.now();
  const [steady, end] = [started + 1000 * Math.min(LEAD, seconds / 4), started + 1000 * seconds];
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      const connection = new Connection(url);
      for (let i = client; performance.now() < end; i++) {
        const sent = connection.send(forms[i % forms.length], addressOf(client));
        const { status, ms, retryAfter } = await sent.catch(() => ({ status: "broken" }));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 200) {
          times.push(ms);
          const now = performance.now();
          if (now > steady && now <= end) counted++;
        } else if (retryAfter === undefined) silent++;
        else await sleep(Math.min(1000 * retryAfter, Math.max(0, end - performance.now())));
      }
      connection.close();
    }),
  );
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
  const rate = (1000 * counted) / (end - steady);
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
