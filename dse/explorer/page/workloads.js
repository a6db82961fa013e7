// What the chip does: sizes of every workload; of a chip that exists also phase, model and number of chips. Applied at once, all anew.
import { el } from "./text.js";

export class Workloads {
  /** `address(works)` writes the link that asks for other workloads. */
  constructor(source, state, address) {
    Object.assign(this, { source, address, known: state.asked_works, rows: [] });
    this.words = Object.fromEntries(Object.values(this.known.sizes).flat().map((s) => [s.name, s.label]));
    this.fields = el("div", {});
    this.said = el("p", { class: "note", role: "status", "aria-live": "polite" });
    this.apply = el("button", { type: "button", onclick: () => this.send() }, "Apply workloads");
    this.node = el("section", { "aria-label": "Workloads" }, el("h2", {}, "Workloads"), this.fields, el("div", { class: "row" }, this.apply), this.said);
    this.#show(this.known.workloads);
  }

  #show(asked) {
    this.rows = asked.map((w, k) => this.#row(w, k));
    this.fields.replaceChildren(...this.rows.map((r) => el("div", { role: "group", "aria-label": `${r.w.model}, ${r.w.phase}` }, ...r.nodes)));
  }

  #row(w, k) {
    const pair = (name, node) => el("div", { class: "pair" }, el("label", { for: node.id }, this.words[name] ?? name), node);
    const list = (name, values) => { const made = el("select", { id: `work-${k}-${name}` }, ...values.map((v) => el("option", { value: v }, v))); made.value = w[name]; return made; };
    const number = (name, value) => el("input", { type: "text", inputmode: "numeric", id: `work-${k}-${name}`, value });
    const chips = number("chips", w.chips), sizes = Object.fromEntries(Object.entries(w.sizes).map(([n, v]) => [n, number(n, v)])), free = Boolean(this.known.phases);
    const phase = free ? list("phase", this.known.phases) : null, model = free ? list("model", [...new Set([w.model, ...this.known.models])]) : null;
    phase?.addEventListener("change", () => { // which size carries over and what others start at, Python says
      const kept = this.known.sizes[w.phase]?.find((s) => s.carries_over), carried = sizes[kept?.name]?.value;
      this.#show([{ ...this.#asked()[0], phase: phase.value, sizes: Object.fromEntries(this.known.sizes[phase.value].map((s) => [s.name, s.carries_over && carried !== undefined ? Number(carried) : s.start])) }]);
      document.getElementById(`work-${k}-phase`)?.focus();
    });
    return { w, phase, model, chips, sizes, nodes: [free ? null : el("p", { class: "note" }, `${w.model}, ${w.phase}`), phase && pair("phase", phase), model && pair("model", model),
      ...Object.entries(sizes).map(([n, node]) => pair(n, node)), pair("chips", chips)].filter(Boolean) };
  }

  #asked() {
    const whole = (node) => { const v = Number(node.value.replaceAll(",", "")); node.setAttribute("aria-invalid", String(!(Number.isInteger(v) && v > 0))); return v; };
    return this.rows.map((r) => ({ phase: r.phase?.value ?? r.w.phase, model: r.model?.value ?? r.w.model, chips: whole(r.chips), sizes: Object.fromEntries(Object.entries(r.sizes).map(([n, node]) => [n, whole(node)])) }));
  }

  /** Everything is lowered and compiled anew, which takes as long as the start. */
  async send() {
    this.apply.disabled = true;
    this.said.textContent = "lowering every plan anew; this takes as long as the start did";
    try {
      const asked = this.#asked();
      await this.source.post("workloads", { workloads: asked });
      this.address(asked); // what the sliders say stays, and a link says what was asked
      location.reload();
    } catch (error) {
      this.said.textContent = error.message;
      this.apply.disabled = false;
    }
  }
}
