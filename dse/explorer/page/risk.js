// How likely an answer is: the study re-optimised under draws of every fact with a range, and which fact it hangs on.
import { axis, CONFIG, framed, LOOK, react } from "./plots.js";
import { ofTopics, receiptsOf, rested } from "./receipts.js";
import { digits, el, inUnit, late, named, percent, table, times } from "./text.js";
import { computed, stored } from "./views.js";

export class Risk {
  constructor(source, state, trouble) {
    Object.assign(this, { source, state, trouble, risks: [], speeds: state.goal === "delivered_time" });
    this.n = el("input", { type: "number", id: "risk-n", value: 60, min: 10, max: 4000 });
    this.target = el("input", { type: "text", id: "risk-target", value: this.speeds ? "6" : "", size: 6 });
    this.said = el("p", { class: "note", role: "status", "aria-live": "polite" });
    this.verdict = el("p", { id: "risk-verdict" });
    Object.assign(this, framed("Distribution of the answer", "risk", trouble));
    this.drivers = el("div", { id: "risk-drivers" });
    const ask = el("div", { class: "row" }, named(this.n, "draws of all facts"),
      this.speeds ? named(this.target, "speed-up to reach") : null, el("button", { type: "button", class: "main", onclick: () => this.compute() }, "How likely?"));
    this.node = el("main", { class: "one", id: "main", tabindex: "-1" }, source.alone ? "" : ask, source.alone ? "" : el("p", { class: "note" }, "The best design is sought anew under every draw; plans and the overlap of compute with memory stay as at the last optimum (dse risk varies them too, in minutes). The first answer compiles; more draws take little longer."), this.said, this.verdict, this.frame, this.drivers);
  }

  async opened() {
    const got = await stored(this, "risks", "risks", `No risk study lies in the results folder: run dse risk${this.source.alone ? "" : ", or ask here"}.`);
    if (!got) return;
    this.risks = got;
    await this.draw();
  }

  compute() {
    computed(this, "risk", { n: this.n.value, target: this.target.value }, (risk) => { this.risks.push(risk); this.draw(); });
  }

  /** What is drawn of a merit: the speed-up itself, or the goal that it is one over. */
  #value(merit) { return this.speeds ? merit : 1 / merit; }

  async draw() {
    const risk = this.risks.at(-1);
    if (!risk) return;
    this.frame.hidden = false;
    const goal = this.state.metrics[this.state.goal] ?? { label: this.state.goal, unit: "" };
    const words = (merit) => (this.speeds ? times(merit) : inUnit(1 / merit, goal.unit)), last = risk.merit.length - 1, can = risk.merit.filter((m) => m > 0), at = (share) => words(can[Math.round((can.length - 1) * share)]);
    const what = risk.target === null ? "A design within all limits" : `${times(risk.target)} delivered`;
    const every = await receiptsOf(this.source, (this.state.found ?? this.state.start).choice).catch(() => null), facts = every && ofTopics(every, ...Object.keys(every.topics));
    const fact = (number, what) => rested(number, `${what}, ${number}`, facts), none = risk.probability === 0 || risk.probability === 1;
    const spread = can.length ? ["; where there is one it is ", fact(at(0.5), "median of the draws"), " in the middle, ", fact(at(0.05), "5th percentile of the draws"), " to ", fact(at(0.95), "95th percentile of the draws"), " in nine of ten"] : [];
    const [first] = Object.keys(risk.in_the_way), way = first ? `; most in the way: ${this.state.metrics[first]?.label ?? first}` : "";
    this.verdict.replaceChildren(`${what} is within reach in `, fact(percent(risk.probability), "share of draws"), ` of ${risk.samples.toLocaleString("en-US")} draws of all facts within their ranges (${none ? "with so few draws, within" : "±"} `, fact(digits(none ? 300 / risk.samples : 100 * risk.probability_error, 2), "error of the share"), " points), each with the best design for it", ...spread, "; limits can be met in ", fact(percent(risk.feasible), "share of draws whose limits can be met"), `${way}.${late(risk)}`);
    const kept = risk.merit.map((m, i) => [m, 1 - i / last]).filter(([m]) => m > 0), x = kept.map(([m]) => this.#value(m)), y = kept.map(([, s]) => 100 * s);
    const title = this.speeds ? "delivered speed-up at least [x]" : `${goal.label} at most${goal.unit ? ` [${goal.unit}]` : ""}`;
    const shapes = risk.target === null ? [] : [{ type: "line", x0: risk.target, x1: risk.target, yref: "paper", y0: 0, y1: 1, line: { color: "#a32535", dash: "dash" } }];
    const text = x.map((v, i) => `${this.speeds ? times(v) : inUnit(v, goal.unit)} or better in ${digits(y[i], 2)} %`);
    const trace = { type: "scatter", mode: "lines+markers", name: "draws", showlegend: false, x, y, text, hoverinfo: "text", marker: { size: 5, color: "#23608f" }, line: { color: "#23608f", width: 2 } };
    await react(this.figure, [trace], { ...LOOK, xaxis: axis(title, false, [...x, risk.target ?? x[0]]), yaxis: { ...axis("share of draws [%]", false, y), autorange: false, range: [0, 102] }, shapes }, CONFIG);
    const rows = risk.drivers.map((d) => [rested(d.words, d.words, d.receipts), el("td", { class: "words" }, d.group), (d.correlation > 0 ? "+" : "−") + digits(Math.abs(d.correlation), 2), Math.abs(d.correlation) < 2 * d.error ? "within noise" : d.correlation > 0 ? "more is better" : "less is better"]);
    this.drivers.replaceChildren(el("h2", {}, "Which fact matters"), table(["fact", el("th", { scope: "col", class: "words" }, "moves with"), "rank correlation with the answer", ""], rows, "Facts by how much of the answer's spread goes with them; each opens its receipts"));
  }
}
