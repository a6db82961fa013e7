// Figures without plotly: points, lines, a line to drag. Takes what plotly takes of it.
import { digits, el, even, svg } from "./text.js";

const WORDS = { "font-size": 12, "font-family": "system-ui, sans-serif", fill: "#1d1d1d" };
const EDGE = { left: 78, right: 16, top: 14, bottom: 50 };
const DASHES = { dash: "6 4", dot: "2 3" };
const SIGNS = { circle: 0, square: 4, diamond: 4 };

/** Draws what `node.drawn` holds, and again as its place grows or shrinks. */
export function drawSvg(node) {
  node.redraws ??= new ResizeObserver(() => { if (!node.zoomed) draw(node); });
  node.redraws.observe(node);
  node.tip ??= tipOf(node);
  draw(node);
}

/** Words of the mark under the pointer, at once. */
function tipOf(node) {
  const tip = el("div", { class: "tip", role: "tooltip", hidden: true });
  node.addEventListener("pointerover", ({ target, clientX, clientY }) => {
    tip.hidden = !target.words;
    if (!target.words) return;
    const box = node.getBoundingClientRect(), [x, y] = [clientX - box.left, clientY - box.top];
    tip.textContent = plain(target.words);
    tip.style.cssText = `${x > box.width / 2 ? `right: ${box.width - x + 10}px` : `left: ${x + 10}px`}; ${y > box.height / 2 ? `bottom: ${box.height - y + 10}px` : `top: ${y + 10}px`}`;
  });
  node.addEventListener("pointerleave", () => { tip.hidden = true; });
  return tip;
}

function draw(node) {
  const [traces, look, config, hear] = node.drawn, wide = Math.max(node.clientWidth, 320), legend = legendOf(traces, wide), high = Math.max(node.clientHeight - legend.high, 280);
  const made = svg("svg", { viewBox: `0 0 ${wide} ${high + legend.high}`, width: "100%", height: "100%", role: "img", "aria-label": described(traces, look) });
  const X = scale(look.xaxis, traces.flatMap((t) => t.x), EDGE.left, wide - EDGE.right), Y = scale(look.yaxis, traces.flatMap((t) => t.y), high - EDGE.bottom, EDGE.top);
  for (const [v, words] of X.ticks) made.append(line(X.at(v), EDGE.top, X.at(v), high - EDGE.bottom, "#ececec"), says(X.at(v), high - EDGE.bottom + 17, words, "middle"));
  for (const [v, words] of Y.ticks) made.append(line(EDGE.left, Y.at(v), wide - EDGE.right, Y.at(v), "#ececec"), says(EDGE.left - 6, Y.at(v) + 4, words, "end"));
  made.append(line(EDGE.left, high - EDGE.bottom, wide - EDGE.right, high - EDGE.bottom, "#606060"), line(EDGE.left, EDGE.top, EDGE.left, high - EDGE.bottom, "#606060"),
    says((EDGE.left + wide) / 2, high - 12, look.xaxis.title.text, "middle"), svg("text", { ...WORDS, "text-anchor": "middle", transform: `translate(14 ${high / 2}) rotate(-90)` }, look.yaxis.title.text));
  for (const t of traces) made.append(...marksOf(t, X, Y, hear));
  (look.shapes ?? []).forEach((s, i) => made.append(...shapeOf(s, i, X, high, hear, config)));
  legend.place(made, high);
  node.tip.hidden = true;
  node.replaceChildren(made, node.tip);
}

/** A figure in words: its axes, and how much of what is drawn. Its numbers stand in tables, and in its CSV. */
function described(traces, look) {
  const many = traces.filter((t) => t.name).map((t) => [t.x.filter((x) => x !== null).length, plain(t.name)]).filter(([n]) => n);
  return `${look.yaxis.title.text} against ${look.xaxis.title.text}: ${many.map(([n, name]) => `${name}, ${n} ${n === 1 ? "point" : "points"}`).join("; ")}`;
}

const says = (x, y, words, anchor = "start") => svg("text", { ...WORDS, x, y, "text-anchor": anchor }, words);
const line = (x1, y1, x2, y2, stroke, more = {}) => svg("line", { x1, y1, x2, y2, stroke, ...more });

/** Where values stand between two pixels, and the ticks between. */
function scale(axis, values, from, to) {
  const log = axis.type === "log", kept = values.filter((v) => Number.isFinite(v) && (!log || v > 0)), inner = log ? Math.log10 : (v) => v;
  let [low, high] = axis.range ?? [Math.min(...kept), Math.max(...kept)];
  if (!axis.range) { const pad = 0.05 * (high - low || Math.abs(high) || 1); low -= pad; high += pad; }
  const at = (v) => from + (to - from) * (inner(v) - low) / (high - low), back = (p) => { const v = low + (high - low) * (p - from) / (to - from); return log ? 10 ** v : v; };
  const ticks = axis.tickvals ? axis.tickvals.map((v, i) => [v, axis.ticktext[i]]) : even(low, high).map((v) => [v, digits(v)]);
  const apart = to > from ? 48 : 16, shown = []; // words beside each other need more room than one above the other
  for (const tick of ticks) {
    const place = at(tick[0]);
    if (place >= Math.min(from, to) - 0.5 && place <= Math.max(from, to) + 0.5 && !(shown.length && Math.abs(place - at(shown.at(-1)[0])) < apart)) shown.push(tick);
  }
  return { at, back, ticks: shown, ends: [Math.min(from, to), Math.max(from, to)] };
}

function marksOf(t, X, Y, hear) {
  const found = [], inside = t.x.map((x, i) => [x === null ? NaN : X.at(x), Y.at(t.y[i]), i]).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  if (t.mode.includes("lines")) found.push(svg("polyline", { points: inside.map(([x, y]) => `${x},${y}`).join(" "), fill: "none", stroke: t.line?.color ?? one(t.marker?.color, 0), "stroke-width": t.line?.width ?? 1, "stroke-dasharray": DASHES[t.line?.dash] ?? "" }));
  if (!t.mode.includes("markers")) return found;
  const open = String(t.marker.symbol ?? "").includes("open"), each = Array.isArray(t.marker.color), look = (i) => { // what marks share stands once, on their group
    const colour = one(t.marker.color, i) ?? t.line?.color;
    return { fill: open ? "#fff" : colour, stroke: open ? colour : "#fff", "stroke-width": open ? 1.5 : 0.6, "fill-opacity": t.marker.opacity ?? 1 };
  };
  const group = svg("g", each ? {} : look(0));
  found.push(group);
  if (t.customdata) { group.style.cursor = "pointer"; group.addEventListener("click", ({ target }) => hear.plotly_click?.({ points: [{ customdata: target.data }] })); }
  for (const [x, y, i] of inside) {
    const r = (one(t.marker.size, i) ?? 6) / 2, dot = sign(t.marker.symbol, x, y, r, each ? look(i) : {});
    const words = t.mode.includes("text") ? t.text[i] : (t.text?.[i] ?? "");
    dot.words = t.hovertext?.[i] ?? words;
    dot.data = t.customdata?.[i];
    group.append(dot);
    if (!t.mode.includes("text") || !words) continue;
    const lines = plain(words).split("\n"), [up, along] = (one(t.textposition, i) ?? "top center").split(" "), side = { right: 1, left: -1 }[along] ?? 0, half = 3.3 * Math.max(...lines.map((w) => w.length));
    const start = { top: y - r - 4 - 14 * (lines.length - 1), middle: y + 4 - 7 * (lines.length - 1), bottom: y + r + 13 }[up], beside = up === "middle" ? side * (r + 3) : 0;
    const way = side > 0 ? "start" : side < 0 ? "end" : x + half > X.ends[1] ? "end" : x - half < X.ends[0] ? "start" : "middle"; // words stay inside
    lines.forEach((w, k) => found.push(says(x + beside, start + 14 * k, w, way)));
  }
  return found;
}

/** What a list or a single value says of one mark. */
const one = (value, i) => (Array.isArray(value) ? value[i] : value);

function sign(symbol, x, y, r, look) {
  const name = typeof symbol === "number" ? ["circle", "square", "diamond"][symbol % 3] : String(symbol ?? "circle").replace("-open", "");
  if (!SIGNS[name]) return svg("circle", { cx: x, cy: y, r, ...look });
  return svg("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...look, ...(name === "diamond" ? { transform: `rotate(45 ${x} ${y})` } : {}) });
}

/** A line across the figure; where the figure may be edited it is dragged by the pointer. */
function shapeOf(s, i, X, high, hear, config) {
  const drawn = line(X.at(s.x0), EDGE.top, X.at(s.x0), high - EDGE.bottom, s.line.color, { "stroke-width": s.line.width ?? 1.5, "stroke-dasharray": DASHES[s.line.dash] ?? "" });
  if (!config.edits?.shapePosition) return [drawn];
  const grip = line(X.at(s.x0), EDGE.top, X.at(s.x0), high - EDGE.bottom, "#fff", { "stroke-width": 16, "stroke-opacity": 0 });
  grip.style.cursor = "ew-resize";
  grip.addEventListener("pointerdown", (e) => {
    grip.setPointerCapture(e.pointerId);
    const move = (at) => { const box = grip.ownerSVGElement.getBoundingClientRect(); const x = (at.clientX - box.left) * grip.ownerSVGElement.viewBox.baseVal.width / box.width;
      s.x0 = X.back(x); for (const part of [drawn, grip]) { part.setAttribute("x1", x); part.setAttribute("x2", x); } hear.plotly_relayout?.({ [`shapes[${i}].x0`]: s.x0 }); };
    grip.addEventListener("pointermove", move);
    grip.addEventListener("pointerup", () => grip.removeEventListener("pointermove", move), { once: true });
  });
  return [drawn, grip];
}

function legendOf(traces, wide) {
  const named = traces.filter((t) => t.showlegend !== false && t.name), rows = [[]];
  let x = EDGE.left;
  for (const t of named) {
    const size = 30 + 7 * plain(t.name).length;
    if (x + size > wide && rows.at(-1).length) { rows.push([]); x = EDGE.left; }
    rows.at(-1).push([t, x]);
    x += size;
  }
  const place = (made, top) => rows.forEach((row, k) => row.forEach(([t, at]) => made.append(
    sign(t.marker?.symbol, at + 4, top + 8 + 17 * k, 4.5, { fill: String(t.marker?.symbol ?? "").includes("open") ? "#fff" : one(t.marker?.color, 0) ?? t.line?.color, stroke: one(t.marker?.color, 0) ?? t.line?.color }),
    says(at + 13, top + 12 + 17 * k, plain(t.name)))));
  return { high: named.length ? 8 + 17 * rows.length : 0, place };
}

/** Words as they were before `escaped` made them fit for plotly. */
export const plain = (words) => String(words).replaceAll("<br>", "\n").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
