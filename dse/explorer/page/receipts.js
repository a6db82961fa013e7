// Which facts a number rests on, least reliable first; numbers are marked by the worst kind among them.
import { el, table } from "./text.js";

const held = new Map();

export async function receiptsOf(source, choice) {
  if (!held.has(choice)) held.set(choice, source.get(`receipts?choice=${choice}`).catch((error) => { held.delete(choice); throw error; }));
  return held.get(choice);
}

/** Worst kind of every topic, with how many facts are guesses. */
export function worstKinds(found) {
  return Object.fromEntries(Object.entries(found.topics).map(([topic, rows]) => {
    const guesses = rows.filter((r) => r.kind === "guess").length;
    return [topic, { kind: rows[0]?.kind ?? "measured", words: guesses ? `${guesses} of ${rows.length} facts are guesses` : `${rows.length} facts, worst: ${rows[0]?.kind}` }];
  }));
}

export async function openReceipts(source, choice, topic, words) {
  const dialog = document.getElementById("receipts"), body = document.getElementById("receipts-body");
  document.getElementById("receipts-title").textContent = `What ${words} rests on`;
  body.replaceChildren("…");
  dialog.showModal();
  try {
    const found = await receiptsOf(source, choice);
    const rows = found.topics[topic].map((r) => [kindCell(r.kind), r.thing, r.name, r.value, r.range, wordsCell(r, found.works)]);
    body.replaceChildren(table(["kind", "thing", "fact", "value", "range", "source"], rows, `${rows.length} facts about ${topic}, least reliable first`));
  } catch (error) { body.replaceChildren(error.message); }
}

const kindCell = (kind) => el("td", { class: `kind ${kind}` }, kind);
const wordsCell = (r, works) => el("td", { class: "words" }, [works[r.source] ?? r.source, r.where, r.note].filter(Boolean).join(". "));
