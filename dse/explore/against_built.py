"""Result of a back-test: the proposed design beside the built chip, number by number, with their ratios."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..optimize.solution import Solution
from ..study.metrics import mean_speedup
from ..study.study import Study

HIT, NEAR = 1.25, 2.0
"""Largest ratio, either way, of proposed to built that counts as a hit, and as near."""
CLOSE = 1.5
"""Factor between those, which tables count."""
EDGE = 1.001
"""Room at the ends of a range: a solved count lies a hair beside the whole one."""
SHARE_FRAC = 0.02
"""How much worse than the optimum a design may be that still counts as nearly as good."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One quantity of both chips, and of the naive forecast."""

    name: str
    proposed: float
    """Of the explorer's design."""
    built: float
    naive: float
    """Of the predecessor scaled by area and node."""
    given: bool = False
    """Whether the budget, the only choice or a guess about the built chip sets it, so that a hit says nothing."""
    near: tuple[float, float] | None = None
    """Range over all designs within `SHARE_FRAC` of the optimum, continuous counts; None if not computed."""

    @property
    def ratio(self) -> float:
        """Proposed over built."""
        return self.proposed / self.built

    @property
    def factor(self) -> float:
        """How far off, either way: at least 1."""
        # twice and half of the built number are as far off
        return max(self.ratio, 1.0 / self.ratio)

    @property
    def naive_ratio(self) -> float:
        """The naive forecast over built."""
        return self.naive / self.built

    @property
    def near_ratio(self) -> tuple[float, float] | None:
        """Ends of the range over built; None where there is no range."""
        return None if self.near is None else (self.near[0] / self.built, self.near[1] / self.built)

    @property
    def factors(self) -> tuple[float, float]:
        """How far off, either way, the proposal and the naive forecast are."""
        return self.factor, max(self.naive_ratio, 1.0 / self.naive_ratio)

    @property
    def inside(self) -> bool | None:
        """Whether the built number lies among those of designs that are nearly as good."""
        return None if self.near is None else self.near[0] / EDGE <= self.built <= self.near[1] * EDGE

    @property
    def verdict(self) -> str:
        """How close: "given", "hit" within a quarter, "near" within a factor of two, else "miss"."""
        if self.given:
            return "given"
        return "hit" if self.factor <= HIT else "near" if self.factor <= NEAR else "miss"


@dataclasses.dataclass(frozen=True)
class Backtest:
    """A back-test: proposed design, built chip, and both on the study's workloads."""

    solution: Solution
    built: str
    rows: tuple[Row, ...]
    """Quantity by quantity, of those that both chips have."""
    named: tuple[tuple[str, str, str], ...]
    """Discrete choices: what, proposed, built."""
    built_speedup: dict[str, float]
    """Speed-up of the built chip over the older one by workload, in the study's fabric, by the same model."""
    built_goal: float
    unfinished: tuple[str, ...] = ()
    """What was left out beside the proof because time was up, in words."""

    @property
    def study(self) -> Study:
        """The question."""
        return self.solution.study

    @property
    def scored(self) -> tuple[Row, ...]:
        """Rows that are scored: not given by the study."""
        return tuple(r for r in self.rows if not r.given)

    @property
    def counts(self) -> dict[str, int]:
        """How many quantities are hits, near and misses, those that are given left out."""
        return {v: sum(r.verdict == v for r in self.rows) for v in ("hit", "near", "miss")}

    @property
    def n_close(self) -> int:
        """Scored rows within a factor `CLOSE`."""
        return sum(r.factor <= CLOSE for r in self.scored)

    @property
    def n_ranged(self) -> int:
        """Number of scored rows with a near-optimal range."""
        return sum(r.inside is not None for r in self.scored)

    @property
    def n_inside(self) -> int:
        """Number of scored rows whose built value is within that range."""
        return sum(bool(r.inside) for r in self.scored)

    @property
    def sram_ratio(self) -> float:
        """SRAM per chip, proposed over built."""
        return next(r.ratio for r in self.rows if r.name == "sram_B")

    @property
    def built_delivered(self) -> float:
        """Mean of the built chip's speed-ups, weighted as the study's goal is."""
        # no owner's prices: a back-test is scored on delivered time alone
        return mean_speedup(self.study.goal, list(self.built_speedup.values()), [], self.study.shares)

    @property
    def regret_frac(self) -> float:
        """How much worse the built chip's goal is than the proposal's, as a fraction; negative where it is better."""
        return self.built_goal / self.solution.goal - 1.0

    @property
    def factors(self) -> tuple[float, float]:
        """Median factors, over the scored rows, of the proposal and of the naive forecast."""
        # the median of factors, not a mean: one quantity ten times off would drown all others
        mine, naive = np.median([r.factors for r in self.scored], axis=0).tolist()
        return mine, naive


def n_right(b: Backtest) -> int:
    """Discrete choices that are as built."""
    return sum(mine == theirs for _, mine, theirs in b.named)
