/** Many clients at one service: each has a share of the places, of the memory and of the turns. */
import { connect, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Semaphore } from "../../../src/core/semaphore.js";
import type { ServedRequest } from "../../../src/index.js";
import type { Client } from "../../../src/server/clients.js";
import { Service } from "../../../src/server/service.js";
import { Turns } from "../../../src/server/turns.js";
import { audio, failure, metric, png, post, Services, until } from "../../support/service.js";

const services = new Services();
const sockets: Socket[] = [];
let image: Buffer;

beforeAll(async () => {
  await services.begin();
  image = await png();
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const socket of sockets.splice(0)) socket.destroy();
  await services.close();
});
afterAll(() => services.end());

const from = (address: string) => ({ "x-forwarded-for": address });
const body = '--x\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\nx\r\n--x--\r\n';

/** A request of an address that stays unfinished. */
async function unfinished(url: string, address: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => undefined);
  sockets.push(socket);
  const head = `POST /v1/localize HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ${address}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: ${body.length}\r\n\r\n`;
  const before = await metric(url, "soundspot_queue_depth");
  socket.write(head + body.slice(0, 30));
  await until(async () => (await metric(url, "soundspot_queue_depth")) > before);
  return socket;
}

describe("places", () => {
  it("are left to others: a client past its share gets 429, the next one an answer", async () => {
    const { url } = await services.start({ concurrency: 3, queue: 3, trustProxy: 1 });
    for (let i = 0; i < 3; i++) await unfinished(url, "203.0.113.7");
    const response = await post(url, { image, audio }, from("203.0.113.7"));
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await failure(Promise.resolve(response))).toEqual([
      429,
      "ERR_OVERLOADED",
      expect.stringMatching(/^3 requests of your address .* Try again after 1 s\.$/),
    ]);
    const others = await Promise.all(
      ["198.51.100.1", "198.51.100.2", "2001:db8::1"].map((address) =>
        post(url, { image, audio }, from(address)),
      ),
    );
    expect(others.map(({ status }) => status)).toEqual([200, 200, 200]);
    // Its places are its own again when its requests end.
    for (const socket of sockets.splice(0)) socket.destroy();
    await until(async () => (await metric(url, "soundspot_queue_depth")) === 0);
    expect((await post(url, { image, audio }, from("203.0.113.7"))).status).toBe(200);
  });

  it("are counted by the /64 of an IPv6 address", async () => {
    const { url } = await services.start({
      concurrency: 2,
      queue: 2,
      perClient: 1,
      trustProxy: ["127.0.0.0/8"],
    });
    await unfinished(url, "2001:db8:1:2::1");
    const statuses = ["2001:db8:1:2:ffff::9", "2001:db8:1:3::1"].map(
      async (address) => (await post(url, { image, audio }, from(address))).status,
    );
    expect(await Promise.all(statuses)).toEqual([429, 200]);
  });

  it("have no share for this computer, and none that a forged address gets around", async () => {
    const local = await services.start({ concurrency: 1, queue: 1 });
    await unfinished(local.url, "203.0.113.7");
    expect((await post(local.url, { image, audio })).status).toBe(200);

    const { url } = await services.start({ concurrency: 2, queue: 2, perClient: 1, trustProxy: 1 });
    await unfinished(url, "203.0.113.7");
    // The proxy adds the address that it sees at the end.
    const forged = ["127.0.0.1", "198.51.100.1", "::1", "junk"].map((address) => `${address}, 203.0.113.7`);
    for (const list of forged) expect((await post(url, { image, audio }, from(list))).status).toBe(429);
  });

  it("of addresses that proxies report are in the log", async () => {
    const requests: ServedRequest[] = [];
    const onRequest = (request: ServedRequest) => requests.push(request);
    const { url } = await services.start({ trustProxy: 1, onRequest });
    await (await fetch(`${url}/healthz`, { headers: { forwarded: 'for="[2001:DB8::1]:80"' } })).text();
    await (await fetch(`${url}/v1/info`)).text();
    await until(() => requests.length === 2);
    expect(requests.map(({ address }) => address)).toEqual(["2001:db8::1", "127.0.0.1"]);
  });

  it("come with a remark where a proxy is not trusted", async () => {
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const { url } = await services.start({ onWarning });
    await fetch(`${url}/healthz`);
    expect(warnings).toEqual([]);
    for (let i = 0; i < 3; i++) await fetch(`${url}/healthz`, { headers: from("203.0.113.7") });
    expect(warnings).toEqual([expect.stringMatching(/^Requests come through a proxy.*--trust-proxy/)]);
    const trusting = await services.start({ onWarning, trustProxy: 1 });
    await fetch(`${trusting.url}/healthz`, { headers: from("203.0.113.7") });
    expect(warnings).toHaveLength(1);
  });
});

describe("turns", () => {
  it("come after one request of each other client, however many those have sent", async () => {
    const [crowded, late] = ["203.0.113.7", "198.51.100.1"];
    const taking = vi.spyOn(Semaphore.prototype, "take");
    // Each request has a signal of its own.
    const waited = (address: string) =>
      new Set(taking.mock.calls.filter(([, client]) => client === address).map(([signal]) => signal)).size;
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const order: (string | undefined)[] = [];
    const { compute } = Turns.prototype;
    vi.spyOn(Turns.prototype, "compute").mockImplementation(async function (
      this: Turns,
      work,
      signal,
      client,
    ) {
      order.push(client);
      await released;
      return compute.call(this, work, signal, client);
    } as Turns["compute"]);
    const { url } = await services.start({ concurrency: 2, queue: 100, trustProxy: 1 });
    const crowd = Array.from({ length: 40 }, () => post(url, { image, audio }, from(crowded)));
    await until(() => waited(crowded) === 40 && order.length === 2);
    const few = [1, 2].map(() => post(url, { image, audio }, from(late)));
    await until(() => waited(late) === 2);
    release();
    const answers = await Promise.all([...few, ...crowd]);
    expect(answers.map(({ status }) => status)).toEqual(Array(42).fill(200));
    expect(order).toHaveLength(42);
    // Two at work before, then in turns; two that are at work together may change places.
    expect(order.lastIndexOf(late)).toBeLessThanOrEqual(2 + 2 * 2);
  });
});

describe("memory", () => {
  const client = (address: string): Client => ({ key: address, address, limited: true });
  const [one, other] = [client("1.1.1.1"), client("2.2.2.2")];

  it("for uploads has room for others, and for one form of each", () => {
    const service = new Service({ model: services.model });
    const MiB = 2 ** 20;
    service.takeUpload(300 * MiB, 0, one);
    service.takeUpload(300 * MiB, 0, one);
    expect(() => service.takeUpload(1, 0, one)).toThrow(
      expect.objectContaining({
        status: 429,
        message: expect.stringMatching(/^Other uploads of your address/),
      }),
    );
    service.takeUpload(200 * MiB, 0, other);
    service.takeUpload(100 * MiB, 200 * MiB, other); // its only form
    service.giveUploadBack(600 * MiB, one);
    service.takeUpload(1, 0, one);
  });

  it("for answers has room for others", () => {
    const service = new Service({ model: services.model });
    const sent: (() => void)[] = [];
    const raw = {
      once(_event: string, then: () => void) {
        sent.push(then);
        return raw;
      },
    };
    const reply = { raw } as unknown as Parameters<Service["holdAnswer"]>[1];
    const hold = (who: Client) => service.holdAnswer(16 * 2 ** 20, reply, who);
    hold(one);
    hold(one);
    expect(() => hold(one)).toThrow(/^Answers that your address has not taken/);
    hold(other);
    expect(() => hold(other)).toThrow(/^Answers that your address has not taken/);
    for (const then of sent) then();
    hold(one);
  });
});
