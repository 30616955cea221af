/** Several models in one service, chosen by name. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { namedPaths } from "../../../src/cli/commands/serve.js";
import { createServer, Model, SearchIndex } from "../../../src/index.js";
import { audio, failure, form, metric, png, post, Services } from "../../support/service.js";
import { tiny } from "../../support/tiny.js";

const services = new Services();
let image: Buffer;
let small: Model;
let similarity: Model;

beforeAll(async () => {
  await services.begin();
  image = await png();
  small = await Model.create({ ...tiny, imageSize: 48 }, { seed: 7 });
  similarity = await Model.create({ ...tiny, method: { name: "similarity" } });
});
afterEach(() => services.close());
afterAll(async () => {
  small.dispose();
  similarity.dispose();
  await services.end();
});

const three = () => services.start({ modelName: "first", models: { small, "similarity-1.0": similarity } });

describe("several models", () => {
  it("answer by the name in the field model, the first where there is none", async () => {
    const { url } = await three();
    for (const [name, model] of [
      [undefined, services.model],
      ["first", services.model],
      ["small", small],
      ["similarity-1.0", similarity],
    ] as const) {
      const spot = await model.localize({ image, audio });
      const response = await post(url, { image, audio, ...(name === undefined ? {} : { model: name }) });
      expect(response.status).toBe(200);
      const answer = (await response.json()) as Record<string, unknown>;
      expect([answer.model, answer.confidence, answer.boxes]).toEqual([
        name ?? "first",
        spot.confidence,
        spot.boxes,
      ]);
    }
    expect(await metric(url, 'soundspot_model_localized_pairs_total{model="first"}')).toBe(2);
    expect(await metric(url, 'soundspot_model_localized_pairs_total{model="small"}')).toBe(1);
    expect(await metric(url, "soundspot_localized_pairs_total")).toBe(4);
  });

  it("answer concurrent requests each with its own", async () => {
    const { url } = await three();
    const names = ["first", "small", "similarity-1.0"];
    const models = [services.model, small, similarity];
    const expected = await Promise.all(models.map((model) => model.localize({ image, audio })));
    const answers = await Promise.all(
      Array.from({ length: 24 }, async (_, i) => {
        const response = await post(url, { image, audio, model: names[i % 3] as string });
        return (await response.json()) as { model: string; confidence: number };
      }),
    );
    for (const [i, { model, confidence }] of answers.entries()) {
      expect(model).toBe(names[i % 3]);
      expect(confidence).toBeCloseTo(expected[i % 3]?.confidence as number, 5);
    }
  });

  it("are listed", async () => {
    const { url } = await three();
    const common = { seconds: 0.5, sampleRate: 16_000, targetSlots: 1, search: false };
    const slots = { method: "joint-slot-attention", offTargetSlots: 1, sharpening: 0.1 };
    expect(await (await fetch(`${url}/v1/models`)).json()).toEqual({
      default: "first",
      models: [
        { name: "first", imageSize: 32, ...common, ...slots },
        { name: "small", imageSize: 48, ...common, ...slots },
        { name: "similarity-1.0", imageSize: 32, ...common, method: "similarity", sharpening: 1 },
      ],
    });
    expect(await (await fetch(`${url}/v1/info`)).json()).toMatchObject({
      model: { imageSize: 32, method: "joint-slot-attention" },
      models: ["first", "small", "similarity-1.0"],
    });
  });

  it("give 404 with the names for any other", async () => {
    const { url } = await three();
    for (const name of ["large", "", "FIRST", "__proto__", "constructor", "../first"]) {
      expect(await failure(post(url, { image, audio, model: name }))).toEqual([
        404,
        "ERR_NOT_FOUND",
        `There is no model ${JSON.stringify(name)}. This service has first, small, similarity-1.0.`,
      ]);
    }
  });

  it("may be one without slots", async () => {
    const { url } = await services.start({ model: similarity });
    const info = (await (await fetch(`${url}/v1/info`)).json()) as { model: object };
    expect(info.model).toEqual({
      imageSize: 32,
      seconds: 0.5,
      sampleRate: 16_000,
      method: "similarity",
      targetSlots: 1,
      sharpening: 1,
    });
  });
});

describe("one model", () => {
  it("has the name default, and answers without it", async () => {
    const { url } = await services.start();
    const response = await post(url, { image, audio, model: "default" });
    expect([response.status, Object.keys((await response.json()) as object)]).toEqual([
      200,
      ["width", "height", "confidence", "boxes", "settings"],
    ]);
    expect((await failure(post(url, { image, audio, model: "other" })))[2]).toMatch(
      /This service has default\.$/,
    );
  });
});

describe("an index", () => {
  it("is searched with the model that made it", async () => {
    const media = join(services.folder, "media", "dog");
    mkdirSync(media, { recursive: true });
    writeFileSync(join(media, "a.png"), image);
    writeFileSync(join(media, "a.wav"), audio);
    using index = await SearchIndex.create(join(services.folder, "media.index"), { model: small });
    await index.update({ model: small, folder: join(services.folder, "media") });
    const { url } = await services.start({ models: { small }, index });
    const response = await fetch(`${url}/v1/search`, { method: "POST", body: form({ audio }) });
    const { results } = (await response.json()) as { results: { name: string; score: number }[] };
    expect(results.map(({ name }) => name)).toEqual([join("dog", "a.png")]);
    const [expected] = await index.search({ model: small, audio, localize: true });
    expect(results[0]?.score).toBeCloseTo(expected?.score as number, 5);
    const { models } = (await (await fetch(`${url}/v1/models`)).json()) as {
      models: { name: string; search: boolean }[];
    };
    expect(models.map(({ name, search }) => [name, search])).toEqual([
      ["default", false],
      ["small", true],
    ]);
    await expect(
      createServer({ model: services.model, models: { similarity }, index }),
    ).rejects.toMatchObject({
      code: "ERR_INDEX_MISMATCH",
      message: expect.stringMatching(/made with none of the models default, similarity\./),
    });
  });
});

describe("names", () => {
  it.each<[string, () => object, RegExp]>([
    ["an empty one", () => ({ models: { "": small } }), /^A model's name must have 1 to 64 .*; it was ""/],
    ["one with a slash", () => ({ models: { "a/b": small } }), /it was "a\/b"/],
    ["one of 65 letters", () => ({ models: { ["a".repeat(65)]: small } }), /it was "a{65}"/],
    ["a wrong first one", () => ({ modelName: ".." }), /it was "\.\."/],
    ["a repeated one", () => ({ models: { default: small } }), /^Two models have the name default/],
    ["a model that is none", () => ({ models: { a: {} } }), /^models\.a must be a Model/],
    ["models that are none", () => ({ models: 3 }), /^models must be an object/],
  ])("reject %s", async (_what, options, message) => {
    await expect(createServer({ model: services.model, ...options() })).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(message),
    });
  });

  it("come before the checkpoints of the command", () => {
    expect(namedPaths(["runs/a=1/last.safetensors"], undefined)).toEqual([
      { name: "default", path: "runs/a=1/last.safetensors" },
    ]);
    expect(namedPaths(["a.pth", "b=c=d.pth"], undefined)).toEqual([
      { name: "default", path: "a.pth" },
      { name: "b", path: "c=d.pth" },
    ]);
    expect(namedPaths(["b=b.pth"], "a.pth")).toEqual([
      { name: "default", path: "a.pth" },
      { name: "b", path: "b.pth" },
    ]);
    expect(namedPaths(["a=a.pth", "b=b.pth"], undefined).map(({ name }) => name)).toEqual(["a", "b"]);
    const file = join(services.folder, "x=y.pth");
    writeFileSync(file, "");
    expect(namedPaths([file], undefined)).toEqual([{ name: "default", path: file }]);
    for (const [checkpoints, model, message] of [
      [[], undefined, /^Give a checkpoint/],
      [["b.pth"], "a.pth", /^The checkpoint was given twice/],
      [["a.pth", "b.pth"], undefined, /^Requests choose .* Give b\.pth one: NAME=b\.pth/],
      [["a=a.pth", "a=b.pth"], undefined, /^Two checkpoints have the name a/],
      [["a.pth", "default=b.pth"], undefined, /^Two checkpoints have the name default/],
    ] as const) {
      expect(() => namedPaths(checkpoints, model)).toThrow(
        expect.objectContaining({ code: "ERR_CONFIG", message: expect.stringMatching(message) }),
      );
    }
  });
});
