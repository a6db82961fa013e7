// The design at hand: what moves, what is asked, what is drawn; undo, pins, the optimum, exports.
import { Controls } from "./controls.js";
import { designOf, linkOf, startOf, worksOf } from "./link.js";
import { panel, roofline, stackedBars } from "./panels.js";
import { colour, openReceipts } from "./receipts.js";
import { comparisonCsv, comparisonTable, limitRows, showLimits, stateOfRoom, tilesOf } from "./tables.js";
import { el, save, times } from "./text.js";
import { Workloads } from "./workloads.js";

const QUIET_MS = 700;

export class Design {
  constructor(source, state, trouble) {
    Object.assign(this, { source, state, trouble, pins: [], others: [], past: [], future: [], busy: false, waiting: false, prices: null, said: "" });
    this.design = designOf(state, location.hash) ?? this.#found() ?? startOf(state);
    this.controls = new Controls(state, this.design, (kind, when) => this.changed(kind, when));
    this.mark = JSON.stringify(this.design);
    this.#build();
    addEventListener("keydown", (e) => this.#key(e));
    addEventListener("panels-resized", () => { if (this.answer) this.draw(); });
    addEventListener("hashchange", () => { if (state.asked_works && worksOf(state.asked_works, location.hash)) return void location.reload(); const d = designOf(state, location.hash); if (d && linkOf(state, d) !== linkOf(state, this.design)) this.load(d); });
  }

  #found() {
    const f = this.state.found;
    if (!f) return null;
    this.prices = f.prices;
    this.said = f.said;
    return { x: { ...f.x }, choice: f.choice, limits: this.state.limits.map((m) => m.value), blank_mm2: 0, plans: f.plans };
  }

  #key(event) {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.matches('input[type="text"]')) return;
    event.preventDefault();
    if (event.shiftKey) this.redo(); else this.undo();
  }

  #build() {
    const button = (words, act, more = {}) => el("button", { onclick: act, type: "button", ...more }, words);
    this.undoing = button("Undo", () => this.undo(), { disabled: true });
    this.redoing = button("Redo", () => this.redo(), { disabled: true });
    this.progress = el("p", { class: "note", role: "status", "aria-live": "polite" });
    this.solving = button("Re-optimise", () => this.search("quick"), { class: "main" });
    this.proving = button("Prove", () => this.search("prove"), { title: "as dse optimize: over all choices, plans and whole counts; up to a minute" });
    this.solvers = this.state.is_chip || this.source.alone ? null : el("div", { class: "row" }, this.solving, this.proving);
    const whole = el("input", { type: "checkbox", id: "whole" });
    whole.checked = this.controls.whole;
    whole.addEventListener("change", () => { this.controls.whole = whole.checked; this.controls.showAll(); });
    this.auto = el("input", { type: "checkbox", id: "auto" });
    this.auto.addEventListener("change", () => { this.design.plans = this.auto.checked ? null : this.answer?.plans ?? null; this.changed("move"); this.changed("set"); });
    const chip = el("select", { "aria-label": "chip to compare" }, el("option", { value: "" }, "compare a chip…"), ...this.#chipNames().map((n) => el("option", { value: n }, n)));
    chip.addEventListener("change", () => { if (chip.value) this.addChip(chip.value); chip.value = ""; });
    const names = el("div", {}, ...this.controls.lists.map((l) => l.node));
    const exports = this.source.alone ? [] : [button("TOML", () => this.export("toml")), button("Python", () => this.export("python"))];
    this.asking = this.source.alone ? null : new Workloads(this.source, this.state, (works) => this.#linked(works));
    this.tiles = el("div", { class: "tiles", id: "tiles" });
    this.plans = el("p", { class: "note", id: "plans" });
    this.summary = el("div", { id: "summary", "aria-hidden": "true" });
    this.heard = el("p", { id: "heard", class: "heard", role: "status", "aria-live": "polite" }); // a picture that changes says nothing to who cannot see it
    this.limits = el("div", { id: "limits" });
    this.comparison = el("div", { id: "comparison" });
    this.panels = { roof: panel("Roofline", "roofline", "time", "Size: share of the step. Move the pointer over a mark for its name. Operators of a streamed block have no memory traffic of their own and are not drawn."), step: panel("Step time by part", "step", "time"),
      area: panel("Silicon by block", "area", "area"), energy: panel("Mean power by block", "power", "power", "Dynamic energy over the step, and static power; delivery losses left out."),
      load: panel("Full load in FP8", "load", "power"), cost: panel("Package cost by part", "cost", "money") };
    const column = (...names) => el("div", { class: "column" }, ...names.map((p) => this.panels[p].node));
    this.node = el("div", {}, this.summary, el("div", { class: "design" },
      el("div", { class: "controls" },
        el("section", { "aria-label": "Design" }, el("h2", {}, "Design"), el("div", { class: "row" }, this.undoing, this.redoing, button("Start over", () => this.load(startOf(this.state)))), this.solvers, this.progress,
          names, ...this.controls.sliders.map((s) => s.node), this.controls.blank.node, this.state.is_chip ? null : el("div", { class: "row" }, whole, el("label", { for: "whole" }, "only what can be built")),
          this.source.alone ? null : el("div", { class: "row" }, this.auto, el("label", { for: "auto" }, "fastest plans at every change"))),
        this.asking?.node,
        el("section", { "aria-label": "Limits" }, el("h2", {}, "Limits"), ...this.controls.limits.map((l) => l.node)),
        el("section", { "aria-label": "Keep and share" }, el("h2", {}, "Keep and share"),
          el("div", { class: "row" }, button("Pin", () => this.pin()), chip), el("div", { class: "row" }, button("Copy link", () => this.copyLink()), ...exports, button("CSV", () => this.csv())))),
      el("main", { id: "main", tabindex: "-1" }, this.heard, this.tiles, this.plans,
        el("div", { class: "panels" }, column("roof", "step", "area", "energy"),
          el("div", { class: "column" }, el("section", { class: "panel second", "aria-label": "Limits and prices" }, el("h2", {}, "Limits: what binds, and its price"), this.limits), ...column("load", "cost").children),
          el("section", { class: "panel wide", "aria-label": "Comparison" }, el("h2", {}, "Side by side"), this.comparison)))));
    this.node.addEventListener("click", (e) => { const b = e.target.closest("[data-topic]"); if (b) openReceipts(this.source, this.asked.choice, b.dataset.topic, b.dataset.words ?? b.querySelector("span").textContent); });
    this.controls.showAll();
  }

  #chipNames() { return this.source.alone ? Object.keys(this.source.held.chips) : this.state.chips; }

  async begin() {
    this.auto.checked = this.design.plans === null;
    this.progress.textContent = this.said;
    const first = this.ask(performance.now());
    if (!this.state.is_chip) this.addChip(this.state.baseline, true);
    await first;
    this.#linked();
    if (this.state.is_chip) { this.pins.unshift({ ...this.column(), name: "as built" }); this.draw(); }
  }

  /** A slider moved, or stands: moving draws, standing can be undone and linked to. */
  changed(kind, when = performance.now()) {
    if (kind === "move") {
      if (this.auto.checked) this.design.plans = null;
      return void this.ask(when);
    }
    this.remember();
  }

  remember() {
    const now = JSON.stringify(this.design);
    if (now === this.mark) return;
    this.past.push(this.mark);
    this.future = [];
    this.mark = now;
    this.#written();
  }

  #written() {
    this.undoing.disabled = !this.past.length;
    this.redoing.disabled = !this.future.length;
    clearTimeout(this.linking);
    this.linking = setTimeout(() => this.#linked(), 300); // browsers count how often an address changes
  }

  #linked(works = this.state.asked_works?.workloads) {
    clearTimeout(this.linking);
    const link = linkOf({ ...this.state, asked_works: works && { ...this.state.asked_works, workloads: works } }, this.design);
    if (location.hash !== (link && `#${link}`)) history.replaceState(null, "", link ? `#${link}` : location.pathname + location.search);
  }

  #show(text) {
    this.mark = text;
    Object.assign(this.design, JSON.parse(text));
    this.auto.checked = this.design.plans === null;
    this.controls.showAll();
    this.#written();
    this.ask(performance.now());
  }

  undo() { if (this.past.length) { this.future.push(this.mark); this.#show(this.past.pop()); } }
  redo() { if (this.future.length) { this.past.push(this.mark); this.#show(this.future.pop()); } }

  /** Another design takes the place of this one, and can be undone. */
  load(design) {
    Object.assign(this.design, structuredClone(design));
    this.auto.checked = this.design.plans === null;
    this.controls.showAll();
    this.remember();
    this.ask(performance.now());
  }

  /** One question at a time; the newest values wait, older ones are dropped. */
  async ask(began) {
    if (this.busy) { this.waiting = began; return; }
    this.busy = true;
    try {
      const asked = structuredClone(this.design), sent = performance.now();
      this.answer = await this.source.evaluate(asked);
      this.asked = asked;
      const answered = performance.now();
      this.trouble("");
      this.draw();
      this.timed(began, { answer_ms: answered - sent, draw_ms: performance.now() - answered });
    } catch (error) {
      if (this.design.plans) { this.design.plans = null; this.auto.checked = true; this.waiting ||= began; } // a link from a session that knew other plans
      else this.trouble(error.message);
    } finally {
      this.busy = false;
      if (this.waiting) { const next = this.waiting; this.waiting = false; this.ask(next); }
    }
  }

  /** From input to picture, kept for whoever measures: `explorerTimes`. */
  timed(began, parts) {
    requestAnimationFrame(() => {
      const after = new MessageChannel();
      after.port1.onmessage = () => (globalThis.explorerTimes ??= []).push({ total_ms: performance.now() - began, handler_ms: this.answer.ms, ...parts });
      after.port2.postMessage(0);
    });
  }

  draw() {
    const { state, answer, asked } = this, r = answer.reading;
    const tiles = tilesOf(state, answer);
    if (this.tiles.childElementCount !== tiles.length) {
      this.tiles.replaceChildren(...tiles.map(([, , topic]) => el("button", { class: "tile kind", "data-topic": topic, type: "button" }, el("b"), el("span"))));
    }
    tiles.forEach((said, i) => said.slice(0, 2).forEach((words, k) => { const node = this.tiles.children[i].children[k]; if (node.textContent !== words) node.textContent = words; }));
    this.#colour();
    this.plans.textContent = state.workloads.map((w, k) => `${w.name}: ${answer.plan_texts[k]}`).join("   |   ");
    const rows = limitRows(state, asked, answer, this.prices), tight = rows.filter((x) => stateOfRoom(x.room));
    showLimits(this.limits, rows);
    this.summary.replaceChildren(...tiles.slice(0, 3).map(([v, w]) => el("span", {}, `${v} ${w.split(",")[0]}`)), el("span", { class: tight.some((x) => stateOfRoom(x.room) === "broken") ? "broken" : "" },
      tight.length ? `${tight.length} limits bind or break` : "no limit binds"));
    this.#say([...tiles.slice(0, 3).map(([v, w]) => `${v} ${w.split(",")[0]}`), ...tight.map((x) => `${x.name}: ${stateOfRoom(x.room)}`)].join("; "));
    roofline(this.panels.roof, r, answer.operators, state);
    const bars = (p, parts, unit) => stackedBars(this.panels[p], parts, state.stacks[p], state.colours, unit);
    const base = this.others.find((c) => c.name === state.baseline);
    const loads = [{ name: "this design", parts: r.load_W }, ...(base ? [{ name: base.name, parts: base.load_W }] : [])];
    bars("step", state.workloads.map((w, k) => ({ name: w.name, parts: r.works[k].parts_s.map((v) => v / r.works[k].step_s) })), "frac");
    bars("area", [{ name: "all dies", parts: r.area_mm2 }], "mm2");
    bars("energy", state.workloads.map((w, k) => ({ name: w.name, parts: r.works[k].energy_W })), "W");
    bars("load", loads, "W");
    bars("cost", [{ name: "package", parts: r.cost_USD }], "USD");
    this.#compare();
  }

  /** The answer in words for a screen reader, once numbers have stood for a moment. */
  #say(words) {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { if (this.heard.textContent !== words) this.heard.textContent = words; }, QUIET_MS);
  }

  #compare() {
    clearTimeout(this.comparing);
    this.comparing = setTimeout(() => this.comparison.replaceChildren(comparisonTable(this.state, this.columns(), (c) => this.drop(c), (c) => this.take(c))), 250);
  }

  async #colour() {
    const choice = this.asked.choice;
    if (this.coloured === choice) return;
    this.coloured = choice;
    try { await colour(this.node, this.source, choice); } catch { this.coloured = null; }
  }

  column() {
    const { answer, asked } = this;
    const works = answer.reading.works.map((w, k) => ({ ...w, plan: answer.plan_texts[k] }));
    return { name: "this design", fixed: true, x: { ...asked.x }, blank_mm2: answer.reading.blank_mm2, works, metrics: answer.reading.metrics, speedup: answer.speedup, design: structuredClone(asked) };
  }

  columns() { return [this.column(), ...this.pins, ...this.others]; }

  pin() {
    const name = `pin ${1 + this.pins.filter((p) => p.name.startsWith("pin")).length}`;
    this.pins.push({ ...this.column(), name, fixed: false });
    this.draw();
  }

  /** A pinned design again, or the numbers of a chip that exists, as far as the study lets them move. */
  take(column) {
    if (column.design) return this.load(column.design);
    const x = Object.fromEntries(this.state.free.map((f) => [f.name, this.controls.near(f, column.x[f.name])]));
    this.load({ ...this.design, x, blank_mm2: column.blank_mm2, plans: null });
  }

  drop(column) {
    this.pins = this.pins.filter((c) => c !== column);
    this.others = this.others.filter((c) => c !== column);
    this.draw();
  }

  /** A chip that exists, as a column. */
  async chip(name) { return { ...await this.source.get(`chip?name=${encodeURIComponent(name)}`) }; }

  async addChip(name, quiet = false) {
    if (this.others.some((c) => c.name === name)) return;
    try {
      this.others.push(await this.chip(name));
      if (this.answer) this.draw();
    } catch (error) { if (!quiet) this.trouble(error.message); }
  }

  /** The optimum under the limits as they stand; sliders follow what is found. */
  search(kind) {
    this.stop?.();
    for (const b of [this.solving, this.proving]) b.disabled = true;
    const began = performance.now();
    this.stop = this.source.search(kind, { limits: JSON.stringify(this.design.limits) }, (word) => {
      if (word.progress) this.progress.textContent = `${word.progress} (${((performance.now() - began) / 1e3).toFixed(1)} s)`;
      if (word.x) this.#reached(word);
      if (word.infeasible) this.progress.textContent = `No design meets these limits. Cheapest way out: ${word.infeasible.join("; ") || "none found"}.`;
      if (word.error) this.progress.textContent = word.error;
      if (word.done) for (const b of [this.solving, this.proving]) b.disabled = false;
    });
  }

  #reached(word) {
    this.prices = word.prices;
    this.load({ x: word.x, choice: word.choice, limits: this.design.limits, blank_mm2: 0, plans: word.plans });
    const goal = this.state.goal_is_speedup ? times(1 / word.goal, 4) : word.goal.toPrecision(4);
    this.progress.textContent = `${word.whole ? "Whole counts" : "Broken counts"}: ${goal} in ${word.spent_s.toFixed(1)} s; ${word.said}.`;
  }

  async copyLink() {
    this.#linked();
    const link = location.href;
    try { await navigator.clipboard.writeText(link); this.progress.textContent = "Link copied; it works while this explorer runs, its part behind # in any."; } catch { prompt("Link", link); }
  }

  async export(form) {
    const name = `${this.state.title}-explored`;
    try { save(form === "toml" ? `${name}.toml` : `${name}.py`, await this.source.text("export", { ...this.asked, plans: this.answer.plans, form })); } catch (error) { this.trouble(error.message); }
  }

  csv() { save(`${this.state.title}-designs.csv`, comparisonCsv(this.state, this.columns()), "text/csv"); }
}
