"""Back-tests by kind of number: which numbers of a chip are missed most, and whether always the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from .against_built import Row
from .backtest import QUANTITIES


@dataclasses.dataclass(frozen=True)
class KindOfNumber:
    """One quantity over all steps that score it."""

    name: str
    n_steps: int
    """Steps that score it."""
    ratio: float
    """Geometric mean of proposed over built: a bias, always the same way."""
    spread: float
    """Exponential of the standard deviation of that ratio's log, at least 1: what a bias leaves."""
    factor: float
    naive_factor: float
    share_frac: float
    """Its share of the log factors of all scored numbers."""
    n_inside: int
    """Built numbers among the designs that are nearly as good."""
    n_ranged: int
    """Built numbers that have such a range."""


def by_kind(steps: Sequence[Sequence[Row]]) -> list[KindOfNumber]:
    """Every quantity over the scored rows of all steps, the one that is missed most in all first."""
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
    share = float(np.abs(logs).sum() / total) if total > 0 else 0.0
    bias, spread = float(np.exp(logs.mean())), float(np.exp(logs.std()))
    return KindOfNumber(name, len(rows), bias, spread, mine, naive, share, sum(inside), len(inside))
