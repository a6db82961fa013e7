"""Branch and bound (see `tree`) on its own, and the number of designs that its proof covers."""

from __future__ import annotations

import math

from ..core.errors import SpecError
from ..study.study import Study
from .counts import steps_of_choice
from .deadline import Deadline
from .search import Search, search_of
from .space import space_of
from .tables import tables_of
from .tree import Progress, Proof, Tree


def prove(study: Study, gap_frac: float, limit_s: float) -> Proof:
    """Branch and bound over all choices, plans and whole counts; SpecError for a gap or time that is not positive."""
    check_stop(gap_frac, limit_s)
    return Tree(tables_of(search_of(space_of(study))), gap_frac, Deadline(limit_s)).run()


def check_stop(gap_frac: float, limit_s: float) -> None:
    """Refuse a gap or a time that no search could stop at."""
    if not (gap_frac > 0 and limit_s > 0):
        raise SpecError(f"gap {gap_frac:g}, seconds {limit_s:g}: both must be positive")


def n_designs(search: Search, proof: Proof) -> float:
    """Choices times plans of every workload times whole counts inside the box."""
    plans, total = math.prod(t.n_valid for t in proof.tables), 0.0
    for i in range(len(search.space.study.choices)):
        total += plans * math.prod(len(logs) for logs in steps_of_choice(search, i))
    return total


def progress_text(p: Progress) -> str:
    """One line: time, nodes, best so far, bound, gap."""
    gap = f"gap {100 * p.gap:.2f} %" if math.isfinite(p.gap) else "no design yet"
    work = f"{p.seconds:.0f} s of proof, {p.n_nodes} groups, {p.n_open} open"
    return f"{work}, best {p.best:.5g}, bound {p.bound:.5g}, {gap}"
