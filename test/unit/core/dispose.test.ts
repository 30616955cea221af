/** `using`, `await using` and `for await` over this package's resources, and their state afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  createServer,
  type Dataset,
  datasets,
  Media,
  Model,
  openMedia,
  ProcessGroup,
  type Sample,
  SearchIndex,
  type SkippedSample,
  SoundspotError,
  samplesOf,
  Trainer,
} from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-dispose-"));
const at = (name: string) => join(folder, name);
const image = { data: new Uint8Array(12 * 8 * 3).fill(90), width: 12, height: 8 };
const audio = { samples: Float32Array.from({ length: 800 }, (_, i) => Math.sin(i / 9)), sampleRate: 8000 };
const disposed = { name: "SoundspotError", code: "ERR_DISPOSED" };
const COUNT = 7;
let model: Model;

beforeAll(async () => {
  model = await Model.create(tiny);
  await writeFile(at("image.png"), await encodeImage(image, { format: "png" }));
  await writeFile(at("audio.wav"), encodeWav(audio));
  const row = (i: number) => JSON.stringify({ id: `${i}`, image: "image.png", audio: "audio.wav" });
  await writeFile(at("list.jsonl"), Array.from({ length: COUNT }, (_, i) => `${row(i)}\n`).join(""));
});
afterAll(() => {
  model.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** A free port. */
async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

describe("for await over a dataset", () => {
  it.each([
    ["a manifest", () => datasets.manifest({ path: at("list.jsonl") })],
    ["scenes", async () => datasets.scenes({ size: 32, seconds: 1, length: COUNT })],
  ])("gives the samples of %s in order", async (_, open) => {
    await using data = await open();
    const ids: string[] = [];
    for await (const { id } of data) ids.push(id);
    const each = await Promise.all(Array.from({ length: COUNT }, (_, i) => data.load(i)));
    expect(ids).toEqual(each.map(({ id }) => id));
  });

  /** A caller's own dataset that counts what it decodes. */
  function own(length: number, damaged: readonly number[] = []) {
    const seen = { begun: 0, ended: 0, aborted: 0 };
    const data: Dataset = {
      name: "own",
      length,
      async load(index, { epoch = 0, signal } = {}): Promise<Sample> {
        seen.begun++;
        try {
          await sleep(3, undefined, { signal: signal as AbortSignal });
        } catch (error) {
          seen.aborted++;
          throw error;
        }
        seen.ended++;
        if (damaged.includes(index))
          throw new SoundspotError("ERR_MEDIA_DECODE", `sample ${index} is damaged`);
        return { id: `${epoch}-${index}`, image, audio };
      },
    };
    return { data, seen };
  }
  const idsOf = async (samples: AsyncIterable<Sample>) => {
    const ids: string[] = [];
    for await (const { id } of samples) ids.push(id);
    return ids;
  };

  it("goes through a caller's own dataset by samplesOf, a few samples ahead", async () => {
    const { data, seen } = own(9);
    let first = true;
    for await (const { id } of samplesOf(data, { epoch: 2, items: 3 })) {
      if (first) {
        await sleep(20);
        expect([id, seen.begun]).toEqual(["2-0", 3]);
      }
      first = false;
    }
    expect(seen).toEqual({ begun: 9, ended: 9, aborted: 0 });
  });

  it("stops what is being decoded when the loop is left", async () => {
    const { data, seen } = own(100);
    for await (const _ of samplesOf(data)) break;
    await sleep(10);
    expect(seen.begun).toBe(5);
    expect(seen.ended + seen.aborted).toBe(5);
    expect(seen.aborted).toBeGreaterThan(0);
  });

  it("ends with ERR_ABORTED when its signal fires", async () => {
    const { data } = own(100);
    const control = new AbortController();
    setTimeout(() => control.abort(), 10);
    await expect(idsOf(samplesOf(data, { signal: control.signal }))).rejects.toMatchObject({
      code: "ERR_ABORTED",
    });
  });

  it("throws at a damaged sample, or leaves it out and reports it", async () => {
    const { data } = own(5, [1, 3]);
    await expect(idsOf(samplesOf(data))).rejects.toMatchObject({ message: "sample 1 is damaged" });
    const skipped: SkippedSample[] = [];
    const options = { unreadable: "skip" as const, onSkip: (each: SkippedSample) => skipped.push(each) };
    expect(await idsOf(samplesOf(data, options))).toEqual(["0-0", "0-2", "0-4"]);
    expect(skipped).toEqual(
      [1, 3].map((index) => ({
        index,
        code: "ERR_MEDIA_DECODE",
        reason: `sample ${index} is damaged`,
      })),
    );
  });

  it.each([{ items: 0 }, { epoch: 0.5 }, { unreadable: "maybe" }])("rejects %o", async (options) => {
    const { data } = own(2);
    await expect(idsOf(samplesOf(data, options as object))).rejects.toMatchObject({ code: "ERR_INPUT" });
  });
});

describe("after it is disposed", () => {
  it("a dataset throws ERR_DISPOSED", async () => {
    for (const open of [() => datasets.manifest({ path: at("list.jsonl") }), () => datasets.scenes()]) {
      let kept: Dataset;
      {
        await using data = await open();
        kept = data;
        await data.load(0);
      }
      await expect(kept.load(0)).rejects.toMatchObject(disposed);
      await kept.close?.(); // harmless
    }
  });

  it("a trainer throws ERR_DISPOSED, and its model stays", async () => {
    let kept: Trainer;
    {
      using trainer = new Trainer(model, { batchSize: 2 });
      kept = trainer;
      await trainer.step([
        { image, audio },
        { image, audio },
      ]);
    }
    const pair = { image, audio };
    await expect(kept.step([pair, pair])).rejects.toMatchObject(disposed);
    await expect(kept.save(at("state.safetensors"))).rejects.toMatchObject(disposed);
    await expect(kept.restore(at("state.safetensors"))).rejects.toMatchObject(disposed);
    kept.dispose(); // harmless
    expect((await model.localize(pair)).width).toBe(image.width);
  });

  it("a process group throws ERR_DISPOSED", async () => {
    let kept: ProcessGroup;
    {
      const place = { rank: 0, size: 1, address: "127.0.0.1", port: await freePort() };
      await using group = await ProcessGroup.join(place);
      kept = group;
      expect(await group.gather("here")).toEqual(["here"]);
    }
    await expect(kept.gather("gone")).rejects.toMatchObject(disposed);
    expect(() => kept.traffic()).toThrow(expect.objectContaining(disposed));
    expect(() => new Trainer(model, {}, kept)).toThrow(expect.objectContaining(disposed));
    await kept.leave(); // harmless
  });

  it("an open file throws ERR_DISPOSED", async () => {
    let kept: Media;
    {
      await using media = await openMedia(encodeWav(audio));
      kept = media;
      expect(media).toBeInstanceOf(Media);
      expect((await media.audio()).samples).toHaveLength(800);
    }
    await expect(kept.audio()).rejects.toMatchObject(disposed);
    await expect(kept.frameAt(0)).rejects.toMatchObject(disposed);
    await kept.close(); // harmless
  });

  it("an index throws ERR_DISPOSED", async () => {
    let kept: SearchIndex;
    {
      using index = await SearchIndex.create(at("search.index"), { model });
      kept = index;
      expect(await index.search({ model, image })).toEqual([]);
    }
    await expect(kept.search({ model, image })).rejects.toMatchObject(disposed);
    await expect(kept.update({ model, folder })).rejects.toMatchObject(disposed);
    kept.close(); // harmless
  });

  it("a server throws ERR_DISPOSED, and its model stays", async () => {
    let kept: Awaited<ReturnType<typeof createServer>>;
    {
      await using server = await createServer({ model });
      kept = server;
      expect(await server.listen({ port: 0 })).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    }
    await expect(kept.listen({ port: 0 })).rejects.toMatchObject(disposed);
    await kept.close(); // harmless
    expect((await model.localize({ image, audio })).width).toBe(image.width);
  });
});
