"""Dated forecast of an unreleased chip, as a distribution that published facts can score later.

Every draw is one scenario of receipts, budgets, cooling and announced ratios, with a certified optimum, to whose
numbers the error of the back-tests is added. Read more: [gneiting2007].
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from ..core.counts import check_count
from ..core.errors import SpecError
from ..core.files import MOST_WHOLE, read_toml
from ..core.provenance import Sourced, read_receipts
from ..core.shipped import check_kind
from ..core.text import spelled
from ..evaluation.host import evaluated
from ..hardware.chip import peak_FLOPps
from ..optimize.batch import in_batches
from ..optimize.deadline import Deadline
from ..optimize.search import Candidate, Search, search_of, with_design
from ..optimize.space import Space, space_of
from ..physics.evaluate import chip_technology, silicon
from ..physics.money import total_USD
from ..study.convex import model_of
from ..study.metrics import LOADS
from ..study.study import load_study
from .assumed import BUDGETS, SUPPLY, Assumptions, Worlds, worlds
from .reading_limits import limits_of, opened
from .readings import every_problem, solve_problems, solved_quantities
from .samples import CHUNK, MOST_DRAWS, Samples, solve_in_turn
from .score import WORDS
from .unknowns import Draw, draw, unknowns

CANDIDATES = 2
"""Choices and plans, the best few of every supply under every reading, that compete in every draw."""
SMALL = 1e-9
"""Rounding of shares."""


def load_forecast(path: Path) -> Assumptions:
    """A forecast file: its study and what is drawn beside it; SpecError for a fact or table missing or wrong."""
    check_kind(read_toml(path), "forecast", path)
    facts = read_receipts(path)
    try:
        study = load_study(study_path(path))
        budgets = {b: facts["budgets"][b] for b in BUDGETS}
        tables = {what: facts[what] for what in ("readings", "taste", *SUPPLY)}
        built, room = facts["announcement"]["built_frac"], facts["announcement"]["room"]
    except KeyError as error:
        raise SpecError(f"{path}: {error} is missing; sweeps/forecast_trainium4.toml shows every key") from None
    for fact in (*budgets.values(), room):
        if not fact.low > 0.0:
            raise SpecError(f"{path}: {fact.name} must be above zero, and its range too")
    readings = {n.removesuffix("_frac"): _amount(f, path) for n, f in tables["readings"].items()}
    taste = {n.removeprefix("log_").removesuffix("_frac"): _amount(f, path) for n, f in tables["taste"].items()}
    supply = {what: {n: _amount(f, path) for n, f in tables[what].items()} for what in SUPPLY}
    offered = {what: {getattr(c, what) for c in study.choices} for what in SUPPLY}
    for what, shares, known in (("readings", readings, set(LOADS)), *((w, supply[w], offered[w]) for w in SUPPLY)):
        if not set(shares) <= known or abs(sum(shares.values()) - 1.0) > SMALL:
            allowed = ", ".join(sorted(known))
            raise SpecError(f"{path}: {what} {spelled(shares)}: give shares of {allowed} that add up to 1")
    tdp_W = float(budgets["tdp_W"].value)
    return Assumptions(opened(study, tdp_W), budgets, readings, _amount(built, path), room, supply, taste)


def _amount(fact: Sourced, path: Path) -> float:
    """The number of a share or a spread; SpecError for a text or less than zero."""
    if isinstance(fact.value, str) or fact.value < 0.0:
        raise SpecError(f"{path}: {fact.name} = {spelled(fact.value)}; give a number of at least zero")
    return float(fact.value)


def study_path(path: Path) -> Path:
    """The study that a forecast file names, beside it."""
    try:
        return path.parent / read_toml(path)["forecast"]["study"]
    except (KeyError, TypeError):
        raise SpecError(f"{path}: names no study; sweeps/forecast_trainium4.toml shows every key") from None


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A distribution of chips."""

    assumptions: Assumptions
    seed: int
    numbers: dict[str, Float[np.ndarray, " n"]]
    """Each quantity in every draw that has a design."""
    words: dict[str, tuple[str, ...]]
    """Each discrete choice in every draw that has a design."""
    n: int
    """Draws, those without a design included."""
    unfinished: tuple[str, ...] = ()
    """What was left out because time was up, in words; draws among it are not among `n`."""

    def quantiles(self, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> dict[str, list[float]]:
        """Quantiles of every quantity."""
        return {name: np.quantile(x, levels).tolist() for name, x in self.numbers.items()}

    def shares(self) -> dict[str, dict[str, float]]:
        """Probability of every discrete choice."""
        return {
            name: {w: words.count(w) / len(words) for w in sorted(set(words), key=words.count, reverse=True)}
            for name, words in self.words.items()
        }


def forecast(
    a: Assumptions, n: int, seed: int, progress: Callable[[str], None] = lambda _: None,
    deadline: Deadline | None = None,
) -> Forecast:  # fmt: skip
    """The chips that `n` draws of the unknowns lead to; SpecError below ten draws or without any design."""
    check_count("draws", n, 10, MOST_DRAWS)
    check_count("seed", seed, 0, MOST_WHOLE)
    search = search_of(space_of(a.study), progress, deadline=deadline or Deadline())
    kept = _candidates(search, a)
    # the exponent of the overlap stays: its range is that of one fit, rounded to powers of two
    what = tuple(u for u in unknowns(a.study) if u.fact != "overlap_p")
    drawn, assumed = draw(what, n, seed), worlds(a, n, seed)
    progress(f"{n} draws under {len(kept)} choices")
    logs, found = _answers(search, kept, drawn, assumed)
    best = np.argmin(logs, axis=0)
    able = np.flatnonzero(np.isfinite(logs[best, np.arange(len(best))]))
    if not len(able):
        raise SpecError(f"study '{a.study.name}': no draw has a design")
    # a share of worlds without a design is told by `n`; a quantile over them would need numbers that do not exist
    numbers = {name: x[best[able], able] for name, x in found.items()} | {"tdp_W": assumed.tdp_W[able]}
    rng = np.random.default_rng(seed + 1)  # the draws of the facts have used `seed` itself
    for name, spread in a.taste.items():
        if name in numbers:
            # a maker's taste is no error of the model: it spreads what is built around what is best
            numbers[name] = numbers[name] * np.exp(spread * ndtri(rng.random(len(able))))
    chosen = [a.study.choices[kept[k].choice_index] for k in best[able]]
    words = {what: tuple(str(getattr(c, what)) for c in chosen) for what in WORDS}
    words |= {"tdp_reading": tuple(assumed.reading[i] for i in able)}
    return Forecast(a, seed, numbers, words, len(best), tuple(search.deadline.undone))


def _candidates(search: Search, a: Assumptions) -> list[Candidate]:
    """The best plans and choices for every supply under every reading, budgets at their likeliest values."""
    found: dict[tuple[int, tuple[int, ...]], Candidate] = {}
    for reading in a.readings:
        if found and search.deadline.over(f"choices that do best under {reading}"):
            break
        # at the likeliest budget: every draw then re-optimises the numbers, and only choice and plan are kept from here
        limits = limits_of(a.study, reading, float(a.budgets["tdp_W"].value))
        answers = (x.candidate for x in solve_problems(search, every_problem(search.space, limits)))
        taken: Counter[tuple[str, ...]] = Counter()
        for c in with_design(answers):
            supply = tuple(getattr(a.study.choices[c.choice_index], what) for what in SUPPLY)
            taken[supply] += 1
            if taken[supply] <= CANDIDATES:
                found[c.choice_index, c.plan_index] = c
    if not found:
        raise SpecError(f"study '{a.study.name}' has no design at the receipts' values; see dse optimize")
    return list(found.values())


def _answers(
    search: Search, kept: list[Candidate], drawn: Draw, assumed: Worlds
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Log goal of every candidate in every draw (infinite where supply has another choice), and its quantities."""
    logs, found = np.full((len(kept), drawn.n), np.inf), {}
    samples = Samples(search, drawn)
    parts, places = [], []
    for i, c in enumerate(kept):
        # only draws that offer this choice are solved: most supplies rule out most candidates
        rows = assumed.rows(search.space.study.choices[c.choice_index])
        data = dataclasses.replace(samples.data(c.choice_index, c.plan_index), limits=assumed.limits)
        parts.append(jax.tree.map(lambda x, r=rows: np.asarray(x)[r], (data, *samples.box(c.choice_index))))
        places += [(i, r) for r in rows]
    draws = np.asarray([r for _, r in places])
    order = np.argsort(draws, kind="stable")  # as in `solve_all_draws`: all of one draw before the next
    every = jax.tree.map(lambda *xs: np.concatenate(xs)[order], *parts)
    o, n = solve_in_turn(model_of(search.core), (draws[order], *every), drawn.n, search.deadline, search.progress)
    done = int(np.searchsorted(draws[order], n))
    o, data = jax.tree.map(lambda x: x[:done], (o, every[0]))
    values = in_batches(partial(solved_quantities, search.core), (o.z, data), CHUNK)
    # a choice that supply does not offer in a draw keeps its infinity, and so cannot win there
    logs, where = logs[:, :n], tuple(np.asarray(places)[order[:done]].T)
    logs[where] = np.where(o.feasible, o.objective, np.inf)
    for name, x in (values | against(search.space, values)).items():
        found[name] = np.zeros(logs.shape)
        found[name][where] = x
    return logs, found


def against(space: Space, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tokens per watt and per dollar of package over the baseline's, and the FP4 peak over its own, if it has any."""
    base = space.study.baseline.chip
    tech = chip_technology(base)
    cost = float(total_USD(silicon(base, tech).money))
    own_FLOPps = float(peak_FLOPps(base, "fp4"))
    found = {"peak_fp4_ratio": values["peak_fp4_FLOPps"] / own_FLOPps} if own_FLOPps > 0 else {}
    for name, own, c in zip(space.study.workloads, space.ground.own, space.ground.calibrations, strict=True):
        # announcements compare chips as they run: mean power of a step, not the TDP
        burnt = float(evaluated(own, base, tech, c).power_W)
        faster = values[f"speedup:{name}"]
        found[f"tokens_per_MW_ratio:{name}"] = faster * burnt / values[f"power_W:{name}"]
        found[f"tokens_per_USD_ratio:{name}"] = faster * cost / values["package_cost_USD"]
    return found
