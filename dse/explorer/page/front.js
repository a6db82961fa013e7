// The front of the study: certified points to load, designs beneath it, chips that exist, a budget to draw and what it changes.
import { choiceWords, FIELDS, FIELD_WORDS } from "./link.js";
import { choiceText } from "./controls.js";
import { beneath } from "./cloud.js";
import { axis, COLOURS, CONFIG, escaped, framed, LOOK, react, SHADES } from "./plots.js";
import { heading, metricOf, pointsTable, receiptsOn } from "./points.js";
import { digits, el, inUnit, late, named, parsed, percent, scaleOf, table, times } from "./text.js";
import { computed, stored } from "./views.js";

const ROOM = 1.25; // around the front, as in figures; chips farther away stand at the edge
const SIGNS = ["circle", "square", "diamond"], SAME = 5e-3, PROVED = 1e-5; // gaps below need no digits
const NARROW = 600, ARROWS = ["↖↑↗", "←·→", "↙↓↘"]; // pixels below which an arrow says that a chip lies beyond the edge, and a tap where
const span = (values) => [Math.min(...values) / ROOM, Math.max(...values) * ROOM];
const within = (v, [low, high]) => Math.min(Math.max(v, low), high);
const largest = (v) => (Array.isArray(v) ? Math.max(...v) : v);

export class Front {
  constructor(source, state, design, show, trouble) {
    Object.assign(this, { source, state, design, show, trouble, fronts: [], clouds: new Map(), chips: [], receipts: new Map() });
    const list = (id, act, ...options) => { const made = el("select", { id }, ...options); made.addEventListener("change", act); return made; };
    this.which = list("front-which", () => this.chosen());
    [this.across, this.up] = ["front-x", "front-y"].map((id) => list(id, () => { this.budget.value = ""; this.draw(); }));
    const metrics = (id, first, none) => { const made = el("select", { id }, ...(none ? [el("option", { value: "" }, "none")] : []), ...this.#known().map(([name, m]) => el("option", { value: name }, heading({ name, ...m })))); made.value = first; return made; };
    this.asked = [metrics("front-first", "delivered_time"), metrics("front-second", "package_cost_USD"), metrics("front-third", "", true)];
    this.asked.slice(1).forEach((list, i) => list.setAttribute("aria-label", `and, metric ${i + 2} of another front`));
    this.n = el("input", { type: "number", id: "front-n", value: 40, min: 2, max: 200 });
    const tick = (id) => { const made = el("input", { type: "checkbox", id, checked: true }); made.addEventListener("change", () => this.draw()); return made; };
    [this.log, this.beneath] = [tick("front-log"), tick("front-beneath")];
    this.budget = el("input", { type: "text", id: "front-budget", size: 12, placeholder: "none" });
    this.budget.addEventListener("change", () => this.draw());
    this.said = el("p", { class: "note", role: "status", "aria-live": "polite" });
    Object.assign(this, framed("Pareto front", "front", trouble));
    [this.change, this.numbers] = ["front-change", "front-points"].map((id) => el("div", { id }));
    this.node = el("main", { class: "one", id: "main", tabindex: "-1" }, el("div", { class: "row" }, named(this.which, "front"), named(this.across, "x axis"), named(this.up, "y axis"),
      named(this.budget, "budget on x"), el("span", { class: "tick" }, this.log, el("label", { for: "front-log" }, "logarithmic")), el("span", { class: "tick" }, this.beneath, el("label", { for: "front-beneath" }, "designs beneath"))), this.frame, this.said, this.change, this.numbers,
    source.alone ? "" : el("div", { class: "row" }, named(this.asked[0], "another, over"), named(this.asked[1], "and"), named(this.asked[2], "and"), named(this.n, "points"), el("button", { type: "button", onclick: () => this.compute() }, "Compute")));
  }

  #known() { return Object.entries(this.state.metrics).filter(([n]) => !["served_time"].includes(n) || this.state.goal === n); }

  async opened() {
    const got = await stored(this, "fronts", "fronts", "No front of this study lies in the results folder: run dse front, or compute one here.");
    if (!got) return;
    this.fronts = got;
    this.#list();
    await this.chosen();
    for (const name of this.state.named) {
      const c = await this.design.chip(name).catch(() => null); // one that runs nothing of the study has no place here
      if (c) { this.chips.push(c); await this.draw(); }
    }
  }

  #list() {
    this.which.replaceChildren(...this.fronts.map((f, i) => el("option", { value: i }, `${f.metrics.map(heading).join(" × ")}, ${f.points.length} points`)));
    this.which.value = this.fronts.length - 1;
  }

  /** Another front: its metrics as axes, then what lies beneath it. */
  async chosen() {
    const front = this.fronts[this.which.value];
    if (!front) return;
    for (const node of [this.across, this.up]) node.replaceChildren(...front.metrics.map((m, i) => el("option", { value: i }, heading(m))));
    [this.across.value, this.up.value, this.budget.value] = [1, 0, ""];
    await this.draw();
    this.receipts = await receiptsOn(this.source, front);
    this.numbers.replaceChildren(pointsTable(this.state, front, this.receipts, (m, v) => this.#words(m, v), (p) => this.load(p)));
    if (this.clouds.has(front)) return;
    this.clouds.set(front, []);
    try {
      this.clouds.set(front, await beneath(this.source, this.state, front.points, (i, n) => { this.said.textContent = `looking for designs beneath the front: ${i} of ${n}`; }));
    } catch (error) { this.trouble(error.message); }
    await this.draw();
  }

  compute() {
    const metrics = [...new Set(this.asked.map((s) => s.value).filter(Boolean))].join(",");
    computed(this, "front", { metrics, n: this.n.value }, (front) => { this.fronts.push(front); this.#list(); this.chosen(); });
  }

  #value(m, v) { return m.name === "delivered_time" ? 1 / v : v; }

  #words(m, v) { return m.name === "delivered_time" ? times(1 / v) : inUnit(v, m.unit); }

  #title(m) { return m.name === "delivered_time" ? `${heading(m)} [x]` : `${m.label}${m.unit ? ` [${m.unit}]` : ""}`; }

  /** A metric of a design or chip, in the form that the front's own points have. */
  #of(m, c) { const v = largest(c.metrics?.[m.name]); return m.name === "delivered_time" && c.speedup > 0 ? 1 / c.speedup : v; }

  async draw() {
    const front = this.fronts[this.which.value];
    if (!front) return;
    this.frame.hidden = false;
    const [i, j] = [Number(this.across.value), Number(this.up.value)], [X, Y] = [front.metrics[i], front.metrics[j]], k = front.metrics.findIndex((_, at) => at !== i && at !== j);
    const at = (p) => ({ x: this.#value(X, p[0]), y: this.#value(Y, p[1]) }), log = this.log.checked, typed = parsed(this.budget.value, X.unit, front.points[0].values[i]), limit = typed > 0 ? this.#value(X, typed) : NaN; // typed as it is drawn
    const traces = this.#points(front, i, j, k), own = { ...this.design.column(), name: "this design" };
    const here = [own, ...this.design.pins, ...this.#chips()].map((c) => ({ name: c.name.split("/").at(-1), ...at([this.#of(X, c), this.#of(Y, c)]) })).filter((c) => c.x > 0 && c.y > 0);
    const spans = ["x", "y"].map((d) => span([...traces.flatMap((t) => t[d]).filter(Number.isFinite), ...here.filter((c) => c.name === own.name).map((c) => c[d])]));
    const cloud = (this.beneath.checked ? this.clouds.get(front) : null) ?? [], below = cloud.map((c) => at([this.#of(X, c), this.#of(Y, c)]));
    const shown = below.map((c, n) => [c, n]).filter(([c]) => c.x === within(c.x, spans[0]) && c.y === within(c.y, spans[1]));
    const dots = { type: "scatter", mode: "markers", name: "other designs within the limits", x: shown.map(([c]) => c.x), y: shown.map(([c]) => c.y), customdata: shown.map(([, n]) => -1 - n), hoverinfo: "text",
      text: shown.map(([, n]) => this.#hover(front, { ...cloud[n], values: front.metrics.map((m) => this.#of(m, cloud[n])) })), marker: { size: 5, color: "#a9a9a9", opacity: 0.6 } };
    const held = this.#held(here, spans);
    const chips = { type: "scatter", mode: "markers+text", name: "this design and chips, far ones at the edge", x: held.map((c) => c.x), y: held.map((c) => c.y), text: held.map((c) => c.words.map(escaped).join("<br>")),
      hovertext: held.map((c) => c.whole.map(escaped).join("<br>")), textposition: held.map((m) => m.place), marker: { symbol: "diamond-open", size: 11, color: "#1d1d1d" }, hoverinfo: "text" };
    const shapes = limit > 0 ? [{ type: "line", x0: this.#value(X, limit), x1: this.#value(X, limit), yref: "paper", y0: 0, y1: 1, line: { color: "#a32535", dash: "dash", width: 2 }, editable: true }] : [];
    const all = [...(shown.length ? [dots] : []), ...traces, chips], look = { ...LOOK, xaxis: axis(this.#title(X), log, [...all.flatMap((t) => t.x), ...shapes.map((s) => s.x0)]), yaxis: axis(this.#title(Y), log, all.flatMap((t) => t.y)), shapes };
    await react(this.figure, all, look, { ...CONFIG, edits: { shapePosition: limit > 0 } }, this.#hears(front, X, cloud));
    this.#told(front, i, j, k, limit, shown.length);
  }

  /** Marks within the figure, those of the same corner as one, each with where its words go: inwards, and not onto its neighbour's. */
  #held(here, [across, up]) {
    const far = (a, b, [low, high], share) => Math.abs(Math.log(a / b)) > share * Math.log(high / low), marks = [];
    for (const c of here) {
      const [x, y] = [within(c.x, across), within(c.y, up)], beyond = x !== c.x || y !== c.y, whole = beyond ? `${c.name} (${digits(c.x, 2)}, ${digits(c.y, 2)})` : c.name, same = marks.find((m) => m.x === x && !far(m.y, y, up, 0.01));
      const word = beyond && this.figure.clientWidth < NARROW ? `${ARROWS[1 + Math.sign(y - c.y)][1 + Math.sign(c.x - x)]} ${c.name}` : whole;
      if (same) { same.words.push(word); same.whole.push(whole); } else marks.push({ x, y, words: [word], whole: [whole] });
    }
    const top = Math.max(...marks.map((m) => m.y)), sorted = [...marks].sort((a, b) => b.y - a.y);
    for (const [k, m] of sorted.entries()) {
      const side = m.x === across[0] ? "right" : m.x === across[1] ? "left" : "", alone = !sorted.some((o) => o !== m && o.x === m.x && !far(o.y, m.y, up, 0.035 * Math.max(o.words.length, m.words.length)));
      if (side && alone) { m.place = `middle ${side}`; continue; } // at an edge, in line with its mark
      const close = sorted.slice(0, k).some((o) => !far(o.x, m.x, across, 0.3) && !far(o.y, m.y, up, 0.07));
      m.place = `${(close || m.y > top / 1.05) && m.y > up[0] * 1.05 ? "bottom" : "top"} ${m.x > across[1] / 1.05 ? "left" : m.x < across[0] * 1.1 ? "right" : "center"}`;
    }
    return marks;
  }

  /** Chips beside the front, each once. */
  #chips() { return [...new Map([...this.design.others, ...this.chips].map((c) => [c.name, c])).values()]; }

  /** Points by node; a third metric as shades, from its least to its largest. */
  #points(front, i, j, k) {
    const nodes = [...new Set(this.state.choices.map((c) => c.node))], third = front.metrics[k]; // in the study's order, as in figures
    const every = third ? front.points.map((p) => Math.log(p.values[k])) : [], low = Math.min(...every), high = Math.max(...every);
    const shade = (p) => SHADES[Math.round((SHADES.length - 1) * (high > low ? (Math.log(p.values[k]) - low) / (high - low) : 0))];
    const traces = nodes.map((node, at) => {
      const mine = front.points.map((p, n) => [p, n]).filter(([p]) => this.state.choices[p.choice].node === node);
      return { type: "scatter", mode: "markers", name: escaped(`front on ${node}`), x: mine.map(([p]) => this.#value(front.metrics[i], p.values[i])), y: mine.map(([p]) => this.#value(front.metrics[j], p.values[j])),
        customdata: mine.map(([, n]) => n), hoverinfo: "text", text: mine.map(([p]) => this.#hover(front, p)), marker: { size: 9, symbol: SIGNS[at % SIGNS.length], color: third ? mine.map(([p]) => shade(p)) : COLOURS[at % COLOURS.length] } };
    }).filter((t) => t.x.length);
    const key = third ? [["least", 0, low], ["most", SHADES.length - 1, high]].map(([word, n, v]) => ({ type: "scatter", mode: "markers", name: escaped(`${word} ${third.label}: ${this.#words(third, Math.exp(v))}`), x: [null], y: [null], marker: { size: 9, symbol: "square", color: SHADES[n] } })) : [];
    return [...traces, ...key];
  }

  #hears(front, X, cloud) {
    return { plotly_click: (e) => { const n = e.points[0]?.customdata; if (n !== undefined) this.load(n < 0 ? cloud[-1 - n] : front.points[n]); },
      plotly_relayout: (e) => { const x = e["shapes[0].x0"]; if (x > 0) { const [word, scale] = scaleOf(x, X.unit); this.budget.value = `${digits(x / scale, 4)} ${word}`.trim(); clearTimeout(this.moved); this.moved = setTimeout(() => this.draw(), 150); } } };
  }

  #told(front, i, j, k, limit, n) {
    const beneath = n ? ` ${n} other designs that keep the limits lie beneath it.` : "", third = k < 0 ? "" : ` Shades: ${front.metrics[k].label}, darker is more.`;
    this.said.textContent = `${front.points.length} designs, none beaten in every metric; each within ${front.worst_gap < PROVED ? "0.001 %" : percent(front.worst_gap)} of its bound under the plans found.${beneath}${third} Click one to load it; a budget draws a line that can be dragged.${late(front)}`;
    this.change.replaceChildren();
    if (!(limit > 0)) return;
    const best = (some) => some.reduce((a, p) => (!a || p.values[j] < a.values[j] ? p : a), null), inside = front.points.filter((p) => p.values[i] <= limit), [free, mine] = [best(front.points), best(inside)];
    if (!mine) { this.said.textContent = "No design of this front is within the budget."; return; }
    this.said.textContent = `Within it ${inside.length} of ${front.points.length}; the best of them: ${this.#words(front.metrics[j], mine.values[j])} instead of ${this.#words(front.metrics[j], free.values[j])}.${third}`;
    this.change.replaceChildren(table(["", "without", "within"], this.#differences(front, free, mine), "What the budget changes: the best design of the front by the metric on y, without and within it"),
      el("div", { class: "row" }, el("button", { type: "button", onclick: () => this.load(mine) }, "Load the best within it")));
  }

  #differences(front, a, b) {
    const [one, other] = [a, b].map((p) => this.state.choices[p.choice]), far = (v, w) => Math.abs(Math.log(v / w)) > SAME;
    const rows = [...front.metrics.map((m, n) => [m.label, ...[a, b].map((p) => metricOf(m, this.#words(m, p.values[n]), p, this.receipts))]),
      ...FIELDS.filter((f) => String(one[f]) !== String(other[f])).map((f) => [FIELD_WORDS[f], choiceText(f, one[f]), choiceText(f, other[f])]),
      ...this.state.free.filter((f) => far(a.x[f.name], b.x[f.name])).map((f) => [f.label, inUnit(a.x[f.name], f.unit), inUnit(b.x[f.name], f.unit)])];
    return a === b ? rows.slice(0, front.metrics.length) : rows;
  }

  #hover(front, p) {
    const c = this.state.choices[p.choice];
    return escaped([...front.metrics.map((m, i) => `${m.label} ${this.#words(m, p.values[i])}`), choiceWords(c),
      ...this.state.free.map((f) => `${f.label} ${inUnit(p.x[f.name], f.unit)}`)].join("\n")).replaceAll("\n", "<br>");
  }

  load(point) {
    const { x, choice, blank_mm2 } = point;
    this.design.load({ x, choice, blank_mm2, limits: this.design.design.limits, plans: this.source.alone ? point.plans : null }); // a server finds the fastest
    this.show("Design");
  }
}
