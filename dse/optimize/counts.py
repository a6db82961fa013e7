"""Allowed values of stepped numbers (cores, stacks, SRAM, ...) near a continuous point, on the dies of a choice."""

from __future__ import annotations

import itertools

import numpy as np

from .pricing import SAME
from .search import Candidate, Search


def steps_of_choice(search: Search, choice_index: int) -> list[np.ndarray]:
    """Logs of what can be built of each stepped number on the dies of a choice, inside the box."""
    n_dies = search.space.study.choices[choice_index].n_dies
    return search.steps_by_dies[n_dies]


def fixed_boxes(search: Search, values: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """The box once per entry of `values`, with stepped numbers fixed to it (an empty box fixes a coordinate)."""
    lower, upper = (np.repeat(b[None], len(values), axis=0) for b in search.box)
    # a coordinate with equal ends is fixed: one program solves with any of the counts held
    lower[:, search.integer_places] = upper[:, search.integer_places] = np.asarray(values).reshape(len(values), -1)
    return lower, upper


def neighbours(search: Search, candidate: Candidate) -> list[tuple[float, ...]]:
    """As `around`, of a candidate."""
    return around(search, candidate.choice_index, np.asarray(candidate.optimum.z))


def around(search: Search, choice_index: int, z: np.ndarray) -> list[tuple[float, ...]]:
    """Logs of what can be built on both sides of each stepped number of `z`; nearest combination first."""
    places, options = search.integer_places, []
    for i, logs in zip(places, steps_of_choice(search, choice_index), strict=True):
        # a number on a step, but for rounding, is between that step and the next
        above = int(np.searchsorted(logs, float(z[i]) + SAME, side="right"))
        options.append(logs[max(above - 1, 0) : above + 1].tolist())
    # two steps of each stepped number, and of those there are five: 32 corners at most
    near = itertools.product(*options)
    # in logs, as the solver sees them: a core more of ten is as far as ten of a hundred
    return sorted(near, key=lambda v: sum(abs(x - float(z[i])) for x, i in zip(v, places, strict=True)))


def beside(search: Search, choice_index: int, values: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Logs of what can be built one step from `values` in each stepped number, `values` left out."""
    options = []
    for x, logs in zip(values, steps_of_choice(search, choice_index), strict=True):
        # values are steps but for rounding, so that the nearest one is their own
        at = int(np.argmin(np.abs(logs - x)))
        options.append(logs[max(at - 1, 0) : at + 2].tolist())
    return [v for v in itertools.product(*options) if v != values]
