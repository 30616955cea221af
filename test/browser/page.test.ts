import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { build } from "vite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sharpeningOf } from "../../src/config/methods.js";
import { renderScene } from "../../src/datasets/drawn/scene/scene.js";
import { encodeImage } from "../../src/drawing/encode.js";
import { Model } from "../../src/index.js";
import { findFfmpeg } from "../../src/media/ffmpeg.js";
import { encodeWav } from "../../src/media/wav.js";
import { type PageService, servePage } from "../support/page-service.js";
import { patience } from "../support/patience.js";
import { tiny } from "../support/tiny.js";
import {
  axeFaults,
  CHROMIUM,
  installed,
  keyboardFaults,
  motionFaults,
  structureFaults,
  targetFaults,
  widthFaults,
} from "./accessible.js";

/** In the page: `drawImage` draws the frame before a seek until so many milliseconds after the new one arrived. */
function lateFrames(delay: number): void {
  const before = new WeakMap<HTMLVideoElement, HTMLCanvasElement>();
  const video = HTMLVideoElement.prototype;
  const { requestVideoFrameCallback } = video;
  video.requestVideoFrameCallback = function (then) {
    return requestVideoFrameCallback.call(this, (...frame) => setTimeout(() => then(...frame), delay + 20));
  };
  const place = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "currentTime");
  Object.defineProperty(video, "currentTime", {
    ...place,
    set(this: HTMLVideoElement, seconds: number) {
      const frame = document.createElement("canvas");
      frame.width = this.videoWidth;
      frame.height = this.videoHeight;
      frame.getContext("2d")?.drawImage(this, 0, 0);
      before.set(this, frame);
      requestVideoFrameCallback.call(this, () => setTimeout(() => before.delete(this), delay));
      place?.set?.call(this, seconds);
    },
  });
  const canvas = CanvasRenderingContext2D.prototype;
  const { drawImage } = canvas;
  canvas.drawImage = function (this: CanvasRenderingContext2D, image: CanvasImageSource, ...to: number[]) {
    const shown = image instanceof HTMLVideoElement ? (before.get(image) ?? image) : image;
    Reflect.apply(drawImage, this, [shown, ...to]);
  };
}

if (!installed) console.warn(`The page is not tested: no Chromium at ${CHROMIUM}. Set CHROMIUM_PATH.`);

describe.skipIf(!installed)("the page", () => {
  let folder: string;
  let model: Model;
  let service: PageService;
  let browser: Browser;
  const file = (name: string) => join(folder, name);
  const opened: { page: Page; wrong: string[] }[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "soundspot-page-"));
    await build({ root: "web", logLevel: "error", build: { outDir: file("web") } });
    model = await Model.create(tiny, { seed: 5 });
    service = await servePage(model, file("web"));
    const { seconds, sampleRate } = model.config.audio;
    for (const [index, name] of ["first", "second"].entries()) {
      const { image, audio } = renderScene(
        { size: 120, seconds: 1, sampleRate, sources: 1, props: 2, offscreen: 0 },
        { seed: 1, split: "test", epoch: 0, index },
      );
      const wide = { data: image.data.slice(0, 120 * 90 * 3), width: 120, height: 90 };
      await writeFile(file(`${name}.png`), await encodeImage(wide, { format: "png" }));
      const middle = audio.samples.slice(0, seconds * sampleRate);
      await writeFile(file(`${name}.wav`), encodeWav({ samples: middle, sampleRate }));
    }
    await writeFile(file("notes.txt"), "no image");
    const { path } = await findFfmpeg();
    const moving = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10:duration=2"];
    const tone = ["-f", "lavfi", "-i", "sine=frequency=500:duration=2"];
    const ffmpeg = (...args: string[]) =>
      execFileSync(path, ["-v", "error", "-y", ...moving, ...tone, ...args]);
    ffmpeg("-c:v", "libvpx", "-b:v", "400k", "-c:a", "libopus", file("clip.webm"));
    ffmpeg("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", file("clip.mp4"));
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
      ],
    });
  });

  afterEach(async () => {
    service.busy = 0;
    service.failing = undefined;
    service.demo = false;
    for (const { page, wrong } of opened.splice(0)) {
      await page.context().close();
      expect(wrong).toEqual([]);
    }
  });

  afterAll(async () => {
    await browser?.close();
    await service?.close();
    model?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  /** @param expected errors of the console that the test causes */
  async function open(options: BrowserContextOptions = {}, expected = /^$/): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(patience(60));
    const wrong: string[] = [];
    page.on("console", (message) => {
      const telling = message.type() === "error" || message.type() === "warning";
      if (telling && !expected.test(message.text())) wrong.push(message.text());
    });
    page.on("pageerror", (error) => wrong.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith(service.url) && !request.url().startsWith("blob:"))
        wrong.push(request.url());
    });
    opened.push({ page, wrong });
    await page.goto(service.url);
    await page.locator("#sample:enabled").waitFor();
    service.asked.length = 0;
    service.answers.length = 0;
    return page;
  }

  const mapped = (page: Page) => page.locator("#screen[aria-busy=false]").waitFor();
  const drawn = (page: Page, id: string) =>
    page.evaluate(async (target) => {
      const shown = () => new Promise((resolve) => requestAnimationFrame(resolve));
      await shown();
      await shown();
      return (document.getElementById(target) as HTMLCanvasElement).toDataURL();
    }, id);
  /** Every confidence counts as a source in view. */
  const trust = (page: Page) => page.locator("#least").fill("-1");
  const giveFirst = async (page: Page) => {
    await page.setInputFiles("#files", [file("first.png"), file("first.wav")]);
    await mapped(page);
    await trust(page);
  };

  async function saved(page: Page, id: string): Promise<Buffer> {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(id)]);
    return readFile(await download.path());
  }

  it("localizes a sample without files, and says of the demo model what it knows", async () => {
    service.demo = true;
    const page = await open();
    expect(await page.textContent("#model-line")).toMatch(/^demo model: knows drawn scenes only, .* px/);
    await page.click("#sample");
    await mapped(page);
    expect(service.asked.map(({ parts }) => [...parts].sort())).toEqual([["audio", "image", "include"]]);
    service.demo = false;
    expect(await (await open()).textContent("#model-line")).not.toContain("demo");
  });

  it("shows the engine's map of an image with audio, and saves it", async () => {
    const page = await open({ acceptDownloads: true });
    await giveFirst(page);
    expect(service.asked).toHaveLength(1);
    expect(service.asked[0]?.seconds).toBeCloseTo(model.config.audio.seconds, 5);
    expect(service.asked[0]?.fields).toEqual({ include: "logits" });

    const spot = await model.localize({ image: file("first.png"), audio: file("first.wav") });
    const result = JSON.parse((await saved(page, "#save-result")).toString());
    expect(result.confidence).toBeCloseTo(spot.confidence, 3);
    expect(result.boxes.map(({ score: _, ...box }: { score: number }) => box)).toEqual(
      spot.boxes.map(({ score: _, ...box }) => box),
    );
    expect(result.attention.audioOnImage.shape).toEqual(spot.attention?.audioOnImage.shape);

    await page.locator("#show-boxes").uncheck();
    const overlay = sharp(await saved(page, "#save-image")).removeAlpha();
    const { data, info } = await overlay.raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([120, 90]);
    const image = await sharp(file("first.png")).removeAlpha().raw().toBuffer();
    const change = (at: number) =>
      [0, 1, 2].reduce((sum, c) => sum + Math.abs((data[at * 3 + c] ?? 0) - (image[at * 3 + c] ?? 0)), 0);
    const hot = spot.heatmap.indexOf(1);
    const cold = spot.heatmap.indexOf(0);
    expect(change(hot)).toBeGreaterThan(60);
    expect(change(cold)).toBeLessThan(6);
  });

  it("redraws from the logits alone when a control is moved", async () => {
    const page = await open();
    await giveFirst(page);
    const asked = service.asked.length;
    let last = await drawn(page, "image");
    const steps: [string, () => Promise<unknown>][] = [
      ["opacity", () => page.locator("#opacity").fill("0.9")],
      ["threshold", () => page.locator("#threshold").fill("0.3")],
      ["sharpening", () => page.locator("#sharpening").fill("1.6")],
      ["IQR", () => page.getByText("IQR", { exact: true }).click()],
      ["alpha", () => page.locator("#alpha").fill("0.9")],
      ["boxes", () => page.locator("#show-boxes").uncheck()],
      ["map", () => page.locator("#show-map").uncheck()],
      ["reset", () => page.locator("#reset").click()],
    ];
    for (const [name, step] of steps) {
      await step();
      const now = await drawn(page, "image");
      expect(now === last, name).toBe(false);
      last = now;
    }
    expect(await page.locator("#sharpening-value").textContent()).toBe(String(sharpeningOf(model.config)));
    await page.locator("#least").fill("1");
    await page.locator("#badge").waitFor();
    expect(await page.locator("#boxes li").count()).toBe(0);
    expect(service.asked).toHaveLength(asked);
  });

  it("plays a video with its map in step, and requests nothing twice", async () => {
    const page = await open({ acceptDownloads: true });
    service.most = 0;
    await page.setInputFiles("#files", file("clip.webm"));
    await mapped(page);
    await trust(page);
    // Two seconds at steps of a quarter, the very end aside.
    await expect.poll(() => service.asked.length, { timeout: patience(60) }).toBe(8);
    expect(service.most).toBeLessThanOrEqual(2);
    for (const { seconds } of service.asked) expect(seconds).toBeCloseTo(model.config.audio.seconds, 5);
    expect(new Set(service.asked.map(({ digests }) => digests.image)).size).toBe(8);

    await page.click("#play");
    await page.waitForFunction(
      () => Number((document.getElementById("seek") as HTMLInputElement).value) > 0.3,
    );
    const some = await drawn(page, "image");
    const described = await page.locator("#spectrogram").getAttribute("aria-label");
    await page.waitForFunction(
      () => Number((document.getElementById("seek") as HTMLInputElement).value) > 1.2,
    );
    expect((await drawn(page, "image")) === some).toBe(false);
    expect(await page.locator("#spectrogram").getAttribute("aria-label")).not.toBe(described);
    // Playback is drawn with its map: without the map the same moment looks different.
    await page.click("#play");
    const paused = await drawn(page, "image");
    expect((await drawn(page, "image")) === paused).toBe(true);
    await page.locator("#show-map").uncheck();
    expect((await drawn(page, "image")) === paused).toBe(false);
    // At a requested moment the logits are those of its answer, between two of them their mean.
    const at = async (time: number): Promise<number[]> => {
      await page.locator("#seek").fill(String(time));
      const words = `${time.toFixed(1)} /`;
      await page.waitForFunction(
        (start) => document.getElementById("clock")?.textContent?.startsWith(start),
        words,
      );
      const result = JSON.parse((await saved(page, "#save-result")).toString());
      expect(result.at).toBeCloseTo(time, 5);
      return result.logits.audioOnImage.data;
    };
    const [half, between, threeQuarters] = [await at(0.5), await at(0.6), await at(0.75)];
    for (const logits of [half, threeQuarters]) {
      const same = service.answers.filter(({ logits: { audioOnImage } }) =>
        audioOnImage?.data.every((value, i) => Math.abs(value - (logits[i] as number)) < 1e-6),
      );
      expect(same).toHaveLength(1);
    }
    const furthest = (a: number[], b: number[]) =>
      Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));
    const mean = half.map((value, i) => 0.6 * value + 0.4 * (threeQuarters[i] as number));
    expect(furthest(between, mean)).toBeLessThan(1e-5);
    expect(furthest(half, threeQuarters)).toBeGreaterThan(1e-3);
    await page.locator("#seek").fill("0");
    await page.click("#play");
    await page.waitForFunction(
      () => Number((document.getElementById("seek") as HTMLInputElement).value) > 0.5,
    );
    expect(service.asked).toHaveLength(8);
  });

  it("localizes the frame of each moment, also where it arrives after the seek has ended", async () => {
    const frames = async (page: Page) => {
      await page.setInputFiles("#files", file("clip.webm"));
      await expect.poll(() => service.asked.length, { timeout: patience(60) }).toBe(8);
      return service.asked.map(({ digests }) => digests.image).sort();
    };
    const right = await frames(await open());
    const page = await open();
    await page.evaluate(lateFrames, 150);
    expect(await frames(page)).toEqual(right);
  });

  it("takes MP4 where the browser does", async ({ skip }) => {
    const page = await open();
    const plays = await page.evaluate(() =>
      document.createElement("video").canPlayType('video/mp4; codecs="avc1.42E01E, mp4a.40.2"'),
    );
    if (plays === "") skip("This Chromium plays no H.264.");
    await page.setInputFiles("#files", file("clip.mp4"));
    await mapped(page);
    expect(await page.locator("#clock").textContent()).toContain("/ 2.0 s");
  });

  it("exchanges the audio of two images and computes both maps again", async () => {
    const page = await open();
    await page.click("#to-exchange");
    await trust(page);
    await page.setInputFiles("#left-files", [file("first.png"), file("first.wav")]);
    await page.setInputFiles("#right-files", [file("second.png"), file("second.wav")]);
    const status = page.locator("#exchange-status");
    await status.getByText("Each with its own audio").waitFor();
    const before = [await drawn(page, "left-image"), await drawn(page, "right-image")];
    await page.click("#exchange");
    await status.getByText("Audio exchanged").waitFor();
    const after = [await drawn(page, "left-image"), await drawn(page, "right-image")];
    expect([after[0] === before[0], after[1] === before[1]]).toEqual([false, false]);
    const pairs = service.asked.map(({ digests }) => `${digests.image} ${digests.audio}`);
    expect(new Set(pairs).size).toBe(4);
    const cells = await page.locator("#matrix tbody td").allTextContents();
    for (const cell of cells) expect(cell).toMatch(/^−?[01]\.\d\d$/);

    await page.click("#left-play");
    await expect(page.locator("#left-caption").textContent()).resolves.toBe("Audio: the other’s");
    await page.click("#exchange");
    await status.getByText("Each with its own audio").waitFor();
    expect([await drawn(page, "left-image"), await drawn(page, "right-image")]).toEqual(before);
    expect(service.asked).toHaveLength(4);
  });

  it("works by the keyboard alone", async () => {
    const page = await open({ acceptDownloads: true });
    const focused = () =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLElement;
        const shown = element.matches('input[type="radio"]') ? element.nextElementSibling : element;
        const { outlineStyle, outlineWidth } = getComputedStyle(shown as Element);
        return {
          id: element.id || (element as HTMLInputElement).value,
          visible: outlineStyle !== "none" && outlineWidth !== "0px",
        };
      });
    const walked: string[] = [];
    const tabTo = async (id: string) => {
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab");
        const now = await focused();
        expect(now, now.id).toMatchObject({ visible: true });
        walked.push(now.id);
        if (now.id === id) return;
      }
      throw new Error(`Tab does not reach ${id}; it went ${walked.join(", ")}.`);
    };
    await tabTo("sample");
    expect(walked).toEqual(["to-localize", "to-exchange", "drop", "sample"]);
    await page.keyboard.press("Enter");
    await mapped(page);
    walked.length = 0;
    await tabTo("reset");
    expect(walked).toEqual(
      "camera play seek mute save-image save-result none sharpening threshold least opacity show-map show-boxes reset".split(
        " ",
      ),
    );
    await page.keyboard.press("Enter");
    await page.locator("input[name=refine]").first().focus();
    await page.keyboard.press("ArrowRight");
    await tabTo("alpha");
    await page.keyboard.press("ArrowLeft");
    expect(await page.locator("#alpha-value").textContent()).toBe("0.39");
    await page.locator("#save-image").focus();
    await tabTo("save-result");
    const [download] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
    const { settings } = JSON.parse(await readFile(await download.path(), "utf8"));
    expect(settings).toMatchObject({ refine: "iqr", alpha: 0.39 });

    const chooser = page.waitForEvent("filechooser");
    await page.locator("#drop").focus();
    await page.keyboard.press("Space");
    expect((await chooser).isMultiple()).toBe(true);
  });

  it("takes a dropped image, then a pasted audio file", async () => {
    const page = await open();
    const hand = async (event: "drop" | "paste", name: string, type: string) => {
      const bytes = [...(await readFile(file(name)))];
      await page.evaluate(
        ([kind, content, filename, mime]) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(content)], filename, { type: mime }));
          const target = document.getElementById("drop") as HTMLElement;
          target.dispatchEvent(
            kind === "drop"
              ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
              : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }),
          );
        },
        [event, bytes, name, type] as const,
      );
    };
    await hand("drop", "first.png", "image/png");
    await page.getByText("Now add its audio.").waitFor();
    expect(service.asked).toHaveLength(0);
    await hand("paste", "first.wav", "audio/wav");
    await mapped(page);
    expect(service.asked).toHaveLength(1);
    expect(await page.locator("#held").textContent()).toBe("Image: first.png · Audio: first.wav");
  });

  it("localizes camera and microphone until it is stopped", async () => {
    const page = await open();
    await page.click("#camera");
    await mapped(page);
    await expect.poll(() => service.asked.length).toBeGreaterThan(2);
    await expect.poll(() => page.locator("#status").textContent()).toBe("");
    expect(service.asked.at(-1)?.seconds).toBeLessThanOrEqual(model.config.audio.seconds + 0.01);
    expect(service.asked.at(-1)?.seconds).toBeGreaterThan(0.4);
    const some = await drawn(page, "image");
    await page.waitForTimeout(300);
    expect((await drawn(page, "image")) === some).toBe(false);
    await page.click("#camera");
    await page.getByText("The camera is off.").waitFor();
    await page.waitForTimeout(300);
    const { length } = service.asked;
    await page.waitForTimeout(500);
    expect(service.asked).toHaveLength(length);
  });

  it("waits as long as a busy service requires", async () => {
    const page = await open({}, /429/);
    service.busy = 1;
    const begun = Date.now();
    await page.click("#sample");
    await page.locator("#status", { hasText: "The service is busy; trying again in 1 s" }).waitFor();
    await mapped(page);
    expect(Date.now() - begun).toBeGreaterThan(900);
    expect(service.asked).toHaveLength(2);
    expect(await page.locator("#problem").isHidden()).toBe(true);
  });

  it("shows a message for a failure, and tries again on request", async () => {
    const page = await open({}, /500/);
    service.failing = "The model is at lunch.";
    await page.click("#sample");
    await page.getByRole("alert").getByText("The model is at lunch.").waitFor();
    service.failing = undefined;
    await page.getByRole("button", { name: "Try again" }).click();
    await mapped(page);
    expect(await page.locator("#problem").isHidden()).toBe(true);

    for (const [name, words] of [
      ["notes.txt", "notes.txt is no video, image or audio file."],
      ["torn.png", "torn.png is not an image that this browser can read."],
      ["torn.wav", "torn.wav has no audio that this browser can decode."],
      ["torn.webm", "torn.webm is not a video that this browser can play."],
    ] as const) {
      await writeFile(file(name), "torn");
      await page.setInputFiles("#files", file(name));
      await page.getByRole("alert").getByText(words).waitFor();
    }
  });

  it("searches the index by the image and by the audio", async () => {
    const page = await open();
    await giveFirst(page);
    await page.locator("#search-label").fill("car");
    await page.click("#search-image");
    await page.getByText("2 found by this image.").waitFor();
    expect(service.asked.at(-1)).toMatchObject({ path: "/v1/search", fields: { k: "12", label: "car" } });
    expect(service.asked.at(-1)?.parts).toContain("image");
    expect(await page.locator("#results .result-name").allTextContents()).toEqual(["street.jpg", "horn.wav"]);
    await page.waitForFunction(
      () => (document.querySelector("#results img") as HTMLImageElement)?.naturalWidth > 0,
    );
    await page.click("#search-audio");
    await page.getByText("2 found by this audio.").waitFor();
    expect(service.asked.at(-1)?.parts).toContain("audio");
  });

  it.each(["light", "dark"] as const)("passes axe in %s, and fits a narrow screen", async (colorScheme) => {
    service.demo = true; // its line in the head is the longest
    const page = await open({ colorScheme, reducedMotion: "reduce" });
    const check = async (state: string) => {
      for (const width of [390, 1280]) {
        await page.setViewportSize({ width, height: 900 });
        for (const find of [
          axeFaults,
          widthFaults,
          targetFaults,
          structureFaults,
          keyboardFaults,
          motionFaults,
        ])
          expect(await find(page), `${state}, ${width} px, ${find.name}`).toEqual([]);
      }
    };
    await check("empty");
    await page.click("#sample");
    await mapped(page);
    await page.click("#search-image");
    await page.getByText("2 found by this image.").waitFor();
    await check("with a scene");
    await page.setInputFiles("#files", file("clip.webm"));
    await mapped(page);
    await page.locator("#status", { hasText: "confidence" }).waitFor();
    await check("with a video");
    await page.setInputFiles("#files", file("notes.txt"));
    await page.getByRole("alert").waitFor();
    await check("with a message");
    await page.click("#to-exchange");
    await page.click("#exchange-sample");
    await page.locator("#exchange-status", { hasText: "Each with its own audio" }).waitFor();
    await check("with two scenes");
    const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(background).toBe(colorScheme === "dark" ? "rgb(18, 19, 22)" : "rgb(246, 246, 244)");
  });

  it("closes a message by Escape or its button, and gives the focus back", async () => {
    const page = await open();
    const problem = page.locator("#problem");
    const focused = () => page.evaluate(() => document.activeElement?.id);
    for (const close of [
      () => page.keyboard.press("Escape"),
      async () => {
        await page.locator("#problem-close").focus();
        await page.keyboard.press("Escape");
      },
      async () => {
        await page.locator("#problem-close").focus();
        await page.keyboard.press("Enter");
      },
    ]) {
      await page.locator("#sample").focus();
      await page.setInputFiles("#files", file("notes.txt"));
      await problem.waitFor();
      await close();
      await problem.waitFor({ state: "hidden" });
      expect(await focused()).toBe("sample");
    }
    expect(await page.title()).toBe("soundspot");
    await page.click("#to-exchange");
    await expect.poll(() => page.title()).toBe("Exchange the audio – soundspot");
  });

  it("keeps the axes of the audio readable when the scheme changes, and on paper", async () => {
    const page = await open({ colorScheme: "dark" });
    await giveFirst(page);
    const corner = () =>
      page.evaluate(() => {
        const copy = document.createElement("canvas");
        const context = copy.getContext("2d", { willReadFrequently: true });
        context?.drawImage(document.getElementById("spectrogram") as HTMLCanvasElement, 0, 0);
        return [...(context?.getImageData(1, 1, 1, 1).data ?? [])];
      });
    await expect.poll(corner).toEqual([27, 29, 33, 255]);
    await page.emulateMedia({ colorScheme: "light" });
    await expect.poll(corner).toEqual([255, 255, 255, 255]);
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    await page.setViewportSize({ width: 688, height: 1000 });
    const style = await page.evaluate(() => {
      const { backgroundColor, color } = getComputedStyle(document.body);
      const shown = [...document.querySelectorAll("button, input")].filter((each) => each.checkVisibility());
      return { colors: [backgroundColor, color], shown: shown.map(({ id }) => id) };
    });
    expect(style.colors).toEqual(["rgb(255, 255, 255)", "rgb(23, 25, 29)"]);
    expect(style.shown).toEqual([]);
    expect(await widthFaults(page)).toEqual([]);
    expect(await axeFaults(page)).toEqual([]);
  });
});
