// Designs of a front in numbers: keys load here what a click loads in the figure, and every number opens its receipts.
import { choiceWords } from "./link.js";
import { ofTopics, receiptsOf, rested } from "./receipts.js";
import { el, table } from "./text.js";

/** A metric as it is drawn: more is better. */
export const heading = (m) => (m.name === "delivered_time" ? "delivered speed-up" : m.label);

/** Receipts of every choice on a front, by its place; none where they cannot be had. */
export async function receiptsOn(source, front) {
  const choices = [...new Set(front.points.map((p) => p.choice))];
  const each = await Promise.all(choices.map((c) => receiptsOf(source, c).catch(() => null)));
  return new Map(choices.map((c, i) => [c, each[i]]));
}

/** A metric of a design, whose click opens the facts of its choice. */
export function metricOf(m, words, design, receipts) {
  return rested(words, `${heading(m)} ${words}`, ofTopics(receipts.get(design.choice), m.topic));
}

/** All points of a front; `words(m, v)` writes a metric, `load(point)` takes one. */
export function pointsTable(state, front, receipts, words, load) {
  const rows = front.points.map((p, n) => {
    const c = state.choices[p.choice];
    return [el("button", { type: "button", "aria-label": `load design ${n + 1}`, onclick: () => load(p) }, String(n + 1)),
      ...front.metrics.map((m, i) => metricOf(m, words(m, p.values[i]), p, receipts)), el("td", { class: "words" }, choiceWords(c))];
  });
  const heads = ["load", ...front.metrics.map(heading), el("th", { scope: "col", class: "words" }, "choice")];
  return el("details", {}, el("summary", {}, `All ${rows.length} designs in numbers`), table(heads, rows, "Every design of the front; its number loads it, a metric opens its receipts"));
}
