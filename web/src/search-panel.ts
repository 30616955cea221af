/** Searches the service's index by the picture that is seen or the sound that is heard. */
import { block, button, decimal, input, make } from "./dom.js";
import type { LocalizeView } from "./localize-view.js";
import { type Found, search } from "./service.js";
import { wavOf } from "./sound.js";

export function listenToSearch(view: LocalizeView): void {
  block("search-panel").hidden = false;
  let stop = new AbortController();
  const run = async (by: "picture" | "sound") => {
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
      const query = by === "picture" ? { image: await current.picture } : { audio: wavOf(current.heard) };
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
  button("search-picture").addEventListener("click", () => run("picture"));
  button("search-sound").addEventListener("click", () => run("sound"));
}

function card({ kind, name, label, score, url }: Found): HTMLLIElement {
  const item = make("li", { className: "result" });
  // The service gives paths from its root, which need not be the page's host's.
  const address = url.replace(/^\//, "");
  if (kind === "image") {
    const picture = make("img");
    picture.src = address;
    picture.alt = name;
    picture.loading = "lazy";
    item.append(picture);
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
