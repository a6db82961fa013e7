"""The bound of one free number as a way out: the least widening of its box, perhaps beside looser limits."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from ..study.convex import coordinates
from ..study.design import STEPPED, steps
from .loosen import NONE, SMALLEST, TRIED, Broken, Way, relaxed, total, way
from .search import Search, in_box
from .solution import Relaxation

FURTHEST = 64.0
"""How far beyond a box what can be built is looked for."""
BESIDE = 8
"""Choices and plans whose bounds are widened."""
FACTORS = 16
"""Widenings of one bound tried at once; the neighbours of the best are the ends of the next."""
ZOOMS = 3
"""Times that is done: the last factor is within 0.4 %."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """One bound of a free number, of a choice under its plans."""

    of: Broken
    place: int
    """Position among the coordinates."""
    upper: bool

    def moved(self, search: Search, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """The box with this bound moved outwards."""
        lower, upper = (b.copy() for b in search.box)
        if self.upper:
            upper[self.place] += math.log(factor)
        else:
            lower[self.place] -= math.log(factor)
        return lower, upper


def widened_way(search: Search, known: Sequence[Broken], user: Bool[np.ndarray, " m"]) -> Way:
    """The least widening of the box of one free number, limits loosened beside it where that takes less in all."""
    bounds = _that_help(search, known, user)
    if not bounds:
        return NONE
    least = _least_factors(search, bounds, user)
    return min((_whole(search, b, x, user) for b, x in zip(bounds, least, strict=True)), key=lambda w: w.total)


def _that_help(search: Search, known: Sequence[Broken], user: Bool[np.ndarray, " m"]) -> list[Bound]:
    """The bounds without which limits have to be loosened least, those that help at all."""
    free = range(len(search.core.free))
    asked = [Bound(b, i, up) for b, i, up in itertools.product(known[:BESIDE], free, (False, True))]
    left = _needed(search, asked, np.full(len(asked), math.log(FURTHEST)), user)
    order = np.argsort(left, kind="stable")
    helps = [i for i in order if left[i] < asked[i].of.total - SMALLEST]
    return [asked[i] for i in helps[:TRIED]]


def _least_factors(search: Search, bounds: list[Bound], user: Bool[np.ndarray, " m"]) -> list[float]:
    """How far each bound has to move so that it and the limits beside it change least [log units]."""
    low, high = np.zeros(len(bounds)), np.full(len(bounds), math.log(FURTHEST))
    rows, best = np.arange(len(bounds)), high
    for _ in range(ZOOMS):
        logs = np.linspace(low, high, FACTORS, axis=1)
        left = _needed(search, [b for b in bounds for _ in range(FACTORS)], logs.ravel(), user)
        at = np.argmin(logs + left.reshape(logs.shape), axis=1)
        best = logs[rows, at]
        low, high = logs[rows, np.maximum(at - 1, 0)], logs[rows, np.minimum(at + 1, FACTORS - 1)]
    return best.tolist()


def _needed(search: Search, bounds: Sequence[Bound], log_factors: np.ndarray, user: np.ndarray) -> np.ndarray:
    """How much limits have to be loosened still, each bound moved by its factor, counts broken [log units]."""
    boxes = [b.moved(search, math.exp(x)) for b, x in zip(bounds, log_factors.tolist(), strict=True)]
    lower, upper = (np.stack(b) for b in zip(*boxes, strict=True))
    return total(relaxed(search, [(b.of.choice, b.of.plans) for b in bounds], lower, upper, user))


def _whole(search: Search, bound: Bound, log_factor: float, user: Bool[np.ndarray, " m"]) -> Way:
    """The way out by one bound, counts whole."""
    name, sign = coordinates(search.core)[bound.place], 1.0 if bound.upper else -1.0
    now = float(search.box[1 if bound.upper else 0][bound.place])
    if name in STEPPED:  # the next that can be built
        near = np.log(_buildable(search, bound, math.exp(now + sign * log_factor)))
        if not near.size:
            return NONE
        log_factor = sign * (float(near[0 if bound.upper else -1]) - now)
    box = bound.moved(search, math.exp(log_factor))
    wide = in_box(search, box)
    low, high = (b[None] for b in box)
    found = relaxed(wide, [(bound.of.choice, bound.of.plans)], low, high, user)
    beside = way(wide, [dataclasses.replace(bound.of, z=np.asarray(found.z[0]), total=float(total(found)[0]))], user)
    move = Relaxation(name, math.exp(now), math.exp(now + sign * log_factor), "at_most" if bound.upper else "at_least")
    return Way(log_factor + beside.total, (move, *beside.moves))


def _buildable(search: Search, bound: Bound, least: float) -> np.ndarray:
    """What can be built of a stepped number at `least` or further out."""
    n_dies = search.space.study.choices[bound.of.choice].n_dies
    ends = (least, 2.0 * least) if bound.upper else (least / 2.0, least)
    return steps(coordinates(search.core)[bound.place], n_dies, *ends)
