// Numbers and elements: every text reaches the page as text, never as markup.
let scales = {}, compound = {};
const TINY = 1e-3; // as TINY of dse/core/text.py

export function learnUnits(state) { scales = state.scales; compound = state.compound; }

/** What an answer lacks because time was up, as a sentence; nothing where it lacks nothing. */
export const late = (answer) => (answer.unfinished?.length ? ` Unfinished, time was up; left out: ${answer.unfinished.join("; ")}.` : "");

export function digits(value, n = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "-infinite";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(n)))));
  if (size >= 7 || size < -4) return value.toExponential(n - 1);
  const places = Math.max(n - 1 - size, 0);
  const rounded = size > n - 1 ? Number(value.toPrecision(n)) : value;
  const [whole, rest = ""] = rounded.toFixed(places).split("."); // by hand: toLocaleString takes a hundred times as long
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ","), tail = rest.replace(/0+$/, "");
  return tail ? `${grouped}.${tail}` : grouped;
}

export function scaleOf(value, unit) {
  const known = scales[unit] ?? [["", 1]];
  const size = Math.abs(value) * (1 + 1e-9);
  const fitting = known.filter(([, s]) => s <= size);
  if (fitting.length) return fitting.reduce((a, b) => (b[1] > a[1] ? b : a));
  return size ? known[0] : known.find(([, s]) => s === 1);
}

export function inUnit(value, unit, n = 3) {
  if (value === null || value === undefined) return "–";
  if (unit === "frac") return percent(value);
  if (compound[unit]) return `${digits(value * compound[unit][1], n)} ${compound[unit][0]}`;
  if (!scales[unit]) return digits(value, n);
  const [text, factor] = scaleOf(value, unit);
  if (factor < 1 && value && Math.abs(value) < TINY * factor) return `under ${TINY} ${text}`;
  return `${digits(value / factor, n)} ${text}`;
}

export const percent = (share, n = 2) => (share === null ? "–" : `${digits(100 * share, n)} %`);
export const times = (ratio, n = 3) => (ratio === null || ratio === undefined ? "–" : `${digits(ratio, n)}x`);

/** The value of "2.1 GHz", "2.1" (in the scale of `near`) or "36 GiB"; NaN for what is none. */
export function parsed(text, unit, near) {
  const found = /^\s*([-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([^\d\s,.].*)?$/i.exec(text);
  if (!found) return NaN;
  const number = Number(found[1].replaceAll(",", ""));
  const written = (found[2] ?? "").trim(), asked = written.toLowerCase();
  if (compound[unit]) return asked && asked !== compound[unit][0].toLowerCase() ? NaN : number / compound[unit][1];
  if (!scales[unit]) return asked ? NaN : number;
  if (!asked) return number * scaleOf(near, unit)[1];
  const alike = scales[unit].filter(([t]) => t.toLowerCase() === asked); // "mW" and "MW" differ by a billion: those are taken as written
  const scale = scales[unit].find(([t]) => t === written) ?? (alike.length === 1 ? alike[0] : undefined);
  return scale ? number * scale[1] : NaN;
}

/** Why what was typed is not taken, and what would be. */
export function refused(text, unit, least = "above 0") {
  const units = compound[unit] ? [compound[unit][0]] : (scales[unit] ?? []).map(([t]) => t).filter(Boolean);
  return `"${text}" is not taken: write a number ${least}${units.length ? `, alone in the unit shown or with ${units.join(", ")}` : ""}.`;
}

/** Whole steps of 1, 2 or 5 between two values. */
export function even(low, high) {
  const rough = (high - low) / 6, size = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((s) => s * size >= rough) * size;
  return Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_, i) => (Math.ceil(low / step) + i) * step);
}

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

/** A control beside its words, which stay on one line with it. */
export const named = (node, words) => el("span", { class: "tick" }, el("label", { for: node.id }, words), node);

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function table(heads, rows, caption = "") {
  const cell = (tag) => (c) => (c instanceof Node && ["TD", "TH"].includes(c.tagName) ? c : el(tag, {}, c ?? "–"));
  const head = el("thead", {}, el("tr", {}, ...heads.map((h) => (h instanceof Node ? h : el("th", { scope: "col" }, h)))));
  const body = el("tbody", {}, ...rows.map((r) => el("tr", {}, ...r.map(cell("td")))));
  const name = caption || heads.filter((h) => typeof h === "string").join(", ");
  const inside = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, el("table", { "aria-label": name }, head, body));
  return el("div", {}, inside, caption ? el("p", { class: "note" }, caption) : null);
}

/** A picture as SVG, or as PNG at twice its size. */
export function savePicture(written, name, form, wide, high) {
  if (form === "svg") return save(`${name}.svg`, written, "image/svg+xml");
  const image = new Image();
  image.onload = () => {
    const canvas = el("canvas", { width: 2 * wide, height: 2 * high }), pen = canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, 2 * wide, 2 * high);
    pen.drawImage(image, 0, 0, 2 * wide, 2 * high);
    canvas.toBlob((blob) => save(`${name}.png`, blob));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(written)}`;
}

/** An element of a picture as a file of its own. */
export function writtenPicture(picture) {
  const copy = picture.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy);
}

/** Rows of words and numbers as a table for spreadsheets. */
export const csv = (rows) => rows.map((r) => r.map(csvField).join(",")).join("\r\n") + "\r\n";

export function save(name, text, type = "text/plain") {
  const place = URL.createObjectURL(text instanceof Blob ? text : new Blob([text], { type }));
  const link = el("a", { href: place, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(place), 1000);
}

/** A field of CSV; what a spreadsheet would take for a formula is marked as text. */
function csvField(value) {
  const text = String(value ?? "");
  const safe = typeof value !== "number" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
