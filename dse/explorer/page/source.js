// Where answers come from: the process behind the page, or the model that an offline page holds itself.
export class Server {
  async get(path) { return this.#answer(await fetch(path, { credentials: "omit" })); }

  async post(path, body) {
    return this.#answer(await fetch(path, { method: "POST", body: JSON.stringify(body), credentials: "omit" }));
  }

  async text(path, body) {
    const got = await fetch(path, { method: "POST", body: JSON.stringify(body), credentials: "omit" });
    if (!got.ok) throw new Error((await got.json()).error);
    return got.text();
  }

  async #answer(got) {
    const kind = got.headers.get("content-type") ?? "";
    const found = kind.includes("json") ? await got.json() : { error: (await got.text()).trim() };
    if (!got.ok) throw new Error(found.error ?? `refused (${got.status})`);
    return found;
  }

  state() { return this.get("state"); }
  evaluate(ask) { return this.post("evaluate", ask); }

  /** Many designs by their fastest plans, in their order. */
  async evaluateAll(designs) { return (await this.post("designs", { designs })).answers; }

  /** Words of a search as they come; returns what stops it. */
  search(kind, query, hear) {
    const words = new EventSource(`search/${kind}?${new URLSearchParams(query)}`);
    words.onmessage = (event) => {
      const word = JSON.parse(event.data);
      if (word.done) words.close();
      hear(word);
    };
    words.onerror = () => { words.close(); hear({ done: true, error: "the search was refused, replaced or the explorer has ended" }); };
    return () => words.close();
  }
}

/** A page without a process: the formulas of the model, its coefficients by choice, and what was known when it was written. */
export class Offline {
  constructor(held, model) {
    this.facts = held.receipts;
    this.held = { ...held, ...Object.fromEntries(["chips", "fronts", "risks", "servings", "truth"].map((name) => [name, this.#unfolded(held[name])])) };
    this.model = model;
    this.alone = true;
  }

  async state() { return this.held.state; }

  async get(path) {
    const [name, query] = path.split("?"), said = new URLSearchParams(query);
    const found = name === "receipts" ? this.#receipts(Number(said.get("choice"))) : name === "chip" ? this.held.chips[said.get("name")] : this.held[name];
    if (found === undefined) throw new Error("not in this offline page; run dse explore");
    return found;
  }

  #receipts(choice) { return this.#unfolded(this.facts.sets[this.facts.choices[choice]] ?? { topic_places: {} }); }

  /** Plain data with its facts in it: the file has each once, and their places where they are meant. */
  #unfolded(found) {
    if (Array.isArray(found)) return found.map((v) => this.#unfolded(v));
    if (found === null || typeof found !== "object") return found;
    const { rows, works } = this.facts, at = (places) => places.map((i) => rows[i]);
    if (found.places) return { rows: at(found.places), works };
    if (found.topic_places) return { topics: Object.fromEntries(Object.entries(found.topic_places).map(([t, places]) => [t, at(places)])), works };
    return Object.fromEntries(Object.entries(found).map(([k, v]) => [k, this.#unfolded(v)]));
  }

  /** Numbers of a row, from the groups that it shares with others; what is not finite stands as null. */
  #numbers(row) {
    const found = [];
    this.held.groups.forEach(({ at, values }, g) => at.forEach((place, i) => { found[place] = values[row.of_group[g]][i] ?? Infinity; }));
    return found;
  }

  /** The row of a choice under the plans that were asked for, where the page has them; else under those it is best with. */
  #row({ choice, plans }) {
    const { rows } = this.held, words = plans?.join();
    return (words && rows.find((r) => r.choice === choice && r.plans.join() === words)) || rows[choice];
  }

  async evaluate(ask) {
    const began = performance.now(), held = this.held, row = this.#row(ask);
    const x = Float64Array.from([...held.names.map((n) => ask.x[n]), ...ask.limits, ask.blank_mm2, ...this.#numbers(row)]);
    const reading = nested(held.places, this.model(x));
    const speedups = reading.works.map((w) => w.speedup_frac);
    const fits = held.state.technology.map(({ label }, i) => [label, reading.ratios[i]]).filter(([name]) => name.startsWith("memory"));
    return { reading, fits: reading.works.map((_, k) => (fits[k]?.[1] ?? 0) <= 1 + 1e-9), speedup: meanSpeedup(held, speedups), plans: row.plans,
      ...held.operators[row.of], ms: performance.now() - began };
  }

  evaluateAll(designs) { return Promise.all(designs.map((d) => this.evaluate(d))); }
}

/** As `mean_speedup`: the fleet's where models are in service, else the geometric mean, as the study weighs its workloads. */
export function meanSpeedup(held, each) {
  if (!each.length || each.some((s) => !(s > 0))) return null;
  if (held.state.goal === "served_time") return 1 / each.reduce((a, s, i) => a + held.traffic[i] / s, 0);
  return Math.exp(each.reduce((a, s, i) => a + (held.state.shares[i] ?? 1 / each.length) * Math.log(s), 0));
}

/** The tree of numbers in one vector, by the places that Python counted. */
export function nested(places, numbers) {
  const root = {};
  let at = 0;
  for (const [path, size, single] of places) {
    const values = Array.from(numbers.subarray(at, at + size), (v) => (Number.isFinite(v) ? v : null));
    at += size;
    let inside = root;
    path.slice(0, -1).forEach((step, i) => { inside = inside[step] ??= typeof path[i + 1] === "number" ? [] : {}; });
    inside[path.at(-1)] = single ? values[0] : values;
  }
  return root;
}
