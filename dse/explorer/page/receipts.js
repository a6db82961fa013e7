// Which facts a number rests on, least reliable first; numbers are marked by the worst kind among them.
import { el, table } from "./text.js";

const held = new Map();
let worst = {}; // kind and words of every topic, of the choice last asked about

/** A number or its name whose facts a click opens; its edge has the colour of the least reliable kind among them. */
export function facts(topic, text, words = text) {
  return marked(el("button", { class: "fact", type: "button", "data-topic": topic, "data-words": words }, text));
}

/** The facts of a chip that exists, behind its name. */
export function chipFacts(c) {
  if (!c.receipts) return c.name;
  const kind = c.receipts.rows[0]?.kind ?? "measured";
  return el("button", { class: `fact kind ${kind}`, type: "button", title: `${c.receipts.rows.length} facts of ${c.name}, worst: ${kind}`, onclick: () => open(c.name, `${c.receipts.rows.length} facts of the chip`, c.receipts.rows, c.receipts.works) }, c.name);
}

function marked(button) {
  const { kind = "", words = "" } = worst[button.dataset.topic] ?? {};
  button.className = `${button.className.split(" ")[0]} kind ${kind}`;
  button.title = words && `${words}; click for the receipts`;
  return button;
}

/** Everything under `root` in the colours of a choice. */
export async function colour(root, source, choice) {
  worst = worstKinds(await receiptsOf(source, choice));
  root.querySelectorAll("[data-topic]").forEach(marked);
}

async function receiptsOf(source, choice) {
  if (!held.has(choice)) held.set(choice, source.get(`receipts?choice=${choice}`).catch((error) => { held.delete(choice); throw error; }));
  return held.get(choice);
}

/** Worst kind of every topic, with how many facts are guesses. */
function worstKinds(found) {
  return Object.fromEntries(Object.entries(found.topics).map(([topic, rows]) => {
    const guesses = rows.filter((r) => r.kind === "guess").length;
    return [topic, { kind: rows[0]?.kind ?? "measured", words: guesses ? `${guesses} of ${rows.length} facts are guesses` : `${rows.length} facts, worst: ${rows[0]?.kind}` }];
  }));
}

export async function openReceipts(source, choice, topic, words) {
  try {
    const { topics, works } = await receiptsOf(source, choice);
    open(words, `${topics[topic].length} facts about ${topic}`, topics[topic], works);
  } catch (error) { open(words, error.message, [], {}); }
}

function open(words, caption, rows, works) {
  document.getElementById("receipts-title").textContent = `What ${words} rests on`;
  const cells = rows.map((r) => [kindCell(r.kind), r.thing, r.name, r.value, r.range, wordsCell(r, works)]);
  document.getElementById("receipts-body").replaceChildren(table(["kind", "thing", "fact", "value", "range", "source"], cells, `${caption}, least reliable first`));
  document.getElementById("receipts").showModal();
}

const kindCell = (kind) => el("td", { class: `kind ${kind}` }, kind);
const wordsCell = (r, works) => el("td", { class: "words" }, [works[r.source] ?? r.source, r.where, r.note].filter(Boolean).join(". "));
