// Sliders, fields and lists of the design at hand. Every number can be typed with its unit; sliders are logarithmic.
import { el, inUnit, parsed, refused } from "./text.js";
import { FIELDS, FIELD_WORDS } from "./link.js";

const STEPS = 1000;

export class Controls {
  /** `change(kind, when)` is called with "move" while a slider moves, since when in milliseconds of the page, and "set" once it stands. */
  constructor(state, design, change) {
    this.state = state;
    this.design = design;
    this.change = change;
    this.whole = !state.is_chip;
    this.sliders = state.free.map((f) => this.#slider(f));
    this.lists = this.#lists();
    this.limits = state.limits.map((m, i) => this.#limit(m, i));
    this.blank = this.#typed("blank", "blank silicon/die at least", "mm2", (v) => v >= 0, () => this.design.blank_mm2, (v) => { this.design.blank_mm2 = v; }, undefined, "of 0 or more");
  }

  /** Values of a stepped number that can be built on the dies of the present choice. */
  steps(name) {
    const n = this.state.choices[this.design.choice].n_dies;
    return this.whole ? this.state.steps[n]?.[name] : undefined;
  }

  /** The value nearest to `value` that can be had. */
  near(f, value) {
    const steps = this.steps(f.name);
    const held = Math.min(Math.max(value, f.low), f.high);
    return steps?.length ? steps.reduce((a, b) => (Math.abs(Math.log(b / held)) < Math.abs(Math.log(a / held)) ? b : a)) : held;
  }

  #slider(f) {
    const id = `free-${f.name}`;
    const range = el("input", { type: "range", id, min: 0, max: STEPS, step: 1, "aria-label": `${f.label}, slider` });
    const field = el("input", { type: "text", "aria-label": `${f.label}, value`, inputmode: "text", "aria-describedby": `${id}-said` });
    const said = el("p", { class: "note typed", id: `${id}-said`, "aria-live": "polite" });
    range.addEventListener("input", (e) => { said.textContent = ""; this.design.x[f.name] = this.#at(f, Number(range.value)); this.show(f, range); this.change("move", e.timeStamp); });
    range.addEventListener("change", () => this.change("set"));
    field.addEventListener("change", () => {
      const value = parsed(field.value, f.unit, this.design.x[f.name]);
      field.setAttribute("aria-invalid", String(!(value > 0)));
      said.textContent = value > 0 ? this.#instead(f, value) : refused(field.value, f.unit);
      if (value > 0) { this.design.x[f.name] = this.near(f, value); this.change("move"); this.change("set"); }
      this.show(f);
    });
    return { f, range, field, node: el("div", { class: "slider" }, el("label", { for: id }, f.label), field, range, said) };
  }

  /** What is taken instead of `value`, and why; nothing where it can be had. */
  #instead(f, value) {
    const taken = this.near(f, value), shown = (v) => inUnit(v, f.unit, 4);
    if (shown(taken) === shown(value)) return "";
    if (value < f.low || value > f.high) return `Held to ${shown(taken)}: it may be ${shown(f.low)} to ${shown(f.high)}.`;
    return `${shown(taken)} is the nearest that can be built.`;
  }

  #at(f, position) {
    const steps = this.steps(f.name);
    return steps?.length ? steps[Math.min(position, steps.length - 1)] : f.low * (f.high / f.low) ** (position / STEPS);
  }

  show(f, but = null) {
    const { range, field } = this.sliders.find((s) => s.f === f);
    const value = this.design.x[f.name], steps = this.steps(f.name);
    range.max = steps?.length ? steps.length - 1 : STEPS;
    if (range !== but) {
      const place = steps?.length ? steps.indexOf(this.near(f, value)) : STEPS * Math.log(value / f.low) / Math.log(f.high / f.low);
      range.value = Math.min(Math.max(place, 0), Number(range.max));
    }
    field.value = inUnit(value, f.unit, 4);
    range.setAttribute("aria-valuetext", field.value);
  }

  #lists() {
    const varying = FIELDS.filter((name) => new Set(this.state.choices.map((c) => String(c[name]))).size > 1);
    return varying.map((name) => {
      const values = [...new Set(this.state.choices.map((c) => c[name]))];
      const list = el("select", { id: `choice-${name}` }, ...values.map((v) => el("option", { value: String(v) }, choiceText(name, v))));
      list.addEventListener("change", () => {
        const wanted = { ...this.state.choices[this.design.choice], [name]: values[list.selectedIndex] };
        const alike = this.state.choices.map((c) => (c[name] === wanted[name] ? FIELDS.filter((k) => c[k] === wanted[k]).length : -1));
        this.design.choice = alike.indexOf(Math.max(...alike)); // a system brings its links: the nearest choice that has it
        for (const s of this.sliders) if (this.steps(s.f.name)) this.design.x[s.f.name] = this.near(s.f, this.design.x[s.f.name]);
        this.showAll();
        this.change("move");
        this.change("set");
      });
      return { name, values, list, node: el("div", { class: "pair" }, el("label", { for: `choice-${name}` }, FIELD_WORDS[name]), list) };
    });
  }

  #limit(m, i) {
    const words = `${m.label} ${m.sense === "at_most" ? "≤" : "≥"}`;
    return this.#typed(`limit-${i}`, words, m.unit, (v) => v > 0, () => this.design.limits[i], (v) => { this.design.limits[i] = v; }, `limit of ${m.label}`);
  }

  /** A number without a slider: its words, what may be typed, where it stands. */
  #typed(id, words, unit, may, read, write, name = words, least = undefined) {
    const said = el("p", { class: "note typed", id: `${id}-said`, "aria-live": "polite" });
    const field = el("input", { type: "text", id, "aria-label": name, "aria-describedby": said.id }), show = () => { field.value = inUnit(read(), unit, 4); };
    field.addEventListener("change", () => {
      const value = parsed(field.value, unit, read());
      field.setAttribute("aria-invalid", String(!may(value)));
      said.textContent = may(value) ? "" : refused(field.value, unit, least);
      if (may(value)) { write(value); this.change("move"); this.change("set"); }
      show();
    });
    return { show, node: el("div", { class: "pair" }, el("label", { for: id }, words), field, said) };
  }

  showAll() {
    for (const s of this.sliders) this.show(s.f);
    const choice = this.state.choices[this.design.choice];
    for (const l of this.lists) l.list.selectedIndex = l.values.indexOf(choice[l.name]);
    for (const typed of [this.blank, ...this.limits]) typed.show();
  }
}

export function choiceText(name, value) {
  if (name === "native_fp4") return value ? "yes" : "no";
  if (name === "stack_capacity_B") return value ? inUnit(value, "B") : "largest";
  if (name === "reticle_mm2") return value ? inUnit(value, "mm2") : "as the package's";
  if (name === "scaleout_Bps") return value ? inUnit(value, "Bps") : "as baseline";
  if (name === "fp8_rate") return value ? String(value) : "as baseline";
  if (name === "matrix_instruction") return value || "as baseline";
  return String(value);
}
