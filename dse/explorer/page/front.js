// The front of the study: certified points to load, the chip at hand and chips that exist beside it, a budget to draw.
import { axis, COLOURS, CONFIG, escaped, LOOK, plotly } from "./plots.js";
import { digits, el, inUnit, late, times } from "./text.js";

const ROOM = 1.25; // around the front, as in figures; chips farther away stand at the edge
const span = (values) => [Math.min(...values) / ROOM, Math.max(...values) * ROOM];
const within = (v, [low, high]) => Math.min(Math.max(v, low), high);

export class Front {
  constructor(source, state, design, show, trouble) {
    Object.assign(this, { source, state, design, show, trouble });
    this.which = el("select", { id: "front-which" });
    this.which.addEventListener("change", () => this.draw());
    this.metrics = el("input", { type: "text", id: "front-metrics", value: "delivered_time, package_cost_USD", size: 34 });
    this.n = el("input", { type: "number", id: "front-n", value: 40, min: 2, max: 200 });
    this.log = el("input", { type: "checkbox", id: "front-log", checked: true });
    this.log.addEventListener("change", () => this.draw());
    this.budget = el("input", { type: "text", id: "front-budget", size: 10, placeholder: "none" });
    this.budget.addEventListener("change", () => this.draw());
    this.said = el("p", { class: "note", role: "status", "aria-live": "polite" });
    this.figure = el("div", { class: "figure", role: "img", "aria-label": "Pareto front" });
    const go = el("button", { type: "button", onclick: () => this.compute() }, "Compute");
    this.node = el("main", { class: "one", id: "main", tabindex: "-1" }, el("div", { class: "row" }, el("label", { for: "front-which" }, "front"), this.which,
      el("label", { for: "front-budget" }, "budget on the x axis"), this.budget, this.log, el("label", { for: "front-log" }, "logarithmic")), this.figure, this.said,
    source.alone ? "" : el("div", { class: "row" }, el("label", { for: "front-metrics" }, "another, over"), this.metrics, el("label", { for: "front-n" }, "points"), this.n, go));
    this.fronts = [];
  }

  async opened() {
    if (this.fetched) return;
    this.fetched = true;
    try {
      const found = await this.source.get("fronts");
      this.fronts = found.fronts;
      if (found.skipped.length) this.said.textContent = `Left out: ${found.skipped.join("; ")}`;
      this.#list();
      if (!this.fronts.length) this.said.textContent += " No front of this study lies in the results folder: run dse front, or compute one here.";
      await this.draw();
    } catch (error) { this.trouble(error.message); }
  }

  #list() {
    this.which.replaceChildren(...this.fronts.map((f, i) => el("option", { value: i }, `${f.metrics.map((m) => m.label).join(" × ")}, ${f.points.length} points`)));
    this.which.value = this.fronts.length - 1;
  }

  compute() {
    this.stop?.();
    this.stop = this.source.search("front", { metrics: this.metrics.value, n: this.n.value }, (word) => {
      if (word.progress) this.said.textContent = word.progress;
      if (word.error) this.said.textContent = word.error;
      if (word.front) { this.fronts.push(word.front); this.#list(); this.draw(); }
    });
  }

  #value(front, i, v) { return front.metrics[i].name === "delivered_time" ? 1 / v : v; }

  #words(front, i, v) { return front.metrics[i].name === "delivered_time" ? times(1 / v) : inUnit(v, front.metrics[i].unit); }

  #title(m) { return m.name === "delivered_time" ? "delivered speed-up [x]" : `${m.label}${m.unit ? ` [${m.unit}]` : ""}`; }

  async draw() {
    const front = this.fronts[this.which.value];
    if (!front) return;
    const Plotly = await plotly(), nodes = [...new Set(this.state.choices.map((c) => c.node))]; // in the study's order, as in figures
    const third = front.metrics.length > 2;
    const traces = nodes.map((node, k) => {
      const mine = front.points.map((p, i) => [p, i]).filter(([p]) => this.state.choices[p.choice].node === node);
      return { type: "scatter", mode: "markers", name: escaped(`front on ${node}`), x: mine.map(([p]) => this.#value(front, 1, p.values[1])), y: mine.map(([p]) => this.#value(front, 0, p.values[0])),
        customdata: mine.map(([, i]) => i), hoverinfo: "text", text: mine.map(([p]) => escaped(this.#hover(front, p)).replaceAll("\n", "<br>")),
        marker: { size: third ? mine.map(([p]) => 6 + 14 * this.#share(front, p.values[2])) : 9, color: COLOURS[k % COLOURS.length] } };
    }).filter((t) => t.x.length);
    const here = this.design.columns().map((c) => ({ name: c.name, x: this.#metric(c, front.metrics[1].name), y: this.#metric(c, front.metrics[0].name) })).filter((c) => c.x > 0 && c.y > 0);
    const own = here.filter((c) => c.name === "this design"), spans = ["x", "y"].map((k) => span([...traces.flatMap((t) => t[k]), ...own.map((c) => c[k])]));
    const held = here.map((c) => ({ name: c.name, x: within(c.x, spans[0]), y: within(c.y, spans[1]), far: c.x !== within(c.x, spans[0]) || c.y !== within(c.y, spans[1]), at: `${digits(c.x, 2)}, ${digits(c.y, 2)}` }));
    traces.push({ type: "scatter", mode: "markers+text", name: "chips at hand, far ones at the edge", x: held.map((c) => c.x), y: held.map((c) => c.y), text: held.map((c) => escaped(c.far ? `${c.name} (${c.at})` : c.name)), textposition: "top center",
      marker: { symbol: "diamond-open", size: 11, color: "#1d1d1d" }, hoverinfo: "text" });
    const limit = Number(this.budget.value.replaceAll(",", "")), shapes = [];
    const log = this.log.checked;
    if (limit > 0) {
      shapes.push({ type: "line", x0: limit, x1: limit, yref: "paper", y0: 0, y1: 1, line: { color: "#a32535", dash: "dash" } });
      this.#budgeted(front, limit);
    }
    const look = { ...LOOK, xaxis: axis(this.#title(front.metrics[1]), log, traces.flatMap((t) => t.x)), yaxis: axis(this.#title(front.metrics[0]), log, traces.flatMap((t) => t.y)), shapes };
    await Plotly.react(this.figure, traces, look, CONFIG);
    this.figure.removeAllListeners?.("plotly_click");
    this.figure.on("plotly_click", (e) => { const i = e.points[0]?.customdata; if (i !== undefined) this.load(front.points[i]); });
    if (!(limit > 0)) this.said.textContent = `${front.points.length} designs, none beaten in every metric; each within ${(100 * front.worst_gap).toPrecision(2)} % of its bound under the plans found. Click one to load it.${late(front)}`;
  }

  #budgeted(front, limit) {
    const inside = front.points.filter((p) => this.#value(front, 1, p.values[1]) <= limit);
    const best = inside.reduce((a, p) => (!a || p.values[0] < a.values[0] ? p : a), null);
    this.said.textContent = best ? `Within it ${inside.length} of ${front.points.length}; the best: ${this.#hover(front, best).replaceAll("\n", ", ")}` : "No design of this front is within it.";
  }

  #share(front, v) {
    const every = front.points.map((p) => Math.log(p.values[2])), low = Math.min(...every), high = Math.max(...every);
    return high > low ? (Math.log(v) - low) / (high - low) : 0;
  }

  #metric(c, name) { const v = name === "delivered_time" ? c.speedup : c.metrics[name]; return Array.isArray(v) ? Math.max(...v) : v; }

  #hover(front, p) {
    const c = this.state.choices[p.choice];
    return [...front.metrics.map((m, i) => `${m.label} ${this.#words(front, i, p.values[i])}`), `${c.n_dies} x ${c.node}, ${c.pe_array}, ${c.hbm}, ${c.link}`,
      ...this.state.free.map((f) => `${f.label} ${inUnit(p.x[f.name], f.unit)}`)].join("\n");
  }

  load(point) {
    this.design.load({ x: point.x, choice: point.choice, limits: this.design.design.limits, plans: null });
    this.show("Design");
  }
}
