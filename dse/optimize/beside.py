"""What is asked beside a design: goals with other limits, and the range of every number near the optimum."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from .deadline import Deadline
from .near import near
from .solution import Solution
from .whatif import what_if


def with_more(
    solution: Solution, what_ifs: bool, near_frac: float, limit_s: float, tell: Callable[[str], None]
) -> Solution:
    """The solution with both where asked; Ctrl-C ends that, but loses nothing that was found before."""
    more, found = Deadline(limit_s), {}
    try:
        if what_ifs:
            found["what_ifs"] = what_if(solution.study, solution.limits, progress=tell, deadline=more)
        if near_frac > 0 and solution.chip is not None:
            found["near"] = near(solution.study, solution.goal, near_frac, progress=tell, deadline=more)
    except KeyboardInterrupt:
        found["stopped"] = True
    return dataclasses.replace(solution, **found, unfinished=(*solution.unfinished, *more.undone))
