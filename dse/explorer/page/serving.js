// Throughput against interactivity: curves of several chips for one model, and limits as lines to drag.
import { axis, COLOURS, CONFIG, escaped, framed, LOOK, react } from "./plots.js";
import { ofTopics, open, rested } from "./receipts.js";
import { digits, el, inUnit, named, table } from "./text.js";
import { computed, stored } from "./views.js";

const Y = { chip_tokens_per_s: "tokens/s per chip", tokens_per_J: "tokens per joule", million_tokens_USD: "USD per million tokens" };
const TOPICS = { chip_tokens_per_s: ["time"], tokens_per_J: ["time", "power"], million_tokens_USD: ["time", "money"] }; // what each rests on

export class Serving {
  constructor(source, state, trouble) {
    Object.assign(this, { source, state, trouble, servings: [], least: 50 });
    const field = (id, words, node) => named(Object.assign(node, { id }), words);
    this.which = el("select");
    this.y = el("select", {}, ...Object.entries(Y).map(([k, w]) => el("option", { value: k }, w)));
    [this.log, this.labels] = [0, 1].map(() => el("input", { type: "checkbox", checked: true }));
    this.limit = el("input", { type: "text", value: "50", size: 6, "aria-label": "least tokens per second that a user sees" });
    for (const node of [this.which, this.y, this.log, this.labels]) node.addEventListener("change", () => this.draw());
    this.limit.addEventListener("change", () => { this.least = Number(this.limit.value) || this.least; this.draw(); });
    this.chips = el("input", { type: "text", value: "trainium2,trainium3,h100", size: 30 });
    this.model = el("input", { type: "text", value: state.workloads[0]?.model ?? "llama-3.1-70b", size: 16 });
    this.tokens = [el("input", { type: "number", value: 2000, min: 1 }), el("input", { type: "number", value: 300, min: 1 })];
    this.said = el("p", { class: "note", role: "status", "aria-live": "polite" });
    Object.assign(this, framed("Throughput against interactivity", "serving", trouble));
    this.best = el("div", {});
    const ticks = [[this.log, "serving-log", "logarithmic"], [this.labels, "serving-labels", "batch along the curves"]].map(([box, id, words]) => el("span", { class: "tick" }, Object.assign(box, { id }), el("label", { for: id }, words)));
    this.node = el("main", { class: "one", id: "main", tabindex: "-1" }, el("div", { class: "row" }, field("serving-which", "model", this.which), field("serving-y", "show", this.y),
      field("serving-limit", "a user sees at least, tokens/s", this.limit), ...ticks), this.frame, this.best, this.said,
    source.alone ? "" : el("div", { class: "row" }, field("serving-chips", "compute: chips", this.chips), field("serving-model", "model", this.model), field("serving-in", "tokens in", this.tokens[0]),
      field("serving-out", "out", this.tokens[1]), el("button", { type: "button", onclick: () => this.compute() }, "Compute")));
  }

  async opened() {
    const got = await stored(this, "servings", "servings", "No serving curve lies in the results folder: run dse serve, or compute one here.");
    if (!got) return;
    this.servings = got;
    this.#list();
    await this.draw();
  }

  #list() {
    this.which.replaceChildren(...this.servings.map((s, i) => el("option", { value: i }, `${s.model}, ${s.requests.map((r) => `${r.prompt} in ${r.output} out`).join(" + ")}: ${Object.keys(s.chips).join(", ")}`)));
    this.which.value = this.servings.length - 1;
  }

  compute() {
    const asked = { chips: this.chips.value.replaceAll(" ", ""), model: this.model.value.trim(), in: this.tokens[0].value, out: this.tokens[1].value };
    computed(this, "serving", asked, (curves) => { this.servings.push(curves); this.#list(); this.draw(); });
  }

  async draw() {
    const found = this.servings[this.which.value];
    if (!found) return;
    this.frame.hidden = false;
    const y = this.y.value;
    const log = this.log.checked, kept = Object.values(found.chips).flatMap((c) => c.curve.filter((p) => p[y] !== null)), apart = this.#apart(kept, y, log);
    const traces = Object.entries(found.chips).map(([name, c], k) => {
      const points = c.curve.filter((p) => p[y] !== null);
      return { type: "scatter", mode: this.labels.checked ? "lines+markers+text" : "lines+markers", textposition: points.map(() => "top right"), text: apart(points), textfont: { size: 11 }, name: escaped(`${name} (${c.system})`), x: points.map((p) => 1 / p.tpot_s), y: points.map((p) => p[y]), customdata: points.map(() => name), hoverinfo: "text",
        hovertext: points.map((p) => escaped(`${name}: ${digits(1 / p.tpot_s)} tokens/s per user\n${digits(p[y])} ${Y[y]}\nbatch ${p.batch}, ${p.n_chips} chips\nTTFT ${inUnit(p.ttft_s, "s")}\n${p.plan}`).replaceAll("\n", "<br>")),
        marker: { size: 5 }, line: { color: COLOURS[k % COLOURS.length], width: 2 } };
    });
    const line = { type: "line", x0: this.least, x1: this.least, yref: "paper", y0: 0, y1: 1, line: { color: "#a32535", dash: "dash", width: 2 }, editable: true };
    const look = { ...LOOK, xaxis: axis("tokens/s that one user sees", log, [this.least, ...traces.flatMap((t) => t.x)]), yaxis: axis(Y[y], log, traces.flatMap((t) => t.y)), shapes: [line] };
    const opened = (e) => { const name = e.points[0]?.customdata, c = found.chips[name]; if (c?.receipts) open(`${name}: ${Y[y]}`, ofTopics(c.receipts, ...TOPICS[y])); };
    await react(this.figure, traces, look, { ...CONFIG, edits: { shapePosition: true } }, { plotly_click: opened, plotly_relayout: (e) => { const x = e["shapes[0].x0"]; if (x > 0) { this.least = x; this.limit.value = digits(x).replaceAll(",", ""); this.#told(found, y); } } });
    this.#told(found, y);
  }

  /** Words along a curve: batches of points that lie far enough from the last that has one. */
  #apart(every, y, log) {
    const at = (p) => [1 / p.tpot_s, p[y]].map((v) => (log ? Math.log(v) : v)), spans = [0, 1].map((d) => { const all = every.map((p) => at(p)[d]); return Math.max(...all) - Math.min(...all) || 1; });
    const far = (p, q) => Math.abs(at(p)[0] - at(q)[0]) / spans[0] * this.figure.clientWidth > 60 || Math.abs(at(p)[1] - at(q)[1]) / spans[1] * this.figure.clientHeight > 26;
    return (points) => { let last = null; return points.map((p) => { if (last && !far(p, last)) return ""; last = p; return String(p.batch); }); };
  }

  /** The best point of every chip at which a user sees at least so much. */
  #told(found, y) {
    const better = y === "million_tokens_USD" ? (a, b) => a[y] < b[y] : (a, b) => a[y] > b[y];
    const rows = Object.entries(found.chips).map(([name, c]) => {
      const best = c.curve.filter((p) => p[y] !== null && 1 / p.tpot_s >= this.least).reduce((a, p) => (!a || better(p, a) ? p : a), null);
      const fact = (words, what, topics) => rested(words, `${name}: ${what} ${words}`, ofTopics(c.receipts, ...topics));
      return best ? [name, fact(digits(best[y]), Y[y], TOPICS[y]), fact(inUnit(best.tpot_s, "s"), "TPOT", ["time"]), fact(inUnit(best.ttft_s, "s"), "TTFT", ["time"]), String(best.batch), String(best.n_chips), el("td", { class: "words" }, best.plan.replaceAll(",", ", "))] : [name, "none keeps it", "–", "–", "–", "–", "–"];
    });
    this.best.replaceChildren(table(["chip", Y[y], "TPOT", "TTFT", "batch", "chips", el("th", { scope: "col", class: "words" }, "plan")], rows, `Best of every chip where a user sees at least ${digits(this.least)} tokens/s; drag the line. A number, or a mark of the figure, opens its receipts`));
    const known = Object.values(found.chips).map((c) => c.receipts).filter(Boolean), both = { topics: { all: known.flatMap((r) => Object.values(r.topics).flat()) }, works: Object.assign({}, ...known.map((r) => r.works)) };
    this.said.replaceChildren(...found.comparison.flatMap((words) => [rested(words, words, ofTopics(both, "all")), " "]));
  }
}
