// Tiles, limits and the comparison: the same numbers as in the figures, in words.
import { chipFacts, facts } from "./receipts.js";
import { csv, digits, el, inUnit, percent, table, times } from "./text.js";

export const TIGHT = 1e-4;

/** Headline numbers: what they are, their words, and the topic whose receipts they rest on. */
export function tilesOf(state, answer) {
  const r = answer.reading, m = r.metrics, tiles = [];
  if (answer.speedup !== null && state.workloads.length) tiles.push([times(answer.speedup), `${state.workloads.length > 1 ? "all workloads, speed" : "speed"} over ${state.baseline}`, "time"]);
  state.workloads.forEach((w, k) => {
    const work = r.works[k], band = w.band ? `, 80 % band ${inUnit(work.step_s / w.band, "s")} to ${inUnit(work.step_s * w.band, "s")}` : "";
    tiles.push([inUnit(work.step_s, "s"), `${w.name} step${answer.fits[k] ? "" : ", does not fit"}${band}`, "time"]);
    if (state.workloads.length > 1) tiles.push([times(work.speedup_frac), `${w.name} over ${state.baseline}`, "time"]);
    tiles.push([inUnit(work.power_W, "W"), `${w.name} mean power`, "power"]);
  });
  tiles.push([inUnit(m.full_load_fp8_W, "W"), "full load in FP8", "power"], [inUnit(m.silicon_mm2, "mm2"), "compute silicon", "area"],
    [inUnit(m.package_cost_USD, "USD"), "package cost", "money"], [inUnit(m.peak_fp8_FLOPps, "FLOPps"), "peak FP8", "time"],
    [inUnit(m.sram_B, "B"), "SRAM for tiles", "area"], [inUnit(m.supply_V, "V"), "supply", "power"]);
  return tiles;
}

/** Limits of the study and of the technology: value, room left, what binds, and its price at the last optimum. */
export function limitRows(state, design, answer, prices) {
  const rows = state.limits.map((m, i) => {
    const value = answer.reading.limits[i], limit = design.limits[i];
    const room = value === null ? null : (m.sense === "at_most" ? 1 - value / limit : value / limit - 1);
    const { least, slack, slack_least } = state.priced, priced = prices && Math.abs(prices[i]) >= (room > slack ? slack_least : least);
    return { topic: m.topic, name: `${m.label} ${m.sense === "at_most" ? "≤" : "≥"} ${inUnit(limit, m.unit)}`, value: inUnit(value, m.unit), room,
      price: priced ? percent(Math.abs(prices[i]) / 100) : "–" };
  });
  state.technology.forEach(({ label, topic }, i) => {
    const value = answer.reading.ratios[i];
    const room = value === null ? null : 1 - value;
    rows.push({ topic, name: label.replace(":", " of "), value: percent(value), room, price: "–", technology: true });
  });
  return rows;
}

export const stateOfRoom = (room) => (room === null || room < -TIGHT ? "broken" : room <= TIGHT ? "binds" : "");

/** The table of limits in its place: made once, then only what has changed is written, since laying a table out takes long. */
export function showLimits(place, rows) {
  if (place.querySelectorAll("tbody tr").length !== rows.length) {
    const cells = rows.map((r) => [el("td", {}, facts(r.topic, r.name)), el("td"), el("td"), el("td")]);
    place.replaceChildren(table(["limit", "value", "room", "1 % is worth"], cells, "Prices are those of the last optimum; technology and memory as shares of what is allowed"));
  }
  place.querySelectorAll("tbody tr").forEach((tr, k) => {
    const r = rows[k], how = stateOfRoom(r.room), [name, value, room, price] = tr.children;
    const left = how === "broken" ? `broken${r.room === null ? "" : ` by ${percent(-r.room)}`}` : how || percent(r.room);
    if (tr.className !== how) tr.className = how;
    name.firstChild.dataset.words = r.name;
    for (const [node, text] of [[name.firstChild, r.name], [value, r.value], [room, left], [price, r.price]]) if (node.textContent !== text) node.textContent = text;
  });
}

/** Rows of the comparison: words, unit, how to read a column, whose facts it rests on; columns are designs and chips. */
export function comparisonRows(state) {
  const rows = [["speed-up", "x", (c) => c.speedup, "time"]];
  state.workloads.forEach((w, k) => rows.push([`${w.name} step`, "s", (c) => c.works[k]?.step_s, "time"], [`${w.name} power`, "W", (c) => c.works[k]?.power_W, "power"],
    [`${w.name} MFU`, "frac", (c) => c.works[k]?.mfu_frac, "time"], [`${w.name} plan`, "words", (c) => (c.works[k]?.plan ?? c.works[k]?.why)?.replaceAll(",", ", ")]));
  for (const f of state.free) rows.push([f.label, f.unit, (c) => c.x[f.name]]);
  rows.push(["blank silicon/die", "mm2", (c) => c.blank_mm2, "area"]);
  const free = new Set(state.free.map((f) => f.name));
  const skipped = new Set(["delivered_time", "served_time", "power_W"]);
  for (const [name, m] of Object.entries(state.metrics)) if (!free.has(name) && !skipped.has(name)) rows.push([m.label, m.unit, (c) => c.metrics[name], m.topic]);
  return rows;
}

const shown = (value, unit) => {
  if (value === undefined || value === null) return "–";
  if (Array.isArray(value)) return value.map((v) => shown(v, unit)).join("; ");
  return unit === "x" ? times(value) : unit === "words" ? String(value) : inUnit(value, unit);
};

export function comparisonTable(state, columns, drop, take) {
  const first = columns[0];
  const heads = ["", ...columns.map((c) => (c.fixed ? c.name : el("th", { scope: "col" }, chipFacts(c), " ",
    el("button", { onclick: () => take(c), "aria-label": `take the numbers of ${c.name}` }, "take"), " ", el("button", { onclick: () => drop(c), "aria-label": `remove ${c.name}` }, "×"))))];
  const rows = comparisonRows(state).map(([words, unit, read, topic]) => [topic ? facts(topic, words) : words, ...columns.map((c) => {
    const value = read(c), base = read(first), one = typeof value === "number" && typeof base === "number";
    const ratio = c !== first && one && base ? ` (${digits(value / base, 2)}x)` : "";
    return el("td", unit === "words" ? { class: "words" } : {}, `${shown(value, unit)}${ratio}`);
  })]);
  return table(heads, rows, "In brackets: over the first column");
}

export function comparisonCsv(state, columns) {
  const head = ["quantity", "canonical unit", ...columns.map((c) => c.name)];
  const rows = comparisonRows(state).map(([words, unit, read]) => [words, unit === "words" ? "" : unit, ...columns.map((c) => {
    const value = read(c);
    return Array.isArray(value) ? value.join(";") : value;
  })]);
  return csv([head, ...rows]);
}
