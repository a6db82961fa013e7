"""A dated forecast: what a chip will be that nobody has seen, as a distribution that facts can score later.

Every draw is one world: the receipts with their ranges, what the package is cooled for and how that is read, budgets,
and whether the announced ratios are what is built or only its least. Each is answered by a certified optimum; since
designers are no optimisers, each number of the answer then strays as far as back-tests do. Read more: [gneiting2007].
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from ..core.errors import SpecError
from ..core.provenance import Sourced, read_receipts
from ..hardware.chip import peak_FLOPps
from ..optimize.batch import in_batches, solve_batch
from ..optimize.search import Candidate, Search
from ..optimize.space import Space
from ..physics.evaluate import chip_technology, evaluate_demand, silicon
from ..physics.money import total_USD
from ..study.metrics import LOADS
from ..study.study import Study, load_study
from .readings import ANNOUNCED, OPEN, every_problem, limits_of, opened, solve_problems, solved_quantities
from .risk import SETTINGS, strata
from .samples import CHUNK
from .unknowns import Draw, at_score, draw, unknowns

CANDIDATES = 4
"""Choices and plans, the best few under every reading, that compete in every draw."""
WORDS = ("node", "hbm", "link", "n_dies", "pe_array")
"""Discrete choices that are forecast."""
BUDGETS = ("tdp_W", "silicon_mm2", "package_cost_USD")
"""What the maker spends, drawn: power by one of the readings, area and dollars."""


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What a forecast draws beyond the receipts of its study."""

    study: Study
    """The question, with a limit for every reading of the TDP and a cap on every announced ratio."""
    budgets: dict[str, Sourced]
    """Ranges of `BUDGETS`."""
    readings: dict[str, float]
    """Share of the worlds in which the TDP binds a reading of `LOADS` and all milder ones."""
    built_frac: float
    """Share of the worlds in which the announced ratios are what is built."""
    room: Sourced
    """Built over announced in those worlds."""
    taste: dict[str, float]
    """Spread of built over proposed, as the standard deviation of its log, by quantity; 0 where none is named."""


def load_forecast(path: Path) -> Assumptions:
    """A forecast file: its study and the receipts of what is drawn beside it.

    Raises:
        SpecError: a missing table or fact, shares that do not add up to 1, a reading that does not exist.
    """
    facts = read_receipts(path)
    try:
        study = load_study(study_path(path))
        budgets = {b: facts["budgets"][b] for b in BUDGETS}
        readings = {n.removesuffix("_frac"): float(f.value) for n, f in facts["readings"].items()}
        built, room = float(facts["announcement"]["built_frac"].value), facts["announcement"]["room"]
        taste = {n.removeprefix("log_").removesuffix("_frac"): float(f.value) for n, f in facts["taste"].items()}
    except KeyError as error:
        raise SpecError(f"{path}: {error} is missing; sweeps/forecast_trainium4.toml shows every key") from None
    wrong = [r for r in readings if r not in LOADS]
    if wrong or abs(sum(readings.values()) - 1.0) > 1e-9:
        raise SpecError(f"{path}: readings {readings}: give shares of {', '.join(LOADS)} that add up to 1")
    return Assumptions(opened(study, float(budgets["tdp_W"].value)), budgets, readings, built, room, taste)


def study_path(path: Path) -> Path:
    """The study that a forecast file names, beside it."""
    try:
        return path.parent / tomllib.loads(path.read_text(encoding="utf-8"))["forecast"]["study"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise SpecError(f"{path}: names no study ({error}); sweeps/forecast_trainium4.toml shows every key") from None


@dataclasses.dataclass(frozen=True)
class Worlds:
    """What each draw assumes beside the receipts."""

    limits: Float[np.ndarray, "n k"]
    """Value of every limit of the study."""
    reading: tuple[str, ...]
    """Reading of the TDP."""
    tdp_W: Float[np.ndarray, " n"]
    """What the package is cooled for."""


def worlds(a: Assumptions, n: int, seed: int) -> Worlds:
    """`n` draws of budgets, readings and what the announcement means; same seed, same draws."""
    rng = np.random.default_rng(seed)
    cells = (rng.permuted(np.tile(np.arange(n)[:, None], (1, 6)), axis=0) + rng.random((n, 6))) / n
    spent = {b: at_score(a.budgets[b], cells[:, i]) for i, b in enumerate(BUDGETS)}
    edges = np.cumsum(list(a.readings.values()))
    names = list(a.readings)
    reading = tuple(names[min(int(np.searchsorted(edges, u)), len(names) - 1)] for u in cells[:, 3])
    built, room = cells[:, 4] < a.built_frac, at_score(a.room, cells[:, 5])
    floors = {x.metric: x.value for x in a.study.limits if x.sense == "at_least"}
    columns = []
    for x in a.study.limits:
        if x.metric in LOADS:
            binds = np.asarray([LOADS.index(x.metric) <= LOADS.index(r) for r in reading])
            columns.append(np.where(binds, spent["tdp_W"], OPEN * x.value))
        elif x.sense == "at_most" and x.metric in ANNOUNCED:
            columns.append(np.where(built, room * floors.get(x.metric, x.value), x.value))
        else:
            columns.append(spent.get(x.metric, np.full(n, x.value)))
    return Worlds(np.stack(columns, axis=1), reading, spent["tdp_W"])


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A distribution of chips."""

    assumptions: Assumptions
    """What was drawn."""
    seed: int
    """Of the draws."""
    numbers: dict[str, Float[np.ndarray, " n"]]
    """Each quantity in every draw that has a design."""
    words: dict[str, tuple[str, ...]]
    """Each discrete choice in every draw that has a design."""
    n: int
    """Draws, those without a design included."""

    def quantiles(self, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> dict[str, list[float]]:
        """Quantiles of every quantity."""
        return {name: np.quantile(x, levels).tolist() for name, x in self.numbers.items()}

    def shares(self) -> dict[str, dict[str, float]]:
        """Probability of every discrete choice."""
        return {
            name: {w: words.count(w) / len(words) for w in sorted(set(words), key=words.count, reverse=True)}
            for name, words in self.words.items()
        }


def forecast(a: Assumptions, n: int, seed: int, progress: Callable[[str], None] = lambda _: None) -> Forecast:
    """The chips that `n` draws of the unknowns lead to.

    Args:
        a: what is drawn beside the study's receipts.
        n: number of draws.
        seed: same seed, same draws.
        progress: told what happens, one line at a time.

    Raises:
        SpecError: fewer than ten draws, or a study without any design.
    """
    if n < 10:
        raise SpecError(f"draws = {n}: give at least 10")
    search = Search(Space(a.study), progress)
    kept = _candidates(search, a)
    # the exponent of the overlap is part of the program: drawing it would compile one for every value
    what = tuple(u for u in unknowns(a.study) if u.fact != "overlap_p")
    drawn, assumed = draw(what, n, seed), worlds(a, n, seed)
    progress(f"{n} draws under {len(kept)} choices")
    logs, found = _answers(search, kept, drawn, assumed)
    best = np.argmin(logs, axis=0)
    able = np.flatnonzero(np.isfinite(logs[best, np.arange(n)]))
    if not len(able):
        raise SpecError(f"study '{a.study.name}': no draw has a design")
    numbers = {name: x[best[able], able] for name, x in found.items()} | {"tdp_W": assumed.tdp_W[able]}
    rng = np.random.default_rng(seed + 1)
    for name, spread in a.taste.items():
        if name in numbers:
            numbers[name] = numbers[name] * np.exp(spread * ndtri(rng.random(len(able))))
    chosen = [a.study.choices[kept[k].choice_index] for k in best[able]]
    words = {
        what: tuple(str(getattr(c, what)) for c in chosen) for what in ("node", "hbm", "link", "n_dies", "pe_array")
    }
    return Forecast(a, seed, numbers, words | {"tdp_reading": tuple(assumed.reading[i] for i in able)}, n)


def _candidates(search: Search, a: Assumptions) -> list[Candidate]:
    """The best plans of the best few choices under every reading, budgets at their likeliest values."""
    found: list[Candidate] = []
    for reading in a.readings:
        limits = limits_of(a.study, reading, float(a.budgets["tdp_W"].value))
        answers = (x.candidate for x in solve_problems(search, every_problem(search.space, limits)))
        able = sorted((c for c in answers if c.log_goal < np.inf), key=lambda c: c.log_goal)
        found += able[:CANDIDATES]
    if not found:
        raise SpecError(f"study '{a.study.name}' has no design at the receipts' values; see dse optimize")
    return list({(c.choice_index, c.plan_index): c for c in found}.values())


def _answers(
    search: Search, kept: list[Candidate], drawn: Draw, assumed: Worlds
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Log goal of every candidate in every draw, shape (candidates, n), and its quantities in the same shape."""
    logs, found = np.full((len(kept), drawn.n), np.inf), {}
    for rows, samples in strata(search, drawn):
        for i, c in enumerate(kept):
            data = dataclasses.replace(samples.data(c.choice_index, c.plan_index), limits=assumed.limits[rows])
            lower, upper = samples.box(c.choice_index)
            args = (search.core.model, data, lower, upper, (lower + upper) / 2)
            o = solve_batch(*args, settings=SETTINGS, size=CHUNK)
            logs[i, rows] = np.where(o.feasible, o.objective, np.inf)
            values = in_batches(partial(solved_quantities, search.core), (o.z, data), CHUNK)
            for name, x in (values | against(search.space, values)).items():
                found.setdefault(name, np.zeros(logs.shape))[i, rows] = x
    return logs, found


def against(space: Space, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tokens per watt and per dollar of package over the baseline's, and peaks as multiples of its FP8 peak."""
    base = space.study.baseline.chip
    tech = chip_technology(base)
    cost = float(total_USD(silicon(base, tech).money))
    found = {"peak_fp4_ratio": values["peak_fp4_FLOPps"] / float(peak_FLOPps(base, "fp4"))}
    for w, name in enumerate(space.study.workloads):
        every, demands = space.lowered[w]
        own = demands[every.index(space.baselines[w][0])]
        burnt = float(jax.jit(evaluate_demand)(own, base, tech, space.calibrations[w]).power_W)
        faster = values[f"speedup:{name}"]
        found[f"tokens_per_MW_ratio:{name}"] = faster * burnt / values[f"power_W:{name}"]
        found[f"tokens_per_USD_ratio:{name}"] = faster * cost / values["package_cost_USD"]
    return found
