// What the views of answers of other commands share: what lies there, asked for once, and what is computed for them here.
import { el } from "./text.js";

/** What lies in the results folder under `path`, as a list called `key`; null where it was asked for before, or cannot be had. */
export async function stored(view, path, key, none) {
  if (view.fetched) return null;
  view.fetched = true;
  try {
    const { [key]: found, skipped } = await view.source.get(path);
    const words = [skipped.length ? `Left out: ${skipped.join("; ")}.` : "", found.length ? "" : none];
    view.said.textContent = words.filter(Boolean).join(" ");
    return found;
  } catch (error) {
    view.trouble(error.message);
    return null;
  }
}

/** A search whose words are told as they come, with the seconds it has taken; `got` takes what it found. */
export function computed(view, kind, query, got) {
  view.stop?.();
  clearInterval(view.ticking);
  const began = performance.now(), clock = el("span", { "aria-hidden": "true" }); // a screen reader hears the words, not every second
  const tick = () => { clock.textContent = ` (${((performance.now() - began) / 1e3).toFixed(0)} s)`; };
  view.ticking = setInterval(tick, 1000);
  view.stop = view.source.search(kind, query, (word) => {
    if (word.progress) view.said.replaceChildren(word.progress, clock);
    if (!word.done) return;
    clearInterval(view.ticking);
    view.said.textContent = word.error ?? "";
    if (word[kind]) got(word[kind]);
  });
}
