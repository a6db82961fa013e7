// Measured against predicted, by source and chip: how far to believe the rest.
import { axis, COLOURS, CONFIG, escaped, framed, LOOK, react } from "./plots.js";
import { open, rested } from "./receipts.js";
import { el, inUnit, named, percent, table } from "./text.js";
import { computed, stored } from "./views.js";

const BAND = 0.25;
const SCORES = ". Of every measurement, the model's error relative to it: median and 90th percentile of its size, the median with its sign (bias), and how many measurements lie in the 80 % band";

/** A measurement beside its prediction, in words that are made once: a change of colour draws all points anew. */
const wordsOf = (p) => (p.words ??= escaped(`${p.point_id}\n${p.chip}, ${p.calibration}\nmeasured ${inUnit(p.measured_s, "s")}, predicted ${inUnit(p.predicted_s, "s")} (${percent(p.predicted_s / p.measured_s - 1)})`).replaceAll("\n", "<br>"));

export class Truth {
  constructor(source, state, trouble) {
    Object.assign(this, { source, state, trouble, kinds: [] });
    const list = (id, words) => { const node = el("select", { id }); node.addEventListener("change", () => this.draw(id)); return named(node, words); };
    const parts = [list("truth-kind", "measurements"), list("truth-source", "source"), list("truth-chip", "chip"), list("truth-by", "colour")];
    [this.kind, this.from, this.chip, this.by] = parts.map((part) => part.lastChild);
    this.by.replaceChildren(el("option", { value: "source" }, "by source"), el("option", { value: "chip" }, "by chip"));
    this.said = el("p", { class: "note", role: "status", "aria-live": "polite" });
    Object.assign(this, framed("Predicted against measured", "truth", trouble));
    this.scores = el("div", {});
    this.go = source.alone ? "" : el("button", { type: "button", onclick: () => this.compute() }, "Predict every measurement");
    this.node = el("main", { class: "one", id: "main", tabindex: "-1" }, el("div", { class: "row" }, ...parts, this.go), this.frame, this.said, this.scores);
  }

  async opened() {
    const got = await stored(this, "truth", "kinds", "No scores lie in the results folder: run dse validate.");
    if (!got) return;
    this.kinds = got;
    this.#list(this.kinds[0]?.name);
    await this.draw("truth-kind");
  }

  /** Who published what was measured of a source, of a chip, or of both. */
  #published(found, { source, chip }) {
    return { rows: found.receipts.rows.filter((r) => (!source || r.source === source) && (!chip || r.chip === chip)), works: found.receipts.works };
  }

  #list(chosen) {
    this.kind.replaceChildren(...this.kinds.map((k) => el("option", { value: k.name }, k.name)));
    this.kind.value = chosen ?? "";
  }

  compute() {
    const kind = this.kinds.find((k) => k.name === this.kind.value)?.kind ?? "training";
    computed(this, "truth", { kind }, (truth) => { this.kinds = [...this.kinds.filter((k) => k.name !== truth.name), truth]; this.#list(truth.name); this.draw("truth-kind"); });
  }

  async draw(changed) {
    const found = this.kinds.find((k) => k.name === this.kind.value) ?? this.kinds[0];
    if (!found) return;
    if (changed === "truth-kind") {
      const every = (rows, key) => [el("option", { value: "" }, "all"), ...rows.filter((r) => r.modelled).map((r) => el("option", { value: r[key] }, r[key]))];
      this.from.replaceChildren(...every(found.sources, "source"));
      this.chip.replaceChildren(...every(found.chips, "chip"));
    }
    const rows = (found.points.length ? found.points : found.worst).filter((p) => p.predicted_s > 0 && (!this.from.value || p.source === this.from.value) && (!this.chip.value || p.chip === this.chip.value));
    this.frame.hidden = !rows.length;
    const by = this.by.value, names = [...new Set(rows.map((p) => p[by]))];
    const traces = names.map((name, k) => {
      const mine = rows.filter((p) => p[by] === name);
      return { type: "scatter", mode: "markers", name: escaped(name), x: mine.map((p) => p.measured_s), y: mine.map((p) => p.predicted_s), marker: { size: 6, opacity: 0.75, color: COLOURS[k % COLOURS.length], symbol: Math.floor(k / COLOURS.length) }, customdata: mine,
        hoverinfo: "text", text: mine.map(wordsOf) };
    });
    const ends = rows.flatMap((p) => [p.measured_s, p.predicted_s]), low = Math.min(...ends) / 1.5, high = Math.max(...ends) * 1.5;
    const line = (factor, dash) => ({ type: "scatter", mode: "lines", x: [low, high], y: [low * factor, high * factor], line: { color: "#8b8b8b", width: 1, dash }, hoverinfo: "skip", showlegend: false });
    if (rows.length) await react(this.figure, [line(1, "solid"), line(1 + BAND, "dot"), line(1 - BAND, "dot"), ...traces], { ...LOOK, xaxis: axis("measured [s]", true, [low, high]), yaxis: axis("predicted [s]", true, [low, high]) }, CONFIG, { plotly_click: (e) => { const p = e.points[0]?.customdata; if (p?.source) open(`measurement ${p.point_id}`, this.#published(found, p)); } });
    if (changed !== "truth-by") this.#tell(found, rows);
  }

  /** The scores of what is drawn, in a sentence and in tables. */
  #tell(found, rows) {
    const t = found.total, how = { source: "out of sample: every source by fits that never saw it", generation: "out of sample: every generation by fits that never saw it" }[found.held_out] ?? "in sample: the shipped fits saw these rows";
    const many = found.points.length ? `${rows.length} points drawn` : `Only the ${rows.length} worst predictions are drawn: the single ones are not ${this.source.alone ? "in this page" : "in the results folder (predict them here)"}`;
    const fact = (number, what) => rested(number, `${what} of ${found.name}, ${number}`, found.receipts), count = (n) => n.toLocaleString("en-US");
    this.said.replaceChildren(fact(count(t.modelled), "predicted measurements"), " of ", fact(count(t.points), "measurements"), ` measurements predicted, ${how}; median over sources of the median error `, fact(percent(t.median_abs_err), "median error"),
      ", of a simple baseline ", fact(percent(t.baseline_median_abs_err), "median error of the baseline"), `. ${many}; a click on one shows who measured it. Dotted: ±25 %. Bands on the Design view hold 80 % of left-out measurements.`);
    const score = (key) => (r) => [rested(r[key], `score of ${r[key]}`, this.#published(found, { [key]: r[key] }), SCORES), String(r.modelled), percent(r.median_abs_err), percent(r.p90_abs_err), percent(r.bias), r.coverage === null ? "–" : percent(r.coverage)];
    const heads = ["predicted", "median error", "90th percentile", "bias", "in the 80 % band"];
    const some = (list, key, wanted) => list.filter((r) => r.modelled && (!wanted || r[key] === wanted)).map(score(key));
    this.scores.replaceChildren(el("h2", {}, "By source"), table(["source", ...heads], some(found.sources, "source", this.from.value), "Scores by source"), el("h2", {}, "By chip"), table(["chip", ...heads], some(found.chips, "chip", this.chip.value), "Scores by chip"));
  }
}
