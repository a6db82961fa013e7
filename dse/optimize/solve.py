"""`solve`: search, branch and bound, prices and certificate of a study, or the least relaxation if infeasible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..core.program import meanwhile
from ..core.takes import takes
from ..study.convex import Data
from ..study.study import Study
from .deadline import Deadline, check_stop
from .descent import run_search
from .relax import relaxations
from .reported import alternatives_of, overall, report_of, unproved_terms
from .search import Candidate, Search, search_from, solve_points
from .solution import Solution, Status
from .space import Space, every_coefficient, prepare_prices, space_of, with_plans
from .tables import Tables, prepare_hulls, tables_of
from .tree import Proof, Tree, progress_text

GAP_FRAC = 1e-3
"""Default relative gap at which branch and bound stops."""
LIMIT_S = 60.0
"""Default time limit, without compilation."""


@takes(study=Study)
def solve(
    study: Study,
    progress: Callable[[str], None] = lambda _: None,
    space: Space | Search | None = None,
    *,
    gap_frac: float = GAP_FRAC,
    limit_s: float = LIMIT_S,
    may_stop: bool = False,
) -> Solution:
    """The best design with whole counts, with certificate and prices of limits; or, if infeasible, what to relax.

    `gap_frac`: relative optimality gap at which branch and bound stops; `limit_s`: its time limit, after the continuous
    search, which has as much and at least `LIMIT_S`. `space`: the lowered study or a search of it, if available;
    `progress` gets text.
    `may_stop`: Ctrl-C during branch and bound ends it with the best design so far, `stopped`, instead of being raised.
    Prices are those of the continuous optimum of the same choice and plans. SpecError: gap or time not positive.
    """
    check_stop(gap_frac, limit_s)
    search = search_from(space or space_of(study), progress, Deadline(max(limit_s, LIMIT_S)))
    # compiled in threads; until the solver is, nothing can be searched, and the host lowers what the proof needs
    meanwhile(lambda: prepare_hulls(search))
    # of all plans, not of those kept: a proof must cover what the search never looked at
    tables = tables_of(search)
    meanwhile(lambda: prepare_prices(search.space, tables.every))
    candidates = run_search(search)
    chips = [c for c in candidates if c.log_goal < np.inf]
    tree = Tree(tables, gap_frac, Deadline(limit_s), lambda p: progress(progress_text(p, limit_s)), may_stop=may_stop)
    proof = tree.run(chips)
    if proof.best is None:
        every = every_coefficient(search.space, tables.every)
        roomy = dataclasses.replace(search, space=with_lean_plans(search.space, tables))
        return without_design(roomy, candidates, proof, every)
    plans = tuple(t.plans[k] for t, k in zip(proof.tables, proof.best.plan_index, strict=True))
    # the proof may end at plans that the search had left out: they join behind the others, whose places stay
    # `seen` is copied, since a caller's own space may lack the plans of points solved below
    search = dataclasses.replace(search, space=with_plans(search.space, plans), seen=dict(search.seen))
    index = tuple(kept.index(p) for kept, p in zip(search.space.plans, plans, strict=True))
    best = Candidate(proof.best.choice_index, index, proof.best.optimum)
    # prices are slopes at the continuous optimum of the same choice and plans, which must be there
    known = search.seen.get((best.choice_index, index))
    if known is None or not bool(known.optimum.converged):
        solve_points(search, [(best.choice_index, index)])
    progress("proving that every term is log-log convex")
    # convexity is proved of every coefficient that a bound rests on, not of the answer's alone
    every = every_coefficient(search.space, tables.every)
    found = report_of(search, best, search.seen[best.choice_index, index], every, overall(search, proof))
    return dataclasses.replace(found, stopped=proof.stopped)


@takes(study=Study)
def solve_continuous(
    study: Study, progress: Callable[[str], None] = lambda _: None, space: Space | Search | None = None,
    *, limit_s: float = LIMIT_S,
) -> Solution:  # fmt: skip
    """As `solve`, with continuous counts of cores and stacks: faster, and a bound on designs that can be built.

    The certificate holds for the plans found; if time ran out, `unfinished` says what was not tried.
    """
    search = search_from(space or space_of(study), progress, Deadline(limit_s))
    best = run_search(search)[0]
    if best.log_goal == np.inf:
        return solve(study, progress, search.space, limit_s=limit_s)
    found = report_of(search, best, best, every_coefficient(search.space))
    left = tuple(search.deadline.undone)
    return dataclasses.replace(found, status=Status.UNFINISHED, unfinished=left) if left else found


def with_lean_plans(space: Space, tables: Tables) -> Space:
    """The space with the plans that need the least memory of all: a search for the fastest may have left them out."""
    for k in range(len(space.structures)):
        least = [int(np.argmin(np.asarray(d.memory_B)[k])) for d in tables.every]
        plans = tuple(t.plans[i] for t, i in zip(tables.of_workloads, least, strict=True))
        if any(p not in kept for p, kept in zip(plans, space.plans, strict=True)):
            space = with_plans(space, plans)
    return space


def without_design(search: Search, candidates: list[Candidate], proof: Proof, every: Data) -> Solution:
    """Solution without a design: infeasible if proved, else unfinished; with relaxations either way."""
    known = proof.infeasible and not unproved_terms(search.core, every)
    return Solution(
        study=search.space.study, status=Status.INFEASIBLE if known else Status.UNFINISHED, goal=float("inf"),
        choice=None, chip=None, continuous={}, silicon=None, workloads=(), limits=(), certificate=None,
        alternatives=alternatives_of(search), relaxations=relaxations(search, candidates),
    )  # fmt: skip
