// Which facts a number rests on, least reliable first; a strip under the number shows of what kinds they are, and how many of each.
import { el, table } from "./text.js";

/** Kinds of fact from most to least reliable, and the word of their colour. */
export const KINDS = { measured: "measured", datasheet: "published", paper: "published", press: "published", derived: "derived", estimate: "estimated", guess: "guessed" };
const WORDS = [...new Set(Object.values(KINDS))], LEAST = 0.04; // of a strip: a single guess among a hundred facts is seen

const held = new Map();
let behind = null; // receipts of every topic, of the choice last asked about

/** A number or its name whose facts a click opens: those of a topic, of the design at hand. */
export function facts(topic, text, words = text) {
  return marked(el("button", { class: "fact", type: "button", "data-topic": topic, "data-words": words, "aria-label": named(text, words) }, text));
}

/** The same of any other number, with its own receipts: `rows` and the `works` they cite. Without any it is only text. */
export function rested(text, words, found, about = "") {
  if (!found?.rows.length) return el("span", {}, text);
  return stripped(el("button", { class: "fact", type: "button", "aria-label": named(text, words), onclick: () => open(words, found, about) }, text), found.rows);
}

/** A cell opens what its number rests on: the facts of its own button, of the chip above it, else those of its row; keys reach these. */
export function cellsOpen(root) {
  root.addEventListener("click", (e) => {
    const cell = e.target.closest("tbody td"), row = cell?.parentElement;
    if (!cell || e.target.closest("button, dialog") || !/\d/.test(cell.textContent)) return;
    const above = cell.closest("table").querySelectorAll("thead th")[cell.cellIndex];
    (cell.querySelector(".fact") ?? above?.querySelector(".fact") ?? row.querySelector(".fact"))?.click();
  });
}

/** What a screen reader calls a button that is only a number: its words, what is seen among them. */
const named = (text, words) => (words === text ? null : words.includes(text) ? words : `${words}: ${text}`);

/** Receipts of some topics as those of one number. */
export const ofTopics = (found, ...topics) => found && { rows: sorted(topics.flatMap((t) => found.topics[t] ?? [])), works: found.works };

/** The facts of a chip that exists, behind its name. */
export const chipFacts = (c) => rested(c.name, c.name, c.receipts);

const sorted = (rows) => { const order = Object.keys(KINDS).reverse(); return [...rows].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)); };

const marked = (button) => stripped(button, behind?.topics[button.dataset.topic] ?? []);

/** A button with its strip; the class says the least reliable kind, the title how many there are of each. */
function stripped(button, rows) {
  button.className = `${button.className.split(" ")[0]} kind ${rows[0]?.kind ?? ""}`;
  if (!rows.length) return button;
  const each = WORDS.map((word) => [word, rows.filter((r) => KINDS[r.kind] === word).length]).filter(([, n]) => n);
  const wide = each.map(([, n]) => Math.max(n / rows.length, LEAST)), all = wide.reduce((a, b) => a + b, 0);
  let at = 0;
  const parts = each.map(([word], i) => { const from = at; at += 100 * wide[i] / all; return `var(--${word}) ${from.toFixed(1)}% ${at.toFixed(1)}%`; });
  button.style.setProperty("--strip", `linear-gradient(to right, ${parts.join(", ")})`);
  button.title = `${counted(rows)}; click for the receipts`;
  return button;
}

const counted = (rows) => `${rows.length} ${rows.length === 1 ? "fact" : "facts"}: ${WORDS.map((word) => [rows.filter((r) => KINDS[r.kind] === word).length, word]).filter(([n]) => n).map((x) => x.join(" ")).join(", ")}`;

/** Everything under `root` with the strips of a choice. */
export async function colour(root, source, choice) {
  behind = await receiptsOf(source, choice);
  root.querySelectorAll("[data-topic]").forEach(marked);
}

/** Receipts of a choice by topic, asked for once. */
export async function receiptsOf(source, choice) {
  if (!held.has(choice)) held.set(choice, source.get(`receipts?choice=${choice}`).catch((error) => { held.delete(choice); throw error; }));
  return held.get(choice);
}

export async function openReceipts(source, choice, topic, words) {
  try { open(words, ofTopics(await receiptsOf(source, choice), topic), ` about ${topic}`); } catch (error) { open(words, { rows: [], works: {} }, error.message); }
}

/** The table of receipts, over the page. */
export function open(words, { rows, works }, about = "") {
  document.getElementById("receipts-title").textContent = `Facts behind: ${words}`;
  const cells = rows.map((r) => [el("td", { class: `kind ${KINDS[r.kind]}` }, r.kind), r.thing, r.name, r.value, r.range, el("td", { class: "words" }, ...sourceOf(r, works))]);
  document.getElementById("receipts-body").replaceChildren(table(["kind", "thing", "fact", "value", "range", "source"], cells, rows.length ? `${counted(rows)}${about}, least reliable first` : about));
  document.getElementById("receipts").showModal();
}

/** Where in a work, and what was assumed; then the work. */
const sourceOf = (r, works) => { const own = [r.where, r.note].filter(Boolean).join(". "); return [...(own ? [own, el("br")] : []), el("span", { class: "soft" }, works[r.source] ?? r.source)]; };

/** What the colours of strips mean, for the head of the page. */
export function legend() {
  return el("p", { id: "kinds", class: "note" }, "Facts behind a number: ", ...WORDS.flatMap((word) => [el("span", {}, el("i", { class: `kind ${word}` }), word), " "]), "– a click shows them");
}
