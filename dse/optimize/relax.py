"""Relaxations of an infeasible study: the least change of user limits and bounds, or else of technology limits.

Also by the bound of one free number, perhaps together with looser limits and promises.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from ..study.convex import Kind, coordinates
from ..study.design import STEPPED, steps
from .counts import steps_of_choice
from .loosen import NONE, SMALLEST, TRIED, Way, broken, way
from .pricing import SAME
from .promises import FURTHEST, Broken, relaxed, rows_to_loosen, total
from .search import Candidate, Search, in_box, n_choices
from .solution import Relaxation

BESIDE = 8
"""Choices and plans whose bounds are widened."""
FACTORS = 16
"""Widenings of one bound tried at once; the neighbours of the best are the ends of the next."""
ZOOMS = 3
"""Times that is done: the last steps are half a percent apart."""


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
    """The least widening of one free number, limits and promises loosened beside it where that takes less in all."""
    if not (bounds := _that_help(search, known, user)):
        return NONE
    least = _least_factors(search, bounds, user)
    ways = [_whole(search, b, x, user) for b, x in zip(bounds, least, strict=True)]
    return min(ways, key=lambda w: w.total)


def _move(search: Search, bound: Bound, log_factor: float) -> Relaxation:
    """A bound that moves, as a limit that does."""
    sign, sense = (1.0, "at_most") if bound.upper else (-1.0, "at_least")
    name, now = coordinates(search.core)[bound.place], float(search.box[int(bound.upper)][bound.place])
    return Relaxation(name, math.exp(now), math.exp(now + sign * log_factor), sense)


def _that_help(search: Search, known: Sequence[Broken], user: Bool[np.ndarray, " m"]) -> list[Bound]:
    """The bounds without which limits have to be loosened least, those that help at all."""
    free = range(len(search.core.free))
    asked = [Bound(b, i, up) for b, i, up in itertools.product(known[:BESIDE], free, (False, True))]
    left = _needed(search, asked, np.full(len(asked), math.log(FURTHEST)), user)
    order = np.argsort(left, kind="stable")
    helps = [i for i in order if left[i] < asked[i].of.total - SMALLEST]
    return [asked[i] for i in helps[:TRIED]]


def _least_factors(search: Search, bounds: list[Bound], user: Bool[np.ndarray, " m"]) -> list[float]:
    """Move of each bound that minimises it plus the remaining relaxation of limits, by grid search [log units]."""
    low, high = np.zeros(len(bounds)), np.full(len(bounds), math.log(FURTHEST))
    rows, best = np.arange(len(bounds)), high
    for _ in range(ZOOMS):
        # a line search without slopes, all moves side by side: a batch takes little longer than its slowest problem
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
    return total(relaxed(search, [(b.of.choice_index, b.of.plan_index) for b in bounds], lower, upper, user))


def _whole(search: Search, bound: Bound, log_factor: float, user: Bool[np.ndarray, " m"]) -> Way:
    """Least relaxation that moves one bound of a free number, with whole counts."""
    place = bound.place
    sign, now = 1.0 if bound.upper else -1.0, float(search.box[int(bound.upper)][place])
    if coordinates(search.core)[place] in STEPPED:  # the next that can be built
        value = _next_built(search, bound.of.choice_index, place, math.exp(now + sign * log_factor), bound.upper)
        if value is None:
            return NONE
        log_factor = sign * (math.log(value) - now)
    box = bound.moved(search, math.exp(log_factor))
    # with the steps of the wider box, or the bound that moved would admit no new count
    wide = in_box(search, box)
    low, high = (b[None] for b in box)
    found = relaxed(wide, [(bound.of.choice_index, bound.of.plan_index)], low, high, user)
    beside = way(wide, [dataclasses.replace(bound.of, z=np.asarray(found.z[0]), total=float(total(found)[0]))], user)
    return Way(log_factor + beside.total, (_move(search, bound, log_factor), *beside.moves))


def _next_built(search: Search, choice: int, place: int, least: float, upper: bool) -> float | None:
    """What can be built of a stepped number at `least` or next to it further out, where its bound is moved there."""
    name, n_dies = coordinates(search.core)[place], search.space.study.choices[choice].n_dies
    if upper:
        lower = max(math.exp(search.box[0][place]), least / FINE)
        ends = (least * 2.0, least * FURTHEST)  # only few steps are further away than twice as far
        beyond = (x for end in ends for x in steps(name, n_dies, lower, end).tolist() if x >= least * (1 - SAME))
        return next(beyond, None)
    near = steps(name, n_dies, least / FURTHEST, least).tolist()
    # a lower bound decides how fine steps are: what fits the box around `least` may be no step once it has moved
    return next((x for x in reversed(near) if steps(name, n_dies, x, x).size), None)


FINE = 512.0
"""Steps as fine as this share of a number are told apart: all of them would be too many to list."""


DIE = "die_mm2"
"""The coordinate whose box has room for twice the reticle, and for more where that is loosened."""
STEP = "step"
"""The row that makes a step as long as it takes, which nobody can loosen."""


def relaxations(search: Search, candidates: list[Candidate]) -> tuple[Relaxation, ...]:
    """The least loosening found that gives a design with whole counts, of what the user set, or else of what is no law.

    User limits and promises come first, or the bound of one free number; then memory, reticle and shoreline, as shares
    of what is allowed. Choices and plans are those that the search has seen, the plans that need the least memory, and
    those that miss promises least.
    """
    if missing := without_steps(search):
        beside = relaxations(in_box(search, moved(search, missing)), candidates)
        again = {r.name for r in beside}  # a bound moved one way is not needed where the other is moved too
        return (*(r for r in missing if r.name not in again), *beside)
    user = rows_to_loosen(search, lambda r: r.kind is Kind.USER)
    known = broken(search, candidates, user)
    counted = known if len(buildable(search)) == n_choices(search) else built(search, candidates, user)
    found = min(way(search, counted, user), widened_way(search, known, user), key=lambda w: w.total)
    # what the user asked for cannot be had at any price: what the technology allows is in the way
    if not math.isfinite(found.total):
        lawful = rows_to_loosen(search, lambda r: r.kind is not Kind.LAW and r.what != STEP)
        reticle = math.exp(search.box[1][coordinates(search.core).index(DIE)])
        roomy = in_box(search, moved(search, [Relaxation(DIE, reticle, reticle * FURTHEST)]))
        found = way(roomy, built(roomy, candidates, lawful), lawful)
    return found.moves


def buildable(search: Search) -> set[int]:
    """Choices that have whole counts in the box."""
    return {i for i in range(n_choices(search)) if all(map(len, steps_of_choice(search, i)))}


def built(search: Search, candidates: list[Candidate], loose: np.ndarray) -> list[Broken]:
    """`broken` of choices with whole counts in the box: five stacks on two dies must not hide what one needs."""
    able = buildable(search)
    known = broken(search, [c for c in candidates if c.choice_index in able], loose)
    return [b for b in known if b.choice_index in able]


def without_steps(search: Search) -> tuple[Relaxation, ...]:
    """The least widening of boxes that gives every stepped number of some choice one that can be built; often none."""
    found = []
    for i in range(n_choices(search)):
        needed = []
        for place, logs in zip(search.integer_places, steps_of_choice(search, i), strict=True):
            if not len(logs):
                name, (low, high) = coordinates(search.core)[place], (float(np.exp(b[place])) for b in search.box)
                ends = ((low, "at_least"), (high, "at_most"))
                near = [(now, _next_built(search, i, place, now, s == "at_most"), s) for now, s in ends]
                needed.append(min((Relaxation(name, now, x, s) for now, x, s in near if x is not None), key=factor))
        found.append(tuple(needed))
    return min(found, key=lambda moves: sum(map(factor, moves)))


def moved(search: Search, bounds: Sequence[Relaxation]) -> tuple[np.ndarray, np.ndarray]:
    """The box with bounds of free numbers moved."""
    lower, upper = (b.copy() for b in search.box)
    for r in bounds:
        (upper if r.sense == "at_most" else lower)[coordinates(search.core).index(r.name)] = math.log(r.needed)
    return lower, upper


def factor(r: Relaxation) -> float:
    """How far a limit moves [log units]."""
    return abs(math.log(r.needed / r.limit))
