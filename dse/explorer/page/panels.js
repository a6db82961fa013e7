// Live panels, drawn by hand as SVG: thirty milliseconds from a slider to a picture leave no room for a plotting library.
import { facts } from "./receipts.js";
import { digits, el, inUnit, percent, savePicture, svg, writtenPicture } from "./text.js";

const USUAL = 620, LEAST = 300;

/** Pictures are drawn as wide as their place, so that words keep their size; told by the browser, not asked for at every draw. */
const widths = new WeakMap();
const watching = new ResizeObserver((seen) => {
  const moved = seen.filter((s) => widths.get(s.target) !== Math.max(s.contentRect.width, LEAST));
  for (const s of moved) widths.set(s.target, Math.max(s.contentRect.width, LEAST));
  if (moved.length) dispatchEvent(new Event("panels-resized"));
});
const widthOf = (picture) => Math.round(widths.get(picture) ?? USUAL);

const text = (x, y, words, more = {}) => svg("text", { x, y, "font-size": 12, "font-family": "system-ui, sans-serif", fill: "#1d1d1d", ...more }, words);

export function panel(title, name, topic, about) {
  const picture = el("div", { class: "picture" });
  watching.observe(picture);
  const keep = (form) => () => keepPicture(picture.querySelector("svg"), name, form);
  const buttons = el("span", {}, facts(topic, "facts", title), " ", el("button", { onclick: keep("svg"), "aria-label": `${title}: save as SVG` }, "SVG"), " ",
    el("button", { onclick: keep("png"), "aria-label": `${title}: save as PNG` }, "PNG"));
  const legend = el("ul", { class: "legend" });
  return { node: el("section", { class: "panel", "aria-label": title }, el("h2", {}, title, buttons), picture, legend, about ? el("p", { class: "note" }, about) : null),
    picture, legend };
}

function keepPicture(picture, name, form) {
  if (!picture) return;
  const [, , wide, high] = picture.getAttribute("viewBox").split(" ").map(Number);
  savePicture(writtenPicture(picture), name, form, wide, high);
}

/** Horizontal bars of parts; `rows` are {name, parts, mark}, `kinds` [words, block] of every part. */
export function stackedBars(at, rows, kinds, colours, unit) {
  const wide = widthOf(at.picture), left = 88, right = 96, step = 40, high = 8 + rows.length * step;
  const size = (v) => (Number.isFinite(v) ? Math.max(v, 0) : 0); // a step that never ends has no parts
  const longest = Math.max(...rows.map((r) => Math.max(r.parts.reduce((a, b) => a + size(b), 0), r.mark ?? 0)), 1e-300);
  const made = svg("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": described(rows, kinds, unit) });
  const scale = (wide - left - right) / longest;
  rows.forEach((row, k) => {
    const y = 6 + k * step;
    let x = left, total = 0;
    made.append(text(0, y + 19, row.name.length > 15 ? `${row.name.slice(0, 14)}…` : row.name));
    row.parts.forEach((value, i) => {
      const w = size(value) * scale;
      if (w <= 0) return;
      const bar = svg("rect", { x, y, width: w, height: 28, fill: colours[kinds[i][1]] ?? "#dcdcdc", "fill-opacity": shade(kinds, i), stroke: "#fff", "stroke-width": w > 3 ? 0.8 : 0 });
      bar.append(svg("title", {}, `${row.name}, ${kinds[i][0]}: ${inUnit(value, unit)}`));
      made.append(bar);
      x += w;
      total += value;
    });
    if (row.mark) made.append(svg("line", { x1: left + row.mark * scale, x2: left + row.mark * scale, y1: y - 3, y2: y + 31, stroke: "#1d1d1d", "stroke-width": 2 }));
    made.append(text(Math.max(x, row.mark ? left + row.mark * scale : 0) + 5, y + 19, inUnit(total, unit), { "font-weight": 600 }));
  });
  at.picture.replaceChildren(made);
  legend(at.legend, kinds.filter((_, i) => rows.some((r) => (r.parts[i] ?? 0) > 0)).map((part) => [part[0], colours[part[1]] ?? "#dcdcdc", shade(kinds, kinds.indexOf(part))]));
}

/** Parts of one block share its colour; the later ones are paler, so that each is told from its neighbour. */
const shade = (kinds, i) => 1 / (1 + kinds.slice(0, i).filter(([, block]) => block === kinds[i][1]).length);

const described = (rows, kinds, unit) => rows.map((r) => `${r.name}: ${r.parts.map((v, i) => [v, kinds[i][0]]).filter(([v]) => v > 0)
  .sort((a, b) => b[0] - a[0]).slice(0, 3).map(([v, w]) => `${w} ${inUnit(v, unit)}`).join(", ")}`).join("; ");

function legend(list, entries) {
  const key = JSON.stringify(entries);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const swatch = (colour, shown = 1) => { const i = el("i"); i.style.background = `color-mix(in srgb, ${colour} ${100 * shown}%, #fff)`; return i; };
  const once = entries.filter(([w, c], i) => entries.findIndex(([v, d]) => v === w && c === d) === i);
  list.replaceChildren(...once.map(([words, colour, shown]) => el("li", {}, swatch(colour, shown), words)));
}

const SHAPES = ["circle", "square", "diamond", "triangle"];

/** Operators under the roofs of the chip; colour is what an operator waits for, shape the workload. */
export function roofline(at, reading, operators, state) {
  const wide = widthOf(at.picture), high = 400, left = 50, right = 24, bottom = 42, top = 22;
  const points = [];
  reading.works.forEach((w, k) => operators[k].forEach((op, i) => {
    if (op.run_FLOP > 0 && w.op_traffic_B[i] > 0 && w.op_run_s[i] > 0 && w.step_s > 0) points.push({ k, name: op.name, x: op.run_FLOP / w.op_traffic_B[i], y: op.run_FLOP / w.op_run_s[i],
      share: w.op_step_s[i] / w.step_s, bound: w.op_bound[i] });
  }));
  const made = svg("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img",
    "aria-label": `Roofline: ${points.slice().sort((a, b) => b.share - a.share).slice(0, 4).map((p) => `${p.name} ${percent(p.share)} of ${state.workloads[p.k].name}, waits for ${state.stacks.bound[p.bound][0]}`).join("; ")}` });
  at.picture.replaceChildren(made);
  if (!points.length) {
    made.setAttribute("viewBox", `0 0 ${wide} 60`);
    return void made.append(text(8, 24, "Every block is streamed: no operator has matrix"), text(8, 42, "products and memory traffic of its own."));
  }
  const peaks = reading.peak_FLOPps.filter((p) => p > 0), hbm = reading.metrics.hbm_bandwidth_Bps, best = Math.max(...peaks);
  const spanX = decades(Math.min(...points.map((p) => p.x)), Math.max(best / hbm * 3, ...points.map((p) => p.x)));
  const spanY = decades(Math.min(...points.map((p) => p.y)), best * 1.5);
  const X = (v) => left + (wide - left - right) * (Math.log10(v) - spanX[0]) / (spanX[1] - spanX[0]);
  const Y = (v) => high - bottom - (high - bottom - top) * (Math.log10(v) - spanY[0]) / (spanY[1] - spanY[0]);
  for (let e = spanX[0]; e <= spanX[1]; e++) made.append(svg("line", { x1: X(10 ** e), x2: X(10 ** e), y1: top, y2: high - bottom, stroke: "#ececec" }),
    text(X(10 ** e), high - bottom + 16, digits(10 ** e), { "text-anchor": "middle" }));
  for (let e = spanY[0]; e <= spanY[1]; e++) made.append(svg("line", { x1: left, x2: wide - right, y1: Y(10 ** e), y2: Y(10 ** e), stroke: "#ececec" }),
    text(left - 6, Y(10 ** e) + 4, inUnit(10 ** e, "FLOPps").replace("FLOP/s", ""), { "text-anchor": "end" }));
  made.append(text((left + wide) / 2, high - 6, "FLOP per byte of HBM traffic", { "text-anchor": "middle" }), text(0, 12, "FLOP/s of one chip"));
  const seen = new Set();
  state.precisions.forEach((p, i) => {
    const peak = reading.peak_FLOPps[i];
    if (!(peak > 0) || seen.has(peak)) return;
    seen.add(peak);
    const low = 10 ** spanX[0], floor = 10 ** spanY[0], from = Math.max(low, floor / hbm);
    const corners = [[from, from * hbm], [peak / hbm, peak], [10 ** spanX[1], peak]].map(([x, y]) => `${X(x)},${Y(Math.max(y, floor))}`);
    made.append(svg("polyline", { points: corners.join(" "), fill: "none", stroke: "#1d1d1d", "stroke-width": 1.2, "stroke-dasharray": ["", "5 3", "2 2"][i] }),
      text(wide - right - 2, Y(peak) - 4, `${p.toUpperCase()} ${inUnit(peak, "FLOPps")}`, { "text-anchor": "end", "font-size": 11 }));
  });
  for (const p of points) made.append(mark(SHAPES[p.k % SHAPES.length], X(p.x), Y(p.y), 4 + 9 * Math.sqrt(Math.min(p.share, 1)), state.colours[state.stacks.bound[p.bound][1]],
    `${p.name} (${state.workloads[p.k].name}): ${percent(p.share)} of the step, ${inUnit(p.y, "FLOPps")}, waits for ${state.stacks.bound[p.bound][0]}`));
  const bounds = [...new Set(points.map((p) => p.bound))].sort();
  legend(at.legend, [...bounds.map((b) => [`waits for ${state.stacks.bound[b][0]}`, state.colours[state.stacks.bound[b][1]]]),
    ...state.workloads.map((w, k) => [`${["●", "■", "◆", "▲"][k % 4]} ${w.name}`, "#fff"])]);
}

const decades = (low, high) => [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];

function mark(shape, x, y, r, fill, words) {
  const look = { fill, stroke: "#fff", "stroke-width": 1, "fill-opacity": 0.9 };
  const corners = { square: [[-1, -1], [1, -1], [1, 1], [-1, 1]], diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]], triangle: [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]] };
  const made = shape === "circle" ? svg("circle", { cx: x, cy: y, r, ...look })
    : svg("polygon", { points: corners[shape].map(([a, b]) => `${x + a * r * 0.9},${y + b * r * 0.9}`).join(" "), ...look });
  made.append(svg("title", {}, words));
  return made;
}
