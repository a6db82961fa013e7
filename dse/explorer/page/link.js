// A link carries only what differs from where a study begins by itself; what it says is checked like anything typed.
const FIELDS = ["node", "hbm", "link", "n_dies", "pe_array", "native_fp4", "spare_cores", "fp8_rate", "stack_capacity_B", "reticle_mm2", "system", "scaleout_Bps", "matrix_instruction"];

export function linkOf(state, design) {
  const said = new URLSearchParams();
  for (const f of state.free) if (design.x[f.name] !== state.start.x[f.name]) said.set(f.name, String(design.x[f.name]));
  const [mine, first] = [state.choices[design.choice], state.choices[state.start.choice]];
  for (const f of FIELDS) if (mine[f] !== first[f]) said.set(f, String(mine[f]));
  state.limits.forEach((m, i) => { if (design.limits[i] !== m.value) said.set(`limit.${i}`, String(design.limits[i])); });
  if (design.blank_mm2 !== state.start.blank_mm2) said.set("blank_mm2", String(design.blank_mm2));
  if (design.plans) said.set("plans", design.plans.join("."));
  (state.asked_works?.workloads ?? []).forEach((w, k) => {
    const first = state.asked_works.first[k];
    for (const [name, value] of Object.entries(flat(w))) if (flat(first)[name] !== value) said.set(`work.${k}.${name}`, String(value));
  });
  return said.toString();
}

const flat = ({ phase, model, chips, sizes }) => ({ phase, model, chips, ...sizes });

/** The workloads that a link asks for, where they are not those of the session; null where they are, or it has none. */
export function worksOf({ workloads, first, sizes }, text) {
  const said = new URLSearchParams(text.replace(/^#/, ""));
  if (![...said.keys()].length) return null; // a bare address takes the session as it is
  const wanted = first.map((w, k) => {
    const part = (name, usual) => said.get(`work.${k}.${name}`) ?? usual, phase = part("phase", w.phase);
    const whole = (name, usual) => { const v = Number(part(name, usual)); return Number.isInteger(v) && v > 0 ? v : usual; };
    const named = phase === w.phase ? Object.keys(w.sizes) : (sizes[phase] ?? []).map((s) => s.name);
    return { phase, model: part("model", w.model), chips: whole("chips", w.chips), sizes: Object.fromEntries(named.map((n) => [n, whole(n, w.sizes[n] ?? 1)])) };
  });
  const order = (list) => JSON.stringify(list.map((w) => Object.entries(flat(w)).sort()));
  return order(wanted) === order(workloads) ? null : wanted;
}

/** The design that a link describes; null for a link without one. Unknown or impossible parts are left as they begin. */
export function designOf(state, text) {
  const said = new URLSearchParams(text.replace(/^#/, ""));
  if (![...said.keys()].some((k) => !k.startsWith("work."))) return null;
  const design = startOf(state);
  for (const f of state.free) {
    const v = Number(said.get(f.name) ?? NaN);
    if (v > 0 && Number.isFinite(v)) design.x[f.name] = Math.min(Math.max(v, f.low), f.high);
  }
  const wanted = { ...state.choices[design.choice] };
  for (const f of FIELDS) if (said.has(f)) wanted[f] = said.get(f);
  const at = state.choices.findIndex((c) => FIELDS.every((f) => String(c[f]) === String(wanted[f])));
  if (at >= 0) design.choice = at;
  state.limits.forEach((m, i) => {
    const v = Number(said.get(`limit.${i}`) ?? NaN);
    if (v > 0 && Number.isFinite(v)) design.limits[i] = v;
  });
  const blank = Number(said.get("blank_mm2") || NaN);
  if (blank >= 0 && Number.isFinite(blank)) design.blank_mm2 = blank;
  const plans = (said.get("plans") ?? "").split(".").map(Number);
  if (said.has("plans") && plans.length === state.workloads.length && plans.every((p) => Number.isInteger(p) && p >= 0)) design.plans = plans;
  return design;
}

export function startOf(state) {
  return { x: { ...state.start.x }, choice: state.start.choice, limits: state.limits.map((m) => m.value), blank_mm2: state.start.blank_mm2, plans: null };
}

export const FIELD_WORDS = { node: "node", hbm: "HBM", link: "links", n_dies: "compute dies", pe_array: "PE array", native_fp4: "native FP4",
  spare_cores: "spare cores/die", fp8_rate: "FP8 rate", stack_capacity_B: "stack", reticle_mm2: "reticle", system: "system", scaleout_Bps: "network", matrix_instruction: "matrix instruction" };
export { FIELDS };

/** A choice in one line, as tables of `dse` have it: no word for what is left as the baseline has it. */
export const choiceWords = (c) => [`${c.n_dies} x ${c.node}`, c.pe_array, c.matrix_instruction && `instruction ${c.matrix_instruction}`, c.hbm, c.link,
  c.fp8_rate && `FP8 at ${c.fp8_rate}x BF16`, c.native_fp4 ? "native FP4" : "FP4 at FP8 rate"].filter(Boolean).join(", ");
