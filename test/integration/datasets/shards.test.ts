/** Archives in the form of WebDataset: what is a sample, the order of an epoch, damage, and reading from a server. */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { uniform } from "../../../src/core/random.js";
import type { Dataset } from "../../../src/datasets/dataset.js";
import { openDataset } from "../../../src/datasets/registry.js";
import { bufferOrder, planEpoch } from "../../../src/datasets/shards/epoch.js";
import { HttpBytes } from "../../../src/datasets/shards/http-bytes.js";
import { locateShards } from "../../../src/datasets/shards/locate.js";
import { Shard } from "../../../src/datasets/shards/shard.js";
import { writeShardIndex } from "../../../src/datasets/shards/shard-index.js";
import { datasets, evaluate, Model, type SequenceRequest, train } from "../../../src/index.js";
import { tarEnd, tarEntry } from "../../../src/media/tar.js";
import { startProxy } from "../../support/forward-proxy.js";
import { inGroup } from "../../support/processes.js";
import { type Encoded, encodedPair, sampleEntries, writeShards } from "../../support/shards.js";
import { slots, tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-shards-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...parts: string[]) => join(folder, ...parts);

let pair: Encoded;
let six: string[]; // archives of 10 samples
beforeAll(async () => {
  pair = await encodedPair(0);
  mkdirSync(at("six"));
  six = await writeShards(at("six"), 6, 10);
});

const request = (own: Partial<SequenceRequest> = {}): SequenceRequest => ({
  epoch: 0,
  seed: 0,
  batchSize: 4,
  fromBatch: 0,
  rank: 0,
  size: 1,
  ...own,
});

/** Indices of the batches of an epoch, as one process gets them. */
async function indices(data: Dataset, own: Partial<SequenceRequest> = {}): Promise<number[][]> {
  const batches: number[][] = [];
  for await (const batch of data.sequence?.batches(request(own)) ?? []) {
    batches.push(batch.map(({ index }) => index));
  }
  return batches;
}

const archive = (name: string, ...parts: Uint8Array[]) => {
  writeFileSync(at(name), Buffer.concat([...parts, tarEnd]));
  return at(name);
};

describe("names of shards", () => {
  it("are expanded as WebDataset writes them", async () => {
    expect(await locateShards("x/{a,b}-{008..010}.tar")).toEqual([
      "x/a-008.tar",
      "x/a-009.tar",
      "x/a-010.tar",
      "x/b-008.tar",
      "x/b-009.tar",
      "x/b-010.tar",
    ]);
    expect(await locateShards(["https://h/{0..1}.tar?k=1", "https://h/1.tar?k=1"])).toEqual([
      "https://h/0.tar?k=1",
      "https://h/1.tar?k=1",
    ]);
    expect(await locateShards(at("six", "train-00000[1-3].tar"))).toEqual(six.slice(1, 4));
    expect(await locateShards(at("six", "*.tar"))).toEqual(six);
  });

  it("that mean nothing are rejected", async () => {
    await expect(locateShards(at("none-*.tar"))).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
    await expect(locateShards("s3://bucket/a.tar")).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(locateShards("pipe:cat a.tar")).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(locateShards([])).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(locateShards("{0..999999999}.tar")).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(openDataset("nothing-{0..2}.tar")).rejects.toMatchObject({ code: "ERR_DATASET" });
  });
});

describe("samples of an archive", () => {
  it("are files of one name up to its first dot, folders counted", async () => {
    const mask = await import("../../../src/drawing/encode.js").then(({ encodeImage }) =>
      encodeImage(
        { data: new Uint8Array(40 * 40 * 3).fill(255, 0, 2400), width: 40, height: 40 },
        { format: "png" },
      ),
    );
    const path = archive(
      "names.tar",
      tarEntry("./a/1.JPG", pair.jpeg),
      tarEntry("./a/1.wav", pair.wav),
      tarEntry("./a/1.mask.png", mask),
      tarEntry("./a/1.json", Buffer.from('{"label":"dog","boxes":[[1,2,3,4]],"other":1}')),
      tarEntry("b/1.cls", Buffer.from("cat\n")),
      tarEntry("b/1.wav", pair.wav),
      tarEntry("b/1.jpg", pair.jpeg),
      tarEntry("__meta__.json", Buffer.from("{}")),
      tarEntry("README", Buffer.from("no sample")),
      tarEntry(".hidden.jpg", pair.jpeg),
      tarEntry("lonely.jpg", pair.jpeg),
      tarEntry("c.x.jpg", pair.jpeg),
    );
    const data = await datasets.shards({ urls: path });
    expect(data).toMatchObject({ name: "names", length: 2 });
    expect(data.damaged).toEqual([{ file: path, reason: expect.stringContaining("2 names without") }]);
    const first = await data.load(0);
    expect(first).toMatchObject({
      id: "names/a/1",
      label: "dog",
      boxes: [{ x: 1, y: 2, width: 3, height: 4 }],
      image: { width: 40, height: 40 },
      audio: { sampleRate: 16_000 },
    });
    expect(first.mask?.data.reduce((sum, each) => sum + each, 0)).toBe(800);
    expect(await data.load(1)).toMatchObject({ id: "names/b/1", label: "cat" });
    await expect(data.load(2)).rejects.toMatchObject({ code: "ERR_INPUT" });
  });

  it("that tar has put in an order of its own are rejected with the way out", async () => {
    const path = archive(
      "unsorted.tar",
      tarEntry("1.jpg", pair.jpeg),
      tarEntry("2.jpg", pair.jpeg),
      tarEntry("1.wav", pair.wav),
      tarEntry("2.wav", pair.wav),
    );
    await expect(datasets.shards({ urls: path })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringContaining("--sort=name"),
    });
  });

  it("are read from archives that tar makes, plain and packed", async () => {
    const files = at("files");
    mkdirSync(files);
    for (let i = 0; i < 5; i++) {
      const { jpeg, wav } = await encodedPair(i);
      writeFileSync(join(files, `clip${i}.jpg`), jpeg);
      writeFileSync(join(files, `clip${i}.wav`), wav);
      writeFileSync(join(files, `clip${i}.json`), JSON.stringify({ label: `class ${i}` }));
    }
    const tar = (...args: string[]) => execFileSync("tar", args, { cwd: folder });
    tar("--sort=name", "-cf", "gnu.tar", "files");
    tar("--sort=name", "--format=posix", "-cf", "posix.tar", "-C", "files", ".");
    tar("--sort=name", "--format=v7", "-czf", "packed.tar.gz", "-C", "files", ".");
    for (const [name, prefix] of [
      ["gnu.tar", "gnu/files/"],
      ["posix.tar", "posix/"],
      ["packed.tar.gz", "packed/"],
    ] as const) {
      const data = await openDataset(at(name));
      expect(data.length).toBe(5);
      expect(data.damaged).toEqual([]);
      for (const i of [3, 0, 4, 1]) {
        expect(await data.load(i)).toMatchObject({ id: `${prefix}clip${i}`, label: `class ${i}` });
      }
      expect((await indices(data, { batchSize: 5 })).flat().sort()).toEqual([0, 1, 2, 3, 4]);
    }
  });
});

describe("the order of an epoch", () => {
  it("of a buffer is a permutation that takes from no further ahead than the buffer", () => {
    const draw = uniform(7);
    for (const [length, size] of [
      [100, 10],
      [5, 10],
      [50, 1],
      [0, 4],
    ] as const) {
      const order = bufferOrder(length, size, draw);
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
      order.forEach((position, i) => void expect(position).toBeLessThan(i + size));
      if (size === 1) expect([...order]).toEqual(Array.from({ length }, (_, i) => i));
    }
  });

  it("has every sample once, whatever the number of processes, and other ones in another epoch", async () => {
    const data = await datasets.shards({ urls: six, readers: 4, buffer: 8 });
    const alone = await indices(data);
    expect(alone.length).toBe(15);
    expect(alone.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i));
    const [first, second] = [await indices(data, { size: 2 }), await indices(data, { size: 2, rank: 1 })];
    expect(first.map((batch, i) => [...batch, ...(second[i] as number[])])).toEqual(alone);
    const four = await Promise.all([0, 1, 2, 3].map((rank) => indices(data, { size: 4, rank })));
    expect(alone.map((_, i) => four.flatMap((batches) => batches[i] as number[]))).toEqual(alone);
    expect(await indices(data)).toEqual(alone);
    expect(await indices(data, { epoch: 1 })).not.toEqual(alone);
    expect(await indices(data, { seed: 1 })).not.toEqual(alone);
    for (const fromBatch of [1, 7, 14, 15]) {
      expect(await indices(data, { fromBatch })).toEqual(alone.slice(fromBatch));
    }
  });

  it("leaves out what makes no whole batch, and fits readers that do not divide the batch", async () => {
    for (const [readers, batchSize] of [
      [4, 7],
      [8, 4],
      [3, 16],
      [1, 60],
    ] as const) {
      const data = await datasets.shards({ urls: six, readers, buffer: 16 });
      const batches = await indices(data, { batchSize });
      expect(batches.length).toBe(Math.floor(60 / batchSize));
      for (const batch of batches) expect(batch.length).toBe(batchSize);
      expect(new Set(batches.flat()).size).toBe(batches.length * batchSize);
    }
    const data = await datasets.shards({ urls: six, readers: 4 });
    await expect(indices(data, { size: 3, batchSize: 6 })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("multiple of 3"),
    });
    for (const wrong of [{ readers: 0 }, { buffer: 0 }, { readers: 1.5 }]) {
      await expect(datasets.shards({ urls: six, ...wrong })).rejects.toMatchObject({ code: "ERR_CONFIG" });
    }
  });

  it("draws from all archives, each read forwards by one reader", () => {
    const shards = Array.from({ length: 40 }, (_, i) => ({
      shard: new Shard(String(i)),
      samples: 25,
      first: 25 * i,
    }));
    const plans = planEpoch(shards, { epoch: 3, seed: 1, batchSize: 32, readers: 8, buffer: 100 });
    const covered = plans.flatMap(({ stretches }) => stretches.map(({ from, until }) => until - from));
    expect(covered.reduce((sum, each) => sum + each, 0)).toBe(31 * 32);
    for (const { stretches } of plans) {
      // Within a run only its ends lie within an archive.
      for (const { from, until } of stretches.slice(1, -1)) expect([from, until]).toEqual([0, 25]);
    }
  });

  it("has each of 50,000 samples once over 2 ranks of 2 readers, also across a resume", async () => {
    const small = await encodedPair(1, 8, 100);
    mkdirSync(at("many"));
    await writeShards(at("many"), 50, 1000, async () => small);
    const data = await datasets.shards({ urls: at("many", "train-{000000..000049}.tar"), readers: 4 });
    expect(data.length).toBe(50_000);
    const seen = new Uint8Array(50_000);
    const take = (batches: readonly number[][]) => {
      for (const index of batches.flat()) seen[index] = (seen[index] as number) + 1;
    };
    const own = { batchSize: 80, size: 2 };
    const whole = await indices(data, own);
    expect(whole.length).toBe(625);
    take(whole);
    // The other one is ended after 300 batches, and goes on.
    const before: number[][] = [];
    for await (const batch of data.sequence?.batches(request({ ...own, rank: 1 })) ?? []) {
      before.push(batch.map(({ index }) => index));
      if (before.length === 300) break;
    }
    take(before);
    take(await indices(data, { ...own, rank: 1, fromBatch: 300 }));
    expect(seen.every((times) => times === 1)).toBe(true);
  });
});

describe("damage", () => {
  /** Nine whole samples and a part of the tenth. */
  function cut(name: string): string {
    copyFileSync(six[0] as string, at(name));
    const whole = readFileSync(at(name));
    const last = whole.lastIndexOf("000009.jpg");
    truncateSync(at(name), last + 600);
    return at(name);
  }

  it("of an archive that is cut off, absent or empty is reported, and the samples before are read", async () => {
    writeFileSync(at("empty.tar"), "");
    writeFileSync(at("text.tar"), "this is no archive, but it is long enough to be looked at".repeat(20));
    const urls = [cut("cut.tar"), at("absent.tar"), at("empty.tar"), at("text.tar"), six[1] as string];
    const data = await datasets.shards({ urls, readers: 2 });
    expect(data.length).toBe(19);
    expect(data.damaged?.map(({ file }) => file).sort()).toEqual(urls.slice(0, 4).sort());
    expect(data.damaged?.find(({ file }) => file === urls[0])?.reason).toMatch(
      /ends within 000009\.jpg.*9 samples before/,
    );
    expect(new Set((await indices(data, { batchSize: 19 })).flat()).size).toBe(19);
    await expect(datasets.shards({ urls: urls.slice(1, 4) })).rejects.toMatchObject({ code: "ERR_DATASET" });
  });

  it("that comes up while training reads is reported, and others take the places", async () => {
    mkdirSync(at("later"));
    const urls = await writeShards(at("later"), 3, 10);
    const data = await datasets.shards({ urls, readers: 1, buffer: 1 });
    truncateSync(urls[1] as string, 12_000); // after it was counted
    const ids: string[] = [];
    for await (const batch of data.sequence?.batches(request({ batchSize: 10 })) ?? []) {
      for (const each of batch) ids.push((await each.load(undefined)).id);
    }
    expect(ids.length).toBe(30);
    expect(new Set(ids).size).toBeLessThan(30);
    const read = new Set(ids.map((id) => Number(id.slice(-6))));
    // Whole archives are seen whole, of the other what is left.
    for (let i = 0; i < 30; i++) if (i < 10 || i >= 20) expect(read).toContain(i);
    expect(read.size).toBeLessThan(30);
    expect(data.damaged?.[0]).toMatchObject({ file: urls[1], reason: expect.stringContaining("damaged") });
  });

  it("of one image gives its place to another sample, always the same", async () => {
    const good = await encodedPair(3);
    const broken = { jpeg: Buffer.from("no image"), wav: good.wav };
    const path = archive(
      "broken.tar",
      sampleEntries("a", good),
      sampleEntries("b", broken),
      sampleEntries("c", good),
      sampleEntries("d", good),
    );
    const loaded = async () => {
      const data = await datasets.shards({ urls: path, readers: 1 });
      const ids: string[] = [];
      for await (const batch of data.sequence?.batches(request()) ?? []) {
        ids.push(...(await Promise.all(batch.map(async (each) => (await each.load(undefined)).id))));
      }
      expect(data.damaged).toEqual([
        { file: `${path}, sample b`, reason: expect.stringContaining("cannot be decoded") },
      ]);
      return ids;
    };
    const ids = await loaded();
    expect(new Set(ids).size).toBe(3);
    expect(await loaded()).toEqual(ids);
    const data = await datasets.shards({ urls: path });
    await expect(data.load(1)).rejects.toMatchObject({ code: "ERR_DATASET" });
    using model = await Model.create(tiny);
    const scores = await evaluate({ model, data, unreadable: "skip", bootstrap: false }).catch(
      (error: Error) => error,
    );
    expect(scores).toBeDefined();
  });

  it("of an index is met: other sizes, other counts, no JSON", async () => {
    const index = at("six", "own.json");
    const entries = six.map((place) => ({ place, samples: 10, bytes: readFileSync(place).length }));
    await writeShardIndex(index, entries);
    const data = await datasets.shards({ index, readers: 2 });
    expect(data).toMatchObject({ name: "own", length: 60 });
    expect((await indices(data)).flat().length).toBe(60);
    expect(await data.load(34)).toMatchObject({ id: "train-000003/000034" });
    await writeShardIndex(index, [{ ...entries[0], bytes: 5 } as (typeof entries)[0]]);
    await expect(datasets.shards({ index })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringContaining("index-shards"),
    });
    await writeShardIndex(index, [{ place: "train-000000.tar", samples: 12 }]);
    const wrong = await datasets.shards({ index, readers: 1 });
    expect(wrong.length).toBe(12);
    for await (const batch of wrong.sequence?.batches(request()) ?? []) {
      for (const each of batch) await each.load(undefined);
    }
    expect(wrong.damaged?.[0]?.reason).toContain("10 samples, not 12");
    for (const text of ["{}", "no json", '{"wids_version":1,"shardlist":[]}']) {
      writeFileSync(index, text);
      await expect(datasets.shards({ index })).rejects.toMatchObject({ code: "ERR_DATASET" });
    }
    await expect(datasets.shards({ index, urls: six })).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(datasets.shards({})).rejects.toMatchObject({ code: "ERR_CONFIG" });
  });
});

describe("archives on a web server", () => {
  type Answer = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

  /** Serves the archives; `answer` may do it otherwise. Counts requests and bytes. */
  async function serving<T>(
    answer: Answer,
    work: (url: string, seen: { requests: number; bytes: number; ranges: string[] }) => Promise<T>,
  ): Promise<T> {
    const seen = { requests: 0, bytes: 0, ranges: [] as string[] };
    const server = createServer((request, response) => {
      seen.requests++;
      if (request.headers.range) seen.ranges.push(request.headers.range);
      const name = new URL(request.url ?? "", "http://x").pathname.slice(1);
      let body: Buffer;
      try {
        body = readFileSync(at("six", name));
      } catch {
        response.writeHead(404).end();
        return;
      }
      const { write } = response;
      response.write = ((...args: Parameters<typeof write>) => {
        seen.bytes += (args[0] as Buffer).length;
        return write.apply(response, args);
      }) as typeof write;
      answer(request, response, body);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen);
    } finally {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  const startOf = ({ headers }: IncomingMessage) =>
    Number(/bytes=(\d+)-/.exec(headers.range ?? "")?.[1] ?? 0);

  const plain: Answer = (request, response, body) => {
    const start = startOf(request);
    const part = body.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, {
      "content-length": part.length,
      etag: '"1"',
      ...(start > 0 ? { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` } : {}),
    });
    response.write(part);
    response.end();
  };

  /** Ends the connection after 30 kB. */
  const breaking: Answer = (request, response, body) => {
    const start = startOf(request);
    response.writeHead(start > 0 ? 206 : 200, {
      "content-length": body.length - start,
      etag: '"1"',
      ...(start > 0 ? { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` } : {}),
    });
    response.write(body.subarray(start, start + 30_000), () => response.destroy());
  };

  const noRanges: Answer = (_, response, body) => {
    response.writeHead(200, { "content-length": body.length });
    response.write(body);
    response.end();
  };

  it.each([
    ["that answers ranges", plain],
    ["whose connections break", breaking],
    ["that knows no ranges", noRanges],
  ])("%s give the samples that the disk gives", async (_, answer) => {
    const local = await datasets.shards({ urls: six, readers: 4 });
    await serving(answer, async (url, seen) => {
      const data = await datasets.shards({ urls: `${url}/train-{000000..000005}.tar`, readers: 4 });
      expect(data.length).toBe(60);
      const order: string[][] = [[], []];
      for (const [i, each] of [local, data].entries()) {
        for await (const batch of each.sequence?.batches(request()) ?? []) {
          for (const one of batch) {
            const sample = await one.load(undefined);
            order[i]?.push(`${sample.id} ${sample.label} ${sample.audio.samples[100]}`);
          }
        }
      }
      expect(order[1]).toEqual(order[0]);
      expect(await data.load(45)).toMatchObject({ id: "train-000004/000045" });
      expect(data.damaged).toEqual([]);
      if (answer === breaking) expect(seen.ranges.length).toBeGreaterThan(20);
    });
  });

  it("behind a proxy are read through it, and an error names it", async () => {
    await serving(plain, async (url) => {
      const port = Number(new URL(url).port);
      const proxy = await startProxy({ "shards.invalid": port });
      vi.stubEnv("http_proxy", proxy.url);
      try {
        const bytes = new HttpBytes("http://shards.invalid/train-000000.tar");
        expect(Buffer.from(await bytes.read(1000))).toEqual(readFileSync(six[0] as string).subarray(0, 1000));
        await bytes.close();
        expect(proxy.log).toEqual(["CONNECT shards.invalid:80"]);
        const absent = new HttpBytes("http://none.invalid/x.tar", { retryDelay: 1, attempts: 2 });
        await expect(absent.read(1)).rejects.toMatchObject({
          code: "ERR_NETWORK",
          message: expect.stringContaining(`(http_proxy is ${proxy.url})`),
        });
      } finally {
        vi.unstubAllEnvs();
        await proxy.close();
      }
    });
  });

  it("go on after busy answers, and give up with a clear error", async () => {
    let failures = 3;
    const busy: Answer = (request, response, body) => {
      if (failures-- > 0) response.writeHead(503).end();
      else plain(request, response, body);
    };
    await serving(busy, async (url) => {
      const bytes = new HttpBytes(`${url}/train-000000.tar`, { retryDelay: 1 });
      expect((await bytes.read(10)).length).toBe(10);
      await bytes.close();
      failures = 1000;
      const never = new HttpBytes(`${url}/train-000000.tar`, { retryDelay: 1, attempts: 3 });
      await expect(never.read(10)).rejects.toMatchObject({
        code: "ERR_NETWORK",
        message: expect.stringMatching(/answered 503.*3 times/),
      });
      const absent = new HttpBytes(`${url}/none.tar`);
      await expect(absent.read(10)).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
    });
    const nobody = new HttpBytes("http://127.0.0.1:9/x.tar", { retryDelay: 1, attempts: 2 });
    await expect(nobody.read(1)).rejects.toMatchObject({ code: "ERR_NETWORK" });
  });

  it("that stay silent, reject or change are named", async () => {
    const silent: Answer = (_, response, body) => {
      response.writeHead(200, { "content-length": body.length });
      response.write(body.subarray(0, 100));
    };
    await serving(silent, async (url) => {
      const bytes = new HttpBytes(`${url}/train-000000.tar`, { idle: 50, retryDelay: 1, attempts: 2 });
      await bytes.read(100);
      await expect(bytes.read(1)).rejects.toMatchObject({
        code: "ERR_NETWORK",
        message: expect.stringContaining("nothing arrived"),
      });
      const stop = new AbortController();
      const waiting = new HttpBytes(`${url}/train-000000.tar`, { signal: stop.signal });
      await waiting.read(100);
      setTimeout(() => stop.abort(), 20);
      await expect(waiting.read(1)).rejects.toMatchObject({ code: "ERR_ABORTED" });
    });
    let version = 0;
    const changing: Answer = (request, response, body) => {
      const start = startOf(request);
      response.writeHead(start > 0 ? 206 : 200, {
        "content-length": body.length - start,
        etag: `"${version++}"`,
        ...(start > 0 ? { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` } : {}),
      });
      response.write(body.subarray(start, start + 1000), () => response.destroy());
    };
    await serving(changing, async (url) => {
      const bytes = new HttpBytes(`${url}/train-000000.tar`, { retryDelay: 1 });
      for (let left = 1000; left > 0; ) left -= (await bytes.read(left)).length;
      await expect(bytes.read(1)).rejects.toMatchObject({
        code: "ERR_MEDIA_DECODE",
        message: expect.stringContaining("changed"),
      });
    });
    const rejecting: Answer = (_, response) => void response.writeHead(403).end();
    await serving(rejecting, async (url) => {
      await expect(datasets.shards({ urls: `${url}/train-000000.tar` })).rejects.toMatchObject({
        code: "ERR_NETWORK",
        message: expect.stringContaining("403"),
      });
    });
  });

  it("with an index beside them are opened when they are read, with the headers that are given", async () => {
    const entries = six.map((place) => ({ place: place.slice(at("six").length + 1), samples: 10 }));
    await writeShardIndex(at("six", "shardindex.json"), entries);
    const guarded: Answer = (request, response, body) => {
      if (request.headers.authorization !== "Bearer x") response.writeHead(401).end();
      else plain(request, response, body);
    };
    await serving(guarded, async (url, seen) => {
      const headers = { authorization: "Bearer x" };
      const data = await datasets.shards({ index: `${url}/shardindex.json`, headers, readers: 2 });
      expect(seen.requests).toBe(1);
      expect(data.length).toBe(60);
      // Of an epoch that is nearly over, the archives behind are not asked for.
      await indices(data, { fromBatch: 14 });
      expect(seen.requests).toBeLessThan(8);
      await expect(datasets.shards({ index: `${url}/shardindex.json` })).rejects.toMatchObject({
        code: "ERR_NETWORK",
      });
    });
  });
});

describe("training from shards", () => {
  it("is the same in two processes, and after a resume in the middle of an epoch", async () => {
    const source = transpilePackage(at("package"));
    writeFileSync(
      at("run.mjs"),
      `
import { datasets, ProcessGroup, train } from ${JSON.stringify(pathToFileURL(join(source, "index.js")).href)};
const wanted = ProcessGroup.fromEnvironment();
const group = wanted && (await ProcessGroup.join(wanted));
const [output, until] = [process.argv[2], Number(process.argv[3])];
const stop = new AbortController();
const data = await datasets.shards({ urls: ${JSON.stringify(six)}, readers: 4, buffer: 12 });
try {
  await train({
    model: ${JSON.stringify({ ...tiny, ...slots({ maskProbability: 0.2 }) })}, epochs: 2, batchSize: 8, learningRate: 5e-5,
    batchNorm: "synchronised", resume: true, data, output, signal: stop.signal, ...(group ? { group } : {}),
    onStep: ({ step, result }) => {
      process.stdout.write(JSON.stringify([step, result.losses.total]) + "\\n");
      if (step === until) stop.abort();
    },
  });
} catch (error) {
  if (error.code !== "ERR_ABORTED") throw error;
}
`,
    );
    const losses = ({ output }: { readonly output: string }) =>
      output
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as [number, number]);
    const one = await inGroup(1, [at("run.mjs"), at("runs", "one"), "0"]);
    expect(one[0]).toMatchObject({ code: 0 });
    const whole = losses(one[0] as { output: string });
    expect(whole.length).toBe(14);
    const two = await inGroup(2, [at("run.mjs"), at("runs", "two"), "10"]);
    for (const each of two) expect(each).toMatchObject({ code: 0 });
    const first = losses(two[0] as { output: string });
    // On one process from there.
    const rest = await inGroup(1, [at("run.mjs"), at("runs", "two"), "0"]);
    expect(rest[0]).toMatchObject({ code: 0 });
    const joined = [...first, ...losses(rest[0] as { output: string })];
    expect(joined.map(([step]) => step)).toEqual(whole.map(([step]) => step));
    for (const [i, [, loss]] of joined.entries()) {
      expect(Math.abs(loss / (whole[i] as [number, number])[1] - 1)).toBeLessThan(1e-4);
    }
    // Interrupted and resumed on the same number, it ends with the same bits.
    await inGroup(1, [at("run.mjs"), at("runs", "three"), "5"]);
    await inGroup(1, [at("run.mjs"), at("runs", "three"), "0"]);
    const parameters = await Promise.all(
      ["one", "three"].map(async (name) => {
        using model = await Model.load(at("runs", name, "last.safetensors"));
        return (await model.parameters()).map(({ data }) => data);
      }),
    );
    expect(parameters[1]).toEqual(parameters[0]);
  });

  it("does not go on in another order", async () => {
    const options = { model: tiny, epochs: 1, batchSize: 8, output: at("runs", "order") } as const;
    await train({ ...options, data: await datasets.shards({ urls: six, readers: 4 }) });
    const other = await datasets.shards({ urls: six, readers: 2 });
    await expect(train({ ...options, data: other, resume: true })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("order of samples"),
    });
  });
});
