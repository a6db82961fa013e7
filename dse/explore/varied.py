"""Other plans for the best designs under several sets of limits: winners of the others, then one changed at a time.

Plans and chips improved in turn stop where each fits the other; both together may still be better.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..optimize.descent import local_search
from ..optimize.pricing import SAME, Plans
from ..optimize.search import Candidate, Search, solved


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
        better = partial(_better, search, limits[k])
        found[k] = local_search(search.space, better(c, crossed), better, lambda c: c.log_goal)
        search.progress(f"{k + 1} of {len(best)} designs under other plans")
    return found


def _better(search: Search, limits: np.ndarray, best: Candidate, tries: Sequence[tuple[int, Plans]]) -> Candidate:
    """The best of `tries` (choice and plans) under a row of limits if it beats `best`."""
    rows = np.repeat(limits[None], len(tries), axis=0)
    found = solved(search, tries, np.full(len(tries), best.log_goal), limits=rows)
    won = min(found, key=lambda c: c.log_goal, default=best)
    return won if won.log_goal < best.log_goal - SAME else best
