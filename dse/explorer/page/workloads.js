// What the chip does: sizes of every workload; of a chip that exists also phase, model and number of chips. Applied at once, all anew.
import { el } from "./text.js";

const SIZES = { training: ["batch", "sequence"], decode: ["batch", "context"], prefill: ["batch", "prompt"] };
const WORDS = { batch: "batch, sequences in all", sequence: "sequence, tokens", context: "context, tokens", prompt: "prompt, tokens", chips: "chips" };

export class Workloads {
  constructor(source, trouble) {
    Object.assign(this, { source, trouble, rows: [] });
    this.fields = el("div", {});
    this.said = el("p", { class: "note", role: "status", "aria-live": "polite" });
    this.apply = el("button", { type: "button", onclick: () => this.send() }, "Apply workloads");
    this.node = el("section", { "aria-label": "Workloads" }, el("h2", {}, "Workloads"), this.fields, el("div", { class: "row" }, this.apply), this.said);
  }

  async begin() {
    try {
      this.known = await this.source.get("workloads");
      this.#show(this.known.workloads);
    } catch (error) { this.trouble(error.message); }
  }

  #show(asked) {
    this.rows = asked.map((w, k) => this.#row(w, k));
    this.fields.replaceChildren(...this.rows.flatMap((r) => r.nodes));
  }

  #row(w, k) {
    const pair = (name, node) => el("div", { class: "pair" }, el("label", { for: node.id }, WORDS[name] ?? name), node);
    const list = (name, values) => { const made = el("select", { id: `work-${k}-${name}` }, ...values.map((v) => el("option", { value: v }, v))); made.value = w[name]; return made; };
    const number = (name, value) => el("input", { type: "text", inputmode: "numeric", id: `work-${k}-${name}`, value });
    const chips = number("chips", w.chips), sizes = Object.fromEntries(Object.entries(w.sizes).map(([n, v]) => [n, number(n, v)])), free = Boolean(this.known.phases);
    const phase = free ? list("phase", this.known.phases) : null, model = free ? list("model", [...new Set([w.model, ...this.known.models])]) : null;
    phase?.addEventListener("change", () => { // sizes of another phase begin as usual
      const first = Object.values(sizes)[1]?.value ?? 1;
      this.#show([{ ...this.#asked()[0], phase: phase.value, sizes: Object.fromEntries(SIZES[phase.value].map((n) => [n, n === "batch" ? 1 : Number(first)])) }]);
      document.getElementById(`work-${k}-phase`)?.focus();
    });
    return { w, phase, model, chips, sizes, nodes: [free ? null : el("p", { class: "note" }, `${w.model}, ${w.phase}`), phase && pair("phase", phase), model && pair("model", model),
      ...Object.entries(sizes).map(([n, node]) => pair(n, node)), pair("chips", chips)].filter(Boolean) };
  }

  #asked() {
    const whole = (node) => { const v = Number(node.value.replaceAll(",", "")); node.setAttribute("aria-invalid", String(!(Number.isInteger(v) && v > 0))); return v; };
    return this.rows.map((r) => ({ phase: r.phase?.value ?? r.w.phase, model: r.model?.value ?? r.w.model, chips: whole(r.chips), sizes: Object.fromEntries(Object.entries(r.sizes).map(([n, node]) => [n, whole(node)])) }));
  }

  /** Everything is lowered and compiled anew, which takes as long as the start; what the sliders say stays, in the address. */
  async send() {
    this.apply.disabled = true;
    this.said.textContent = "lowering every plan anew; this takes as long as the start did";
    try {
      await this.source.post("workloads", { workloads: this.#asked() });
      location.reload();
    } catch (error) {
      this.said.textContent = error.message;
      this.apply.disabled = false;
    }
  }
}
