"""How likely is it: a study re-optimised under many draws of what is not known, one certified solve per draw.

The discrete choice and the plans of a sample come from a few candidates, those that did best in a pilot; everything
else about the design is chosen anew in every sample, as if its world were known before the chip is built.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from ..core.counts import check_count
from ..core.errors import SpecError
from ..core.files import MOST_WHOLE
from ..core.frames import page, table_of
from ..core.text import percent
from ..optimize.deadline import Deadline
from ..optimize.pricing import Plans
from ..optimize.search import Candidate, Search, n_choices, run_search, search_of, solve_points
from ..optimize.space import Space, space_of
from ..study.convex import coordinates, model_of, ratio_rows
from ..study.design import Choice
from ..study.metrics import DELIVERED
from ..study.study import Study
from .in_turn import solve_in_turn
from .remedy import check_target
from .samples import MOST_DRAWS, Samples
from .unknowns import Draw, Unknown, draw, unknowns

if TYPE_CHECKING:
    import pandas as pd

TARGET = 6.0
"""Delivered speed-up asked for unless told otherwise: what the chip after Trainium3 is announced with."""
PILOT_SAMPLES, PILOT_CANDIDATES = 64, 24
"""Draws and candidates of the pilot that chooses the candidates."""


@dataclasses.dataclass(frozen=True)
class Known:
    """What an earlier search of the same study left, for an answer in seconds rather than minutes.

    It is a little pessimistic, since plans stay.
    """

    space: Space
    """The study, lowered."""
    plans: Plans
    """Plans of its best design: every choice runs under them."""
    pilot: tuple[int, int] = (16, 8)
    """Draws and candidates of the pilot."""


KEPT_CANDIDATES = 4
"""Candidates solved under every draw."""
LOST = 3.0
"""Log goal that a draw without a design counts in the pilot's mean: a twentyfold slower chip."""


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What re-optimising gave, by sample; numbers of the best candidate."""

    goal: Float[np.ndarray, " n"]
    """Goal of the design; infinite where no design meets the limits."""
    goals: Float[np.ndarray, "c n"]
    """The same of every candidate."""
    z: Float[np.ndarray, "c n v"]
    """Log coordinates of every candidate's optimum."""
    winner: Int[np.ndarray, " n"]
    """Position of the winning candidate."""
    design: Float[np.ndarray, "n v"]
    """All coordinates of the convex core; not a number where there is no design."""
    blocking: tuple[str, ...]
    """For each sample without a design, the limit with the highest price in the first candidate's attempt."""


FEW = 2.0
"""Standard errors below which a rank correlation is noise."""


@dataclasses.dataclass(frozen=True)
class Driver:
    """One unknown and how it moves the outcome."""

    unknown: Unknown
    """What varies."""
    correlation: float
    """Spearman's rank correlation of its score with the outcome; positive where more of it is better."""
    error: float
    """Standard error of a correlation of zero."""


def stands_out(correlation_frac: float, error_frac: float) -> bool:
    """Whether a rank correlation is more than noise, given its standard error."""
    return abs(correlation_frac) > FEW * error_frac


@dataclasses.dataclass(frozen=True)
class Risk:
    """A study under uncertainty."""

    study: Study
    """The question."""
    seed: int
    """Of the draws."""
    target: float | None
    """Delivered speed-up that counts as reached; None where the goal is another metric."""
    candidates: tuple[Candidate, ...]
    """Discrete choices and plans that were solved under every draw."""
    pilot_loss: float
    """Mean log goal that these candidates give away against all of the pilot's."""
    nominal: float
    """Goal at the receipts' values, continuous."""
    variables: tuple[str, ...]
    """Names of the columns of `outcomes.design`."""
    draw: Draw
    """What was drawn."""
    outcomes: Outcomes
    """What came out."""
    unfinished: tuple[str, ...] = ()
    """What was left out because time was up, in words; its draws are not among `draw`."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.draw.n

    @property
    def feasible(self) -> Bool[np.ndarray, " n"]:
        """Samples in which some design meets all limits."""
        return np.isfinite(self.outcomes.goal)

    @property
    def reached(self) -> Bool[np.ndarray, " n"]:
        """Samples in which the target is met: enough speed-up, or any design at all where there is no target."""
        return self.feasible if self.target is None else self.merit >= self.target

    @property
    def merit(self) -> Float[np.ndarray, " n"]:
        """What is better when larger: the delivered speed-up, or one over the goal; 0 without a design."""
        return 1.0 / self.outcomes.goal

    def outcome_quantiles(self, levels: Sequence[float]) -> list[float]:
        """Quantiles of the outcome over the samples with a design: delivered speed-up, or the goal in its unit.

        Low levels are the bad end of either; none without a sample that has a design.
        """
        if self.study.goal == DELIVERED:
            return self.merit_quantiles(levels)
        good = self.outcomes.goal[self.feasible]
        return [float(np.quantile(good, 1 - q)) for q in levels] if good.size else []

    def merit_quantiles(self, levels: Sequence[float]) -> list[float]:
        """Quantiles of the merit over the samples with a design; none without such a sample."""
        return np.quantile(self.merit[self.feasible], levels).tolist() if self.feasible.any() else []

    def merit_distribution(self, n: int) -> list[float]:
        """`n` quantiles of the merit, evenly from none to all samples, those without a design at 0.

        Each is that of a sample: between one without a design and one with, there is nothing to interpolate.
        """
        return np.quantile(self.merit, np.linspace(0.0, 1.0, n), method="inverted_cdf").tolist()

    @cached_property
    def drivers(self) -> tuple[Driver, ...]:
        """Unknowns by the size of their rank correlation with the outcome, a sample without a design ranking last."""
        outcome = rankdata(self.merit)
        error = 1.0 / math.sqrt(max(self.n - 1, 1))
        if outcome.min() == outcome.max():
            return ()
        found = [
            Driver(u, float(np.corrcoef(rankdata(x), outcome)[0, 1]), error)
            for u, x in zip(self.draw.unknowns, self.draw.scores.T, strict=True)
        ]
        return tuple(sorted(found, key=lambda d: -abs(d.correlation)))

    def frame(self) -> pd.DataFrame:
        """Every unknown and how it moves the outcome, what moves it most first."""
        rows = [(d.unknown.name, d.correlation, d.error) for d in self.drivers]
        return table_of(rows, ["unknown", "correlation", "error"], "unknown")

    def _repr_html_(self) -> str:
        """What a notebook shows: how likely the target is, and what it hangs on."""
        share, error = self.probability(self.reached)
        return page(
            f"{self.study.name}: reached in {percent(share)} of {self.n} draws (+- {percent(error)})", self.frame()
        )

    def own_designs(self, position: int) -> Float[np.ndarray, "m f"]:
        """Logs of the free numbers that a candidate takes in each sample where it has a design."""
        able = np.isfinite(self.outcomes.goals[position])
        return self.outcomes.z[position, able, : len(self.study.free)]

    def probability(self, event: Bool[np.ndarray, " n"]) -> tuple[float, float]:
        """Share of samples with an event and its standard error, that of independent draws: the hypercube's is less."""
        share = float(np.mean(event))
        return share, math.sqrt(share * (1.0 - share) / self.n)

    def quantiles(self, levels: tuple[float, ...]) -> dict[str, list[float]]:
        """Quantiles of every coordinate of the optimal design, over the samples that have one."""
        if not self.feasible.any():
            return {}
        found = np.quantile(self.outcomes.design[self.feasible], levels, axis=0)
        return {name: found[:, i].tolist() for i, name in enumerate(self.variables)}

    @property
    def choices(self) -> dict[Choice, float]:
        """Discrete choices and the share of samples they win, of those with a design; most frequent first."""
        won = Counter(int(w) for w in self.outcomes.winner[self.feasible])
        shares: dict[Choice, float] = {}
        for position, n in won.most_common():
            choice = self.study.choices[self.candidates[position].choice_index]
            shares[choice] = shares.get(choice, 0.0) + n / sum(won.values())
        return shares

    @property
    def blocking(self) -> dict[str, float]:
        """Limits that stand most in the way, by share of the samples without a design."""
        counts = Counter(self.outcomes.blocking)
        return {name: n / max(sum(counts.values()), 1) for name, n in counts.most_common()}


def risk(
    study: Study,
    n: int = 1000,
    seed: int = 0,
    *,
    target: float | None = None,
    known: Known | None = None,
    progress: Callable[[str], None] = lambda _: None,
    deadline: Deadline | None = None,
) -> Risk:
    """Re-optimise a study under `n` draws of its unknowns.

    Args:
        study: goal, limits, free numbers and choices.
        n: number of draws.
        seed: same seed, same draws.
        target: delivered speed-up that counts as reached, 6 by default; only for studies of the delivered time.
        known: what an earlier search left; without it choices and plans are searched first.
        progress: told what happens, one line at a time.
        deadline: when to stop with the draws that are solved.

    Returns:
        Distribution of the optimal design and of the outcome, and what drives it. Counts of cores and stacks are
        not rounded.

    Raises:
        SpecError: fewer than two samples, a target that is not positive or has no meaning for the goal.
    """
    check_count("samples", n, 2, MOST_DRAWS)
    check_count("seed", seed, 0, MOST_WHOLE)
    check_target(study, target)
    search = search_of(known.space if known else space_of(study), progress, deadline=deadline or Deadline())
    every = solve_points(search, [(i, known.plans) for i in range(n_choices(search))]) if known else run_search(search)
    found = sorted((c for c in every if c.log_goal < np.inf), key=lambda c: c.log_goal)
    if not found:
        raise SpecError(f"study '{study.name}' has no design at the receipts' values; see dse optimize")
    what = unknowns(study)
    kept, loss = pilot(search, what, seed, *(known.pilot if known else (PILOT_SAMPLES, PILOT_CANDIDATES)))
    drawn = draw(what, n, seed)
    progress(f"{n} samples under {len(kept)} candidates")
    outcomes = reoptimise(search, kept, drawn)
    drawn = drawn.rows(np.arange(len(outcomes.goal)))
    goal = TARGET if study.goal == DELIVERED and target is None else target
    nominal = math.exp(found[0].log_goal)
    return Risk(
        study, seed, goal, tuple(kept), loss, nominal, coordinates(search.core), drawn, outcomes,
        tuple(search.deadline.undone),
    )  # fmt: skip


def pilot(
    search: Search, what: tuple[Unknown, ...], seed: int, n: int, n_candidates: int
) -> tuple[list[Candidate], float]:
    """The few candidates to solve under every draw, and the mean log goal they give away on the pilot's draws.

    Candidates are added one by one, each time the one that lowers the pilot's mean goal most. Without time for a pilot
    it is the best one at the receipts' values, and what it gives away is not a number.
    """
    known = sorted((c for c in search.seen.values() if c.log_goal < np.inf), key=lambda c: c.log_goal)
    if search.deadline.over("choices and plans but the best at the receipts' values"):
        return known[:1], math.nan
    known = known[:n_candidates]
    drawn = draw(what, n, seed + 1)
    search.progress(f"pilot: {len(known)} choices under {n} draws")
    logs = np.minimum(solve_all_draws(search, known, drawn).log_goals, LOST)
    kept: list[int] = []
    best = np.full(logs.shape[1], LOST)
    while len(kept) < min(KEPT_CANDIDATES, len(known)):
        means = np.minimum(best, logs).mean(axis=1)
        pick = int(np.argmin(means))
        if kept and means[pick] >= best.mean():
            break
        kept.append(pick)
        best = np.minimum(best, logs[pick])
    return [known[i] for i in kept], float(best.mean() - logs.min(axis=0).mean())


@dataclasses.dataclass(frozen=True)
class Solved:
    """Every candidate under every draw, or under as many of the first as there was time for."""

    log_goals: Float[np.ndarray, "c n"]
    """Log goal, infinite where no design meets the limits."""
    z: Float[np.ndarray, "c n v"]
    """Log coordinates."""
    dearest: Int[np.ndarray, "c n"]
    """Row of the limit with the highest price."""


def solve_all_draws(search: Search, candidates: list[Candidate], drawn: Draw) -> Solved:
    """Certified optimum of every candidate under every draw, all in batches of one compiled shape."""
    samples, n_candidates = Samples(search, drawn), len(candidates)
    parts = [(samples.data(c.choice_index, c.plan_index), *samples.box(c.choice_index)) for c in candidates]
    by_draw = jax.tree.map(lambda *xs: np.stack(xs, axis=1).reshape(-1, *np.shape(xs[0])[1:]), *parts)
    draws = np.repeat(np.arange(drawn.n), n_candidates)
    o, n = solve_in_turn(model_of(search.core), (draws, *by_draw), drawn.n, search.deadline, search.progress)

    def table(x: np.ndarray) -> np.ndarray:
        return np.moveaxis(x[: n * n_candidates].reshape(n, n_candidates, *x.shape[1:]), 1, 0)

    logs = np.where(o.feasible, o.objective, np.inf)
    return Solved(table(logs), table(np.asarray(o.z)), table(np.argmax(o.multipliers, axis=1)))


def reoptimise(search: Search, candidates: list[Candidate], drawn: Draw) -> Outcomes:
    """The best design under every draw among the candidates, or under the first draws where time was up."""
    solved = solve_all_draws(search, candidates, drawn)
    winner = np.argmin(solved.log_goals, axis=0)
    every = np.arange(len(winner))
    best = solved.log_goals[winner, every]
    design = np.where(np.isfinite(best)[:, None], np.exp(solved.z[winner, every]), np.nan)
    rows = ratio_rows(search.core)
    stuck = tuple(rows[i].label for i in solved.dearest[0, np.isinf(best)])
    return Outcomes(np.exp(best), np.exp(solved.log_goals), solved.z, winner, design, stuck)
