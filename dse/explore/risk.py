"""`risk`: a study re-optimised under many random draws of its uncertain facts, one certified solve per draw.

Choice and plans come from the few best candidates of a pilot; free numbers are re-optimised in every draw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float, Int

from ..core.counts import check_count
from ..core.errors import SpecError
from ..core.files import MOST_WHOLE
from ..core.program import meanwhile
from ..core.takes import takes
from ..optimize.batch import prepare_batch
from ..optimize.deadline import Deadline
from ..optimize.descent import run_search
from ..optimize.pricing import Plans
from ..optimize.search import Candidate, Search, n_choices, search_of, solve_points, with_design
from ..optimize.space import Space, space_of
from ..study.convex import coordinates, model_of, ratio_rows
from ..study.metrics import DELIVERED
from ..study.study import Study
from .outcome import Outcomes, Risk
from .remedy import check_target
from .samples import MOST_DRAWS, SETTINGS, Samples, solve_in_turn
from .unknowns import Draw, Unknown, draw, unknowns

TARGET = 6.0
"""Default target speed-up: the announced one of the chip after Trainium3."""
PILOT_SAMPLES, PILOT_CANDIDATES = 64, 24
"""Draws and candidates of the pilot that chooses the candidates."""


@dataclasses.dataclass(frozen=True)
class Known:
    """Results of an earlier search of the same study, for a fast answer; slightly pessimistic: plans are fixed."""

    space: Space
    plans: Plans
    """Plans of its best design, used for every choice."""
    pilot: tuple[int, int] = (16, 8)


KEPT_CANDIDATES = 4
"""Candidates solved under every draw."""
LOST = 3.0
"""Log goal of a draw without a design in the pilot's mean: a twentyfold slower chip."""


@takes(study=Study)
def risk(
    study: Study, n: int = 1000, seed: int = 0, *, target: float | None = None, known: Known | None = None,
    progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None,
) -> Risk:  # fmt: skip
    """Distribution of a study's optimal design and outcome over `n` draws of its uncertain facts, and its drivers.

    `target`: speed-up to reach, default 6, for the goal `delivered_time` only; `known`: an earlier search; `deadline`:
    stops with the draws solved so far. Counts of cores and stacks are continuous.
    SpecError: fewer than two samples, no feasible design, a target not positive or not applicable to the goal.
    """
    check_count("samples", n, 2, MOST_DRAWS)
    check_count("seed", seed, 0, MOST_WHOLE)
    check_target(study, target)
    # `wanted`: what loses at the receipts' values may win in other worlds
    search = search_of(known.space if known else space_of(study), progress, deadline, wanted=np.inf)
    meanwhile(lambda: _prepare_draws(search))
    every = solve_points(search, [(i, known.plans) for i in range(n_choices(search))]) if known else run_search(search)
    if not (found := with_design(every)):
        raise SpecError(f"study '{study.name}' has no design at the receipts' values; see dse optimize")
    what = unknowns(study)
    kept, loss = pilot(search, what, seed, *(known.pilot if known else (PILOT_SAMPLES, PILOT_CANDIDATES)))
    drawn = draw(what, n, seed)
    progress(f"{n} samples under {len(kept)} candidates")
    outcomes = reoptimise(search, kept, drawn)
    drawn = drawn.rows(np.arange(len(outcomes.goal)))
    goal = TARGET if study.goal == DELIVERED and target is None else target
    return Risk(
        study, seed, goal, tuple(kept), loss, math.exp(found[0].log_goal), coordinates(search.core), drawn, outcomes,
        tuple(search.deadline.undone),
    )  # fmt: skip


def _prepare_draws(search: Search) -> None:
    """Compile the program that solves draws ahead."""
    samples = Samples(search, draw(unknowns(search.space.study), 2, 0))
    data = jax.tree.map(lambda x: x[0], samples.data(0, tuple(0 for _ in search.space.plans)))
    prepare_batch(model_of(search.core), data, len(coordinates(search.core)), settings=SETTINGS)


def pilot(
    search: Search, what: tuple[Unknown, ...], seed: int, n: int, n_candidates: int
) -> tuple[list[Candidate], float]:
    """Candidates to solve under every draw, selected greedily by the pilot's mean log goal, and their mean loss in it.

    Without time for a pilot: the best candidate at the receipts' values, and a loss of NaN.
    """
    known = with_design(search.seen.values())
    if search.deadline.over("choices and plans but the best at the receipts' values"):
        return known[:1], math.nan
    known = known[:n_candidates]
    # other draws than those of the answer: what is judged by a sample must not be chosen by it
    drawn = draw(what, n, seed + 1)
    search.progress(f"pilot: {len(known)} choices under {n} draws")
    # a draw without a design counts as very bad: as infinitely bad, one of them would decide alone
    logs = np.minimum(solve_all_draws(search, known, drawn).log_goals, LOST)
    kept: list[int] = []
    best = np.full(logs.shape[1], LOST)
    while len(kept) < min(KEPT_CANDIDATES, len(known)):
        # in logs: the mean of goals would be that of the worst draws
        means = np.minimum(best, logs).mean(axis=1)
        pick = int(np.argmin(means))
        if kept and means[pick] >= best.mean():
            break
        kept.append(pick)
        best = np.minimum(best, logs[pick])
    # against every candidate in every draw: what leaving the others out may cost
    return [known[i] for i in kept], float(best.mean() - logs.min(axis=0).mean())


@dataclasses.dataclass(frozen=True)
class Solved:
    """Optima of every candidate under every draw, or the first draws if time was up; c candidates, n draws."""

    log_goals: Float[np.ndarray, "c n"]
    z: Float[np.ndarray, "c n v"]
    dearest: Int[np.ndarray, "c n"]
    """Row of the limit with the highest price."""


def solve_all_draws(search: Search, candidates: list[Candidate], drawn: Draw) -> Solved:
    """Certified optimum of every candidate under every draw, all in batches of one compiled shape."""
    samples, n_candidates = Samples(search, drawn), len(candidates)
    # draw by draw with all candidates together: where time ends, the draws that are done are complete
    parts = [(samples.data(c.choice_index, c.plan_index), *samples.box(c.choice_index)) for c in candidates]
    by_draw = jax.tree.map(lambda *xs: np.stack(xs, axis=1).reshape(-1, *np.shape(xs[0])[1:]), *parts)
    draws = np.repeat(np.arange(drawn.n), n_candidates)
    o, n = solve_in_turn(model_of(search.core), (draws, *by_draw), drawn.n, search.deadline, search.progress)

    def table(x: np.ndarray) -> np.ndarray:
        return np.moveaxis(x[: n * n_candidates].reshape(n, n_candidates, *x.shape[1:]), 1, 0)

    logs = np.where(o.feasible, o.objective, np.inf)
    return Solved(table(logs), table(np.asarray(o.z)), table(np.argmax(o.multipliers, axis=1)))


def reoptimise(search: Search, candidates: list[Candidate], drawn: Draw) -> Outcomes:
    """The best candidate's design under every draw, or the first draws if time was up."""
    solved = solve_all_draws(search, candidates, drawn)
    # the maker sees the facts before choosing the chip: of `robust` designs one is built for all draws
    winner = np.argmin(solved.log_goals, axis=0)
    every = np.arange(len(winner))
    best = solved.log_goals[winner, every]
    design = np.where(np.isfinite(best)[:, None], np.exp(solved.z[winner, every]), np.nan)
    rows = ratio_rows(search.core)
    # where no design is feasible, the solver weighs excesses only: the dearest limit is the most in the way
    stuck = tuple(rows[i].label for i in solved.dearest[0, np.isinf(best)])
    return Outcomes(np.exp(best), np.exp(solved.log_goals), solved.z, winner, design, stuck)
