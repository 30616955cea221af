/** The page: requests the model's information, then starts the views. */

import { type AudioClip, wavOf } from "./audio.js";
import { block, button, canvas } from "./dom.js";
import { ExchangeView } from "./exchange-view.js";
import { LocalizeView } from "./localize-view.js";
import { drawScale } from "./overlay.js";
import { listenToProblems, showProblem } from "./problem.js";
import { listenToSearch } from "./search-panel.js";
import { type Info, info, localize } from "./service.js";
import { Settings } from "./settings.js";

const OPENERS = ["drop", "sample", "camera", "left-drop", "right-drop", "exchange-sample"];

function start({ version, model, search }: Info): void {
  const { seconds, sampleRate, targetSlots, imageSize } = model;
  const known = model.demo ? "demo model: knows drawn scenes only, try a sample · " : "";
  block("model-line").textContent =
    `${known}version ${version} · ${imageSize} px · audio window ${seconds} s`;
  const settings = new Settings();
  settings.reset(model.sharpening);
  const surroundings = {
    seconds,
    sampleRate,
    frameSide: Math.max(320, 2 * imageSize),
    ask: async (image: Blob, audio: AudioClip, signal: AbortSignal) => {
      const answer = await localize({ image, audio: wavOf(audio) }, { signal, onWait: showWait });
      block("busy").textContent = "Localizing…";
      return answer;
    },
  };
  const one = new LocalizeView(settings, surroundings, targetSlots);
  const two = new ExchangeView(settings, surroundings, targetSlots);
  if (search) listenToSearch(one);

  const exchanging = () => window.location.hash === "#exchange";
  const route = () => {
    block("localize-view").hidden = exchanging();
    block("exchange-view").hidden = !exchanging();
    block("figures").hidden = exchanging();
    document.body.classList.toggle("exchanging", exchanging());
    document.title = exchanging() ? "Exchange the audio – soundspot" : "soundspot";
    for (const [id, current] of [
      ["to-localize", !exchanging()],
      ["to-exchange", exchanging()],
    ] as const) {
      if (current) block(id).setAttribute("aria-current", "page");
      else block(id).removeAttribute("aria-current");
    }
    if (exchanging()) one.pause();
    else two.pause();
  };
  window.addEventListener("hashchange", route);
  route();

  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length === 0) return;
    if (exchanging()) two.give(files, event.target);
    else one.give(files);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    if (exchanging()) two.give(files, document.activeElement);
    else one.give(files);
  });
  for (const id of OPENERS) button(id).disabled = false;
}

function showWait(seconds: number): void {
  const text = `The service is busy; trying again in ${Math.ceil(seconds)} s…`;
  block("busy").textContent = text;
  for (const id of ["status", "exchange-status"]) block(id).textContent = text;
}

function begin(): void {
  info()
    .then(start)
    .catch((error) => {
      block("model-line").textContent = "no service";
      showProblem(error, begin);
    });
}

for (const id of OPENERS) button(id).disabled = true;
drawScale(canvas("scale"));
listenToProblems();
begin();
