"""A study solved to a gap that holds for every design: the search of `optimize`, and a proof over all that is discrete.

The proof bounds groups of designs until none can be better than the best found by more than the gap (see `tree`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from ..core.errors import SpecError
from ..study.study import Study
from .search import Candidate, Search
from .solution import Alternative, Overall, Solution
from .solve import report_of, solve
from .space import Space
from .tree import Progress, Proof, Tables, Tree


def prove(study: Study, gap_frac: float, limit_s: float, tell: Callable[[Progress], None] = lambda _: None) -> Proof:
    """Branch and bound over all choices, plans and whole counts of a study.

    Args:
        study: goal, limits, free numbers and choices.
        gap_frac: relative gap at which to stop.
        limit_s: time after which to stop with the gap reached.
        tell: told where the search stands after every batch.

    Raises:
        SpecError: a gap or time that is not positive.
    """
    if not (gap_frac > 0 and limit_s > 0):
        raise SpecError(f"gap {gap_frac:g}, seconds {limit_s:g}: both must be positive")
    return Tree(Tables(Search(Space(study))), gap_frac, limit_s, tell).run()


def solve_exact(
    study: Study, gap_frac: float, limit_s: float, progress: Callable[[str], None] = lambda _: None
) -> Solution:
    """As `optimize.solve`, with the best design of all and the gap of its proof in `certificate.overall`."""
    proof = prove(study, gap_frac, limit_s, lambda p: progress(progress_text(p)))
    if proof.best is None:
        return solve(study, progress)
    plans = tuple(t.plans[k] for t, k in zip(proof.tables, proof.best.plan_index, strict=True))
    space = Space(study, also=plans)
    search = Search(space, progress)
    index = tuple(p.index(own) for p, own in zip(space.plans, plans, strict=True))
    search.run()
    search.solve([(i, index) for i in range(len(study.choices))])
    candidates = sorted(search.leaders(), key=lambda c: c.log_goal)
    best = Candidate(proof.best.choice_index, index, proof.best.optimum)
    rounded = None if proof.finished else search.rounded(candidates)
    if rounded is not None and rounded.log_goal < best.log_goal:  # a proof out of time may not have met a good design
        best = rounded
    own = search.seen[(best.choice_index, best.plan_index)]
    alternatives = tuple(Alternative(study.choices[c.choice_index], math.exp(c.log_goal)) for c in candidates)
    solution = report_of(search, best, own, candidates[0], alternatives)
    assert solution.certificate is not None
    last = proof.log[-1]
    gap = math.exp(best.log_goal) / last.bound - 1.0 if last.bound > 0 else math.inf
    overall = Overall(last.bound, min(last.gap, gap), last.n_nodes, n_designs(search, proof), last.seconds)
    return dataclasses.replace(solution, certificate=dataclasses.replace(solution.certificate, overall=overall))


def n_designs(search: Search, proof: Proof) -> float:
    """Choices times plans of every workload times whole counts inside the box."""
    plans, total = math.prod(t.n_valid for t in proof.tables), 0.0
    for i in range(len(search.space.study.choices)):
        total += plans * math.prod(len(logs) for logs in search.steps(i))
    return total


def progress_text(p: Progress) -> str:
    """One line: time, nodes, best so far, bound, gap."""
    gap = f"gap {100 * p.gap:.2f} %" if math.isfinite(p.gap) else "no design yet"
    return f"{p.seconds:.0f} s, {p.n_nodes} nodes, {p.n_open} open, best {p.best:.5f}, bound {p.bound:.5f}, {gap}"
