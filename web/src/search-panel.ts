/** Searches the service's index by the current image or audio window. */

import { wavOf } from "./audio.js";
import { block, button, decimal, input, make } from "./dom.js";
import type { LocalizeView } from "./localize-view.js";
import { type Found, search } from "./service.js";

export function listenToSearch(view: LocalizeView): void {
  block("search-panel").hidden = false;
  let stop = new AbortController();
  const run = async (by: "image" | "audio") => {
    const current = view.current;
    if (!current) return;
    stop.abort();
    stop = new AbortController();
    const { signal } = stop;
    const say = (text: string) => {
      if (!signal.aborted) block("search-status").textContent = text;
    };
    say("Searching…");
    try {
      const query = by === "image" ? { image: await current.image } : { audio: wavOf(current.audio) };
      const found = await search(query, {
        signal,
        label: input("search-label").value.trim(),
        onWait: (seconds) => say(`The service is busy; trying again in ${Math.ceil(seconds)} s…`),
      });
      if (signal.aborted) return;
      block("results").replaceChildren(...found.map(card));
      say(found.length === 0 ? "Nothing was found." : `${found.length} found by this ${by}.`);
    } catch (error) {
      say(error instanceof Error ? error.message : "The search failed. Try again.");
    }
  };
  button("search-image").addEventListener("click", () => run("image"));
  button("search-audio").addEventListener("click", () => run("audio"));
}

function card({ kind, name, label, score, url }: Found): HTMLLIElement {
  const item = make("li", { className: "result" });
  // The service sends paths from its root, which may differ from that of the page's host, with its base path.
  const address = url.slice(url.lastIndexOf("v1/search/items/"));
  if (kind === "image") {
    const image = make("img");
    image.src = address;
    image.alt = name;
    image.loading = "lazy";
    item.append(image);
  } else {
    const player = make("audio");
    player.src = address;
    player.controls = true;
    player.preload = "none";
    player.setAttribute("aria-label", name);
    item.append(player);
  }
  item.append(make("span", { className: "result-name", text: name }));
  item.append(
    make("span", { className: "faint number", text: [label, decimal(score, 3)].filter(Boolean).join(" · ") }),
  );
  return item;
}
