"""What-if analysis: the study re-solved with each limit loosened by 10 % or removed, beside its local price."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from ..core.free import Free
from ..study.convex import Kind
from ..study.metrics import Limit
from ..study.study import Study
from .deadline import Deadline
from .search import run_search, search_of
from .solution import LimitReport, WhatIf
from .space import Space, relative, space_of

MOVED = 1.1
"""A limit is moved by this factor, to the side that loosens it."""
DROPPED = 1e6
"""A limit this much looser is none; the problem keeps its form, so that nothing compiles anew."""


def what_if(
    study: Study, reports: tuple[LimitReport, ...] = (), space: Space | None = None,
    progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None,
) -> tuple[WhatIf, ...]:  # fmt: skip
    """Goal of a study with each limit 10 % looser, and without it, over all choices, with continuous counts.

    Of `reports`, bounds of free numbers that cost something are moved too, but not dropped.
    """
    space, deadline = space or space_of(study), deadline or Deadline()

    def goal(changed: Study) -> float:
        return math.exp(run_search(search_of(relative(space, changed), deadline=deadline))[0].log_goal)

    now, found = goal(study), []
    for i, limit in enumerate(study.limits):
        if deadline.over(f"{len(study.limits) - i} of {len(study.limits)} limits were not moved"):
            return tuple(found)
        progress(f"without {limit.name}")
        moved, dropped = (goal(with_limit(study, i, loosened(limit, by))) for by in (MOVED, DROPPED))
        found.append(WhatIf(limit.metric, limit.sense, limit.value, now, moved, dropped))
    bounds = [x for x in reports if x.kind is Kind.BOUND and x.name in {f.name for f in study.free}]
    for k, x in enumerate(bounds):
        if deadline.over(f"{len(bounds) - k} of {len(bounds)} bounds were not moved"):
            break
        progress(f"with a wider {x.name}")
        found.append(WhatIf(x.name, x.sense, x.limit, now, goal(widened(study, x)), None))
    return tuple(found)


def loosened(limit: Limit, factor: float) -> Limit:
    """A limit looser by a factor."""
    return dataclasses.replace(limit, value=limit.value * factor if limit.sense == "at_most" else limit.value / factor)


def with_limit(study: Study, i: int, limit: Limit) -> Study:
    """The study with its limit `i` replaced."""
    return dataclasses.replace(study, limits=(*study.limits[:i], limit, *study.limits[i + 1 :]))


def widened(study: Study, bound: LimitReport) -> Study:
    """The study with one bound of a free number moved outwards."""

    def wider(f: Free) -> Free:
        if f.name != bound.name:
            return f
        return (
            Free(f.name, f.lower, f.upper * MOVED)
            if bound.sense == "at_most"
            else Free(f.name, f.lower / MOVED, f.upper)
        )

    return dataclasses.replace(study, free=tuple(wider(f) for f in study.free))
