// Designs beneath a front: between its points and around them, those that keep every limit. Dominated, so that one sees by how much.
import { limitRows, stateOfRoom } from "./tables.js";

const TRIES = 320, SPREAD = 0.18, OTHER = 0.35, AT_ONCE = 80;

/** Numbers from 0 to 1, the same every time: a figure does not change when it is drawn again. */
function dice(seed) {
  return () => { // mulberry32
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Tries around a front: between two of its points in proportion, each number a little off, some with another choice. */
export function tries(state, points, near) {
  const random = dice(1), pick = (list) => list[Math.floor(random() * list.length)], limits = state.limits.map((m) => m.value);
  return Array.from({ length: TRIES }, () => {
    const [a, b] = [pick(points), pick(points)], t = random(), off = () => Math.exp(SPREAD * (random() + random() + random() - 1.5) * 2);
    const choice = random() < OTHER ? Math.floor(random() * state.choices.length) : a.choice;
    const x = Object.fromEntries(state.free.map((f) => [f.name, near(f, a.x[f.name] ** (1 - t) * b.x[f.name] ** t * off(), choice)]));
    return { x, choice, limits, plans: null };
  });
}

/** Those of some designs that keep every limit and fit, with their metrics; `tell` hears how many are done. */
export async function kept(source, state, designs, tell) {
  const found = [];
  for (let i = 0; i < designs.length; i += AT_ONCE) {
    tell(i);
    const some = designs.slice(i, i + AT_ONCE), answers = await source.evaluateAll(some);
    answers.forEach((answer, k) => {
      const whole = answer.fits.every(Boolean) && limitRows(state, some[k], answer, null).every((r) => stateOfRoom(r.room) !== "broken");
      if (whole) found.push({ ...some[k], metrics: answer.reading.metrics });
    });
  }
  return found;
}
