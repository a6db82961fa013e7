"""`Risk`, the result of a study under uncertainty: outcomes by sample, probabilities, and main drivers."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from ..core.frames import page, table_of
from ..core.text import percent
from ..optimize.search import Candidate
from ..study.design import Choice
from ..study.metrics import DELIVERED
from ..study.study import Study
from .unknowns import Draw, Unknown

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Results of re-optimisation by sample, n samples, c candidates, v coordinates."""

    goal: Float[np.ndarray, " n"]
    """Goal of the best candidate; infinite if no design meets the limits."""
    goals: Float[np.ndarray, "c n"]
    z: Float[np.ndarray, "c n v"]
    """Log coordinates of every candidate's optimum."""
    winner: Int[np.ndarray, " n"]
    """Position of the winning candidate."""
    design: Float[np.ndarray, "n v"]
    """Coordinates of the best candidate's design; NaN without a design."""
    blocking: tuple[str, ...]
    """For each sample without a design, the limit with the highest price for the first candidate."""


FEW = 2.0
"""Standard errors below which a rank correlation is noise."""


@dataclasses.dataclass(frozen=True)
class Driver:
    """One unknown and its rank correlation with the outcome."""

    unknown: Unknown
    correlation: float
    """Spearman's rank correlation of its score with the outcome; positive if more is better."""
    error: float
    """Standard error of a correlation of zero."""


def stands_out(correlation_frac: float, error_frac: float) -> bool:
    """Whether a rank correlation is more than noise, given its standard error."""
    return abs(correlation_frac) > FEW * error_frac


@dataclasses.dataclass(frozen=True)
class Risk:
    """A study under uncertainty: draws of its unknowns, re-optimised outcomes, candidates and target."""

    study: Study
    seed: int
    target: float | None
    """Delivered speed-up that counts as reached; None if the goal is another metric."""
    candidates: tuple[Candidate, ...]
    """Discrete choices and plans that were solved under every draw."""
    pilot_loss: float
    """Mean loss in log goal against using all candidates of the pilot."""
    nominal: float
    """Goal at the receipts' values, continuous."""
    variables: tuple[str, ...]
    """Names of the columns of `outcomes.design`."""
    draw: Draw
    outcomes: Outcomes
    unfinished: tuple[str, ...] = ()
    """Parts skipped for lack of time, in words; skipped draws are not in `draw`."""

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
        """Delivered speed-up, or 1 / goal for other goals; 0 without a design."""
        # without a design the goal is infinite, and this 0
        return 1.0 / self.outcomes.goal

    @cached_property
    def drivers(self) -> tuple[Driver, ...]:
        """Unknowns by absolute rank correlation with the outcome; samples without a design rank last."""
        # ranks, so that samples without a design (a merit of 0) are the worst ones rather than left out
        outcome = rankdata(self.merit)
        # exact for ranks without ties, whatever the distributions
        error = 1.0 / math.sqrt(max(self.n - 1, 1))
        # ranks that are all equal have no deviation to divide by
        if outcome.min() == outcome.max():
            return ()
        found = [
            Driver(u, float(np.corrcoef(rankdata(x), outcome)[0, 1]), error)
            for u, x in zip(self.draw.unknowns, self.draw.scores.T, strict=True)
        ]
        return tuple(sorted(found, key=lambda d: -abs(d.correlation)))

    def frame(self) -> pd.DataFrame:
        """One row per unknown: rank correlation with the outcome and its standard error, largest first."""
        rows = [(d.unknown.name, d.correlation, d.error) for d in self.drivers]
        return table_of(rows, ["unknown", "correlation", "error"], "unknown")

    def _repr_html_(self) -> str:
        share, error = self.probability(self.reached)
        return page(
            f"{self.study.name}: reached in {percent(share)} of {self.n} draws (+- {percent(error)})", self.frame()
        )

    def probability(self, event: Bool[np.ndarray, " n"]) -> tuple[float, float]:
        """Share of samples with an event, and its standard error for independent draws (an upper bound here)."""
        # a Latin hypercube spreads draws more evenly than chance, so that the true error is smaller
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
        """Share of the feasible samples that each discrete choice wins, most frequent first."""
        won = Counter(int(w) for w in self.outcomes.winner[self.feasible])
        shares: dict[Choice, float] = {}
        for position, n in won.most_common():
            choice = self.study.choices[self.candidates[position].choice_index]
            # candidates may differ in their plans alone, and are one choice then
            shares[choice] = shares.get(choice, 0.0) + n / sum(won.values())
        return shares


def merit_quantiles(r: Risk, levels: Sequence[float]) -> list[float]:
    """Quantiles of the merit over the samples with a design; none without such a sample."""
    return np.quantile(r.merit[r.feasible], levels).tolist() if r.feasible.any() else []


def outcome_quantiles(r: Risk, levels: Sequence[float]) -> list[float]:
    """Quantiles, bad end first, of delivered speed-up or goal over the samples with a design; none without any."""
    if r.study.goal == DELIVERED:
        return merit_quantiles(r, levels)
    good = r.outcomes.goal[r.feasible]
    # a goal is minimised: its high values are the bad end
    return [float(np.quantile(good, 1 - q)) for q in levels] if good.size else []


def merit_distribution(r: Risk, n: int) -> list[float]:
    """`n` quantiles of the merit, evenly from none to all samples, each that of a sample; 0 without a design."""
    # between a sample with a design and one without there is nothing to interpolate
    return np.quantile(r.merit, np.linspace(0.0, 1.0, n), method="inverted_cdf").tolist()


def blocking(r: Risk) -> dict[str, float]:
    """Limits that stand most in the way, by share of the samples without a design."""
    counts = Counter(r.outcomes.blocking)
    return {name: n / max(sum(counts.values()), 1) for name, n in counts.most_common()}


SAME = 1e-12
"""Room at the target: it is itself an edge."""


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Samples with a design by their outcome: the delivered speed-up, or the goal in its unit."""

    edges: Float[np.ndarray, " e"]
    """Ends of the bars, the target among them where it lies between."""
    share_frac: Float[np.ndarray, " b"]
    """Height: share of all samples that a bar as wide as an even one would hold."""
    reaches: Bool[np.ndarray, " b"]
    """Bars at the target or beyond; all where there is none."""


def outcome_histogram(r: Risk, n_bars: int) -> Histogram:
    """Samples of `r` by outcome in `n_bars` even bars, one of them cut in two at the target; at least one design."""
    values = (r.merit if r.study.goal == DELIVERED else r.outcomes.goal)[r.feasible]
    # a hair wide where all samples agree
    edges = np.linspace(values.min(), values.max() * (1 + 1e-9), n_bars + 1)
    if r.target is not None and edges[0] < r.target < edges[-1]:
        edges = np.unique(np.append(edges, r.target))
    counts, _ = np.histogram(values, edges)
    reaches = edges[:-1] >= r.target - SAME if r.target is not None else np.full(counts.size, True)
    return Histogram(edges, counts / np.diff(edges) * (edges[-1] - edges[0]) / n_bars / r.n, reaches)
