"""Summary of all back-tests: errors of the proposed numbers, by step and quantity, against a naive forecast."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from .against_built import CLOSE, HIT, NEAR, Backtest, Row
from .backtest import QUANTITIES


@dataclasses.dataclass(frozen=True)
class Tally:
    """All back-tests together."""

    n_steps: int
    """Back-tests."""
    n_numbers: int
    median_factor: float
    within_frac: Mapping[str, float]
    """Share of them within a factor, by the factor: "1.25", "1.5", "2"."""
    sram_frac: float
    """Share of steps whose SRAM per chip is within a factor 2."""
    regret_frac: float
    """Median over steps of how much worse the built chip is than the proposal."""
    inside_frac: float
    """Share of numbers with a range whose built value lies in it; NaN without any."""
    n_better: int
    """Steps on which the median factor is less than the naive forecast's."""
    naive_factor: float


WITHIN = (HIT, CLOSE, NEAR)
"""Factors that are counted."""


def tally(found: Sequence[Backtest]) -> Tally:
    """All back-tests together; at least one."""
    rows = [r for b in found for r in b.scored]
    factors = np.asarray([r.factor for r in rows])
    sram = [r.factor for b in found for r in b.rows if r.name == "sram_B"]
    ranged = [r.inside for r in rows if r.inside is not None]
    return Tally(
        n_steps=len(found),
        n_numbers=len(rows),
        median_factor=float(np.median(factors)),
        within_frac={f"{w:g}": float(np.mean(factors <= w)) for w in WITHIN},
        sram_frac=float(np.mean([f <= NEAR for f in sram])),
        regret_frac=float(np.median([b.regret_frac for b in found])),
        inside_frac=float(np.mean(ranged)) if ranged else float("nan"),
        # by step, not by number: steps with many scored numbers would decide alone
        n_better=sum(mine < naive for mine, naive in (b.factors for b in found)),
        naive_factor=float(np.median([r.factors[1] for r in rows])),
    )


@dataclasses.dataclass(frozen=True)
class Backtests:
    """Several back-tests, and what they say together."""

    steps: tuple[Backtest, ...]
    """Each; at least one."""

    @cached_property
    def tally(self) -> Tally:
        """All together."""
        return tally(self.steps)

    @cached_property
    def kinds(self) -> list[KindOfNumber]:
        """Every quantity over all steps, the one that is missed most first."""
        return by_kind([b.scored for b in self.steps])


@dataclasses.dataclass(frozen=True)
class KindOfNumber:
    """One quantity over all steps that score it."""

    name: str
    n_steps: int
    """Steps that score it."""
    ratio: float
    """Geometric mean of proposed over built: a bias, always the same way."""
    spread: float
    """Exponential of the standard deviation of the ratio's log, at least 1: scatter around the bias."""
    factor: float
    naive_factor: float
    share_frac: float
    """Its share of the log factors of all scored numbers."""
    n_inside: int
    """Built numbers among the designs that are nearly as good."""
    n_ranged: int
    """Built numbers that have such a range."""


def by_kind(steps: Sequence[Sequence[Row]]) -> list[KindOfNumber]:
    """Every quantity over the scored rows of all steps, the largest total error first."""
    rows = [r for step in steps for r in step]
    total = sum(np.log(r.factor) for r in rows)
    kinds = [_kind(name, [r for r in rows if r.name == name], total) for name in QUANTITIES]
    return sorted((k for k in kinds if k.n_steps), key=lambda k: -k.share_frac)


def _kind(name: str, rows: list[Row], total: float) -> KindOfNumber:
    if not rows:
        return KindOfNumber(name, 0, 1.0, 1.0, 1.0, 1.0, 0.0, 0, 0)
    logs = np.log([r.ratio for r in rows])
    mine, naive = np.median([r.factors for r in rows], axis=0).tolist()
    inside = [r.inside for r in rows if r.inside is not None]
    # where every number is met exactly there is no error to share out
    share = float(np.abs(logs).sum() / total) if total > 0 else 0.0
    bias, spread = float(np.exp(logs.mean())), float(np.exp(logs.std()))
    # of logs, so that twice and half of the built value cancel
    return KindOfNumber(name, len(rows), bias, spread, mine, naive, share, sum(inside), len(inside))
