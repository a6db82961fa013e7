"""Assumptions of a forecast, drawn at random: budgets, supply (node, HBM, links), and announced ratios.

Named probabilities come in addition to the ranges of receipts; every draw is one scenario.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ..core.provenance import Sourced
from ..study.design import Choice
from ..study.metrics import HEAT, LOADS
from ..study.study import Study
from .reading_limits import ANNOUNCED, OPEN, binds
from .unknowns import at_score, hypercube_frac

SUPPLY = ("node", "hbm", "link")
"""Discrete choices that a maker may be bound to by supply, partners and dates."""
BUDGETS = ("tdp_W", "silicon_mm2", "package_cost_USD")
"""Random budgets of the maker: power in one of its readings, area and cost."""


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """Random assumptions of a forecast besides the receipts of its study."""

    study: Study
    """The question, with a limit for every reading of the TDP and a cap on every announced ratio."""
    budgets: dict[str, Sourced]
    readings: dict[str, float]
    """Probability that the TDP limits a power of `LOADS` and all milder ones."""
    built_frac: float
    """Probability that the announced ratios are those built."""
    room: Sourced
    """Built over announced ratio in that case."""
    supply: dict[str, dict[str, float]]
    """Probability of each node, memory and link, independent of the optimum."""
    taste: dict[str, float]
    """Spread of built over proposed, as the standard deviation of its log, by quantity; 0 where none is named."""


@dataclasses.dataclass(frozen=True)
class Worlds:
    """Assumptions of each draw besides the receipts."""

    limits: Float[np.ndarray, "n k"]
    reading: tuple[str, ...]
    tdp_W: Float[np.ndarray, " n"]
    """Power that the package is cooled for."""
    supply: dict[str, tuple[str, ...]]

    def rows(self, choice: Choice) -> np.ndarray:
        """Draws in which a choice is available."""
        fits = [np.asarray([word == getattr(choice, what) for word in words]) for what, words in self.supply.items()]
        return np.flatnonzero(np.logical_and.reduce(fits))


def one_of(shares: Mapping[str, float], u: Float[np.ndarray, " n"]) -> tuple[str, ...]:
    """Names in proportion to their shares, by probabilities `u`."""
    names, edges = list(shares), np.cumsum(list(shares.values()))
    # shares that add up to 1 but for rounding leave a sliver above the last edge
    return tuple(names[min(int(np.searchsorted(edges, x)), len(names) - 1)] for x in u)


def worlds(a: Assumptions, n: int, seed: int) -> Worlds:
    """`n` draws of budgets, readings and the meaning of the announcement; reproducible by `seed`."""
    # a stream of its own: from `seed` itself budgets would take the ranks that `draw` gives to the groups of facts
    rng = np.random.default_rng((seed, 1))
    n_each = len(BUDGETS) + 3 + len(SUPPLY)
    # columns have a fixed meaning: a new assumption goes behind them, or every seed would tell another story
    cells = hypercube_frac(rng, n, n_each)
    spent = {b: at_score(a.budgets[b], cells[:, i]) for i, b in enumerate(BUDGETS)}
    reading = one_of(a.readings, cells[:, 3])
    supply = {what: one_of(a.supply[what], cells[:, 6 + i]) for i, what in enumerate(SUPPLY)}
    built, room = cells[:, 4] < a.built_frac, at_score(a.room, cells[:, 5])
    floors = {x.metric: x.value for x in a.study.limits if x.sense == "at_least"}
    columns = []
    for x in a.study.limits:
        if x.metric in (*LOADS, HEAT):
            held = np.asarray([binds(r, x.metric) for r in reading])
            columns.append(np.where(held, spent["tdp_W"] if x.metric in LOADS else x.value, OPEN * x.value))
        elif x.sense == "at_most" and x.metric in ANNOUNCED:
            # an announcement of what is built caps the chip close above; one of its least leaves the study's wide cap
            columns.append(np.where(built, room * floors.get(x.metric, x.value), x.value))
        else:
            columns.append(spent.get(x.metric, np.full(n, x.value)))
    return Worlds(np.stack(columns, axis=1), reading, spent["tdp_W"], supply)
