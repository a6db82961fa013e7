// Designs beneath a front, those that keep every limit: dominated, so that one sees by how much.
import { limitRows, stateOfRoom } from "./tables.js";

const WALKERS = 32, ROUNDS = 12, STEP = 0.3, OTHER = 0.15;

/** Numbers from 0 to 1, the same every time: a figure does not change when it is drawn again. */
function dice(seed) {
  return () => { // mulberry32
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Designs that keep every limit, by walks that begin at the points of a front and never leave the limits; `tell` hears how far they are.
 *
 * Most limits bind at a front, so that a design a little off in every number keeps them hardly ever: a step changes one number, or the choice. */
export async function beneath(source, state, points, tell) {
  const random = dice(1), limits = state.limits.map((m) => m.value), found = [];
  const here = Array.from({ length: WALKERS }, (_, k) => { const p = points[Math.floor(k * points.length / WALKERS)]; return { x: { ...p.x }, choice: p.choice, limits, blank_mm2: p.blank_mm2, plans: p.plans }; });
  for (let round = 0; round < ROUNDS; round++) {
    tell(round, ROUNDS);
    const tries = here.map((design) => step(state, design, random)), answers = await source.evaluateAll(tries);
    answers.forEach((answer, k) => {
      const whole = answer.fits.every(Boolean) && limitRows(state, tries[k], answer, null).every((r) => stateOfRoom(r.room) !== "broken");
      if (whole) { here[k] = tries[k]; found.push({ ...tries[k], metrics: answer.reading.metrics }); }
    });
  }
  return found;
}

function step(state, design, random) {
  if (random() < OTHER) return { ...design, choice: Math.floor(random() * state.choices.length), plans: null };
  const f = state.free[Math.floor(random() * state.free.length)], value = design.x[f.name] * Math.exp(STEP * (2 * random() - 1));
  return { ...design, x: { ...design.x, [f.name]: Math.min(Math.max(value, f.low), f.high) } };
}
