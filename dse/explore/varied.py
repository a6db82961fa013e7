"""Other plans for the best designs under several sets of limits: winners of the others, then one changed at a time.

Plans and chips improved in turn stop where each fits the other; both together may still be better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..optimize.batch import solve_batch
from ..optimize.descent import swapped
from ..optimize.pricing import SAME, Plans
from ..optimize.search import Candidate, Search
from ..optimize.space import batch_of, element
from ..study.convex import model_of
from .samples import CHUNK, SETTINGS


def varied(search: Search, best: Sequence[Candidate], limits: np.ndarray) -> list[Candidate]:
    """Each of `best`, or what is better under its row of `limits`, shape (len(best), n_limits)."""
    feasible = [c for c in best if c.log_goal < np.inf]
    choices, won = dict.fromkeys(c.choice_index for c in feasible), dict.fromkeys(c.plan_index for c in feasible)
    # a few choices and the plans of a few winners: all with all is one batch
    crossed = [(i, p) for i in choices for p in won]
    found = list(best)
    for k, c in enumerate(best):
        if search.deadline.over(f"other plans for {len(best) - k} of {len(best)} designs"):
            break
        found[k] = _descended(search, _better(search, c, crossed, limits[k]), limits[k])
        search.progress(f"{k + 1} of {len(best)} designs under other plans")
    return found


def _descended(search: Search, best: Candidate, limits: np.ndarray) -> Candidate:
    """`best` with the plan of one workload changed at a time, until no change makes it better."""
    while best.log_goal < np.inf:
        found = _better(search, best, swapped(search.space, best.choice_index, best.plan_index), limits)
        if found is best:
            break
        best = found
    return best


def _better(search: Search, best: Candidate, tries: Sequence[tuple[int, Plans]], limits: np.ndarray) -> Candidate:
    """The best of `tries` (choice and plans) if it beats `best`."""
    if not tries:
        return best
    lower, upper = (np.repeat(b[None], len(tries), axis=0) for b in search.box)
    batch = batch_of(search.space, [i for i, _ in tries], [p for _, p in tries])
    data = dataclasses.replace(batch, limits=np.repeat(limits[None], len(tries), axis=0))
    args = (model_of(search.core), data, lower, upper, (lower + upper) / 2)
    solved = solve_batch(*args, settings=SETTINGS, size=CHUNK)
    found = [Candidate(i, p, element(solved, k)) for k, (i, p) in enumerate(tries)]
    won = min(found, key=lambda c: c.log_goal)
    return won if won.log_goal < best.log_goal - SAME else best
