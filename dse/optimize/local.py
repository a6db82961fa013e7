"""`solve_local`: a study with a user-defined goal in JAX; certified if log-log convex, else multi-start local search.

Adam with multiplier ascent from many starts on each choice; the best ends are polished by SLSQP.
Read more: [nocedal2006] chapters 17 and 18.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from ..core.errors import SpecError
from ..core.types import SOON_COMPILED, FloatLike
from ..hardware.chip import Chip
from ..lowering.plan import Plan
from ..study.convex import ConvexCore, Data, chip_at, coordinates, named_numbers, separate
from ..study.design import Choice, with_free
from ..study.metrics import State
from ..study.study import Study
from .batch import solve_batch
from .descent import run_search
from .first_order import FirstOrderResult, solve_first_order
from .reported import GAP, design_chip, unproved_terms
from .search import Candidate, Search, data_of_each, search_of, with_design
from .solution import Status
from .space import element, space_of

Goal: TypeAlias = Callable[[Mapping[str, FloatLike], State], FloatLike]
"""Goal to minimise: a positive number from the free numbers by name and the `State` of the chip."""
STEPS = 2000
"""Steps of Adam from every start."""
POLISHED = 8
"""Number of best ends polished by SLSQP."""
MISSED = 10.0
"""What missing a limit by one log unit weighs beside the log goal when ends are ranked; SLSQP then meets it."""
AGREE = 1e-3
"""Difference of log goals below which two ends count as the same optimum."""
MET = 1e-6
"""Tolerance of limits in log units, above SLSQP's rounding."""


@dataclasses.dataclass(frozen=True)
class Own:
    """The convex core of a study with a user-defined goal. Hashable, so it compiles once per goal."""

    core: ConvexCore
    goal: Goal

    def separate(self, x: Mapping[str, FloatLike], data: Data) -> tuple[FloatLike, ...]:
        """Goal and every ratio as separate outputs, for the convexity walker."""
        chip = with_free(data.chip, {n: x[n] for n in self.core.free})
        _, *ratios = separate(self.core, x, data)
        return (jnp.asarray(self.goal(x, chip_at(self.core, chip, x, data)[0])), *ratios)

    def logs(self, z: FloatLike, data: Data) -> tuple[Array, Array]:
        """Log goal and log ratios at log coordinates `z`."""
        goal, *ratios = self.separate(named_numbers(self.core, z), data)
        return jnp.log(goal), jnp.log(jnp.stack(ratios))


@dataclasses.dataclass(frozen=True)
class LocalSolution:
    """Best design found for a user-defined goal, with the number of starts that agree."""

    study: Study
    """The study; its own goal is not used as the objective."""
    status: Status
    """OPTIMAL if the goal is proved log-log convex and the gap is closed; LOCAL: no certificate."""
    goal: float
    """Best goal found; infinite if no end met the limits."""
    choice: Choice | None
    plans: tuple[Plan, ...]
    numbers: dict[str, float]
    """Free numbers and auxiliaries at the best end, counts not rounded."""
    chip: Chip | None
    """The chip of these numbers: its counts are not rounded either, which could break a limit."""
    unproved: tuple[str, ...]
    """Terms not proved log-log convex, each with the operation that breaks the rules."""
    n_starts: int
    n_agree: int
    """Number of polished ends that reached the best goal."""
    ends: tuple[float, ...]
    """Goals of the polished ends, best first."""


def solve_local(
    study: Study,
    goal: Goal,
    *,
    n_starts: int = 8,
    n_choices: int = 4,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> LocalSolution:
    """Best design found for a user-defined `goal` within the limits of `study`, by multi-start local search.

    `goal(numbers, state)`: a positive JAX scalar of the free numbers by name and the `State` of the chip. The study's
    own goal selects plans and the `n_choices` best choices; each has `n_starts` random starts. Certified
    (`Status.OPTIMAL`) only if the goal is proved log-log convex, and then for the choices and plans tried.
    SpecError: no design meets the limits, or the goal is not a positive finite scalar at such a design.
    """
    search = search_of(space_of(study), progress)
    # chosen by the study's own goal, which is a stand-in: the certificate covers these choices and plans alone
    candidates = with_design(run_search(search))[: max(n_choices, 1)]
    if not candidates:
        raise SpecError(f"study '{study.name}' has no design that meets its limits; see dse optimize")
    own = Own(search.core, goal)
    data = data_of_each(search, candidates)
    check_goal(own, candidates[0], element(data, 0))
    unproved = unproved_terms(own.core, data, own.separate)
    if not unproved:
        return convex_answer(search, own, candidates, data)
    progress(f"not proved log-log convex: {unproved[0]}")
    return local_answer(search, own, candidates, unproved, (n_starts, seed))


def check_goal(own: Own, candidate: Candidate, data: Data) -> None:
    """SpecError for a goal that is not a positive finite scalar at a feasible design."""
    value = np.asarray(own.separate(named_numbers(own.core, jnp.asarray(candidate.optimum.z)), data)[0])
    if value.shape != () or not np.isfinite(value) or value <= 0:
        raise SpecError(f"goal: got {value} of shape {value.shape}; expected one positive finite number")


def convex_answer(search: Search, own: Own, candidates: list[Candidate], data: Data) -> LocalSolution:
    """The certified optimum of a goal that is proved log-log convex."""
    lower, upper = search.box
    # the middle of the box, as in `optima`: barriers are steep near its ends
    o = solve_batch(own.logs, data, lower, upper, (lower + upper) / 2)
    goals = np.where(o.feasible, o.objective, np.inf)
    best = int(np.argmin(goals))
    # the bound decides, not the solver's own word: it holds whether or not the solve converged
    closed = bool(o.feasible[best]) and float(np.expm1(np.asarray(o.gap)[best])) <= GAP
    status = Status.OPTIMAL if closed else Status.LOCAL
    return _answer(search, candidates[best], np.asarray(o.z[best]), status, (), (len(candidates), np.sort(goals)))


def local_answer(
    search: Search, own: Own, candidates: list[Candidate], unproved: tuple[str, ...], starts: tuple[int, int]
) -> LocalSolution:
    """The best of many starts: Adam with multiplier ascent, then SLSQP from the best ends; no certificate."""
    (n_starts, seed), (lower, upper) = starts, search.box
    rng = np.random.default_rng(seed)
    # the first start is the optimum under the study's own goal, which meets the limits
    points = [np.stack([c.optimum.z, *rng.uniform(lower, upper, (n_starts, lower.size))]) for c in candidates]
    owners = np.repeat(np.arange(len(candidates)), n_starts + 1)
    picked = [candidates[i] for i in owners]
    data = data_of_each(search, picked)
    search.progress(f"{len(picked)} starts of {STEPS} steps")
    rough = jax.device_get(_ascend(own, data, lower, upper, np.concatenate(points)))
    # an end outside of the model's domain (NaN) ranks last: `argsort` must not let it win
    merit = np.nan_to_num(rough.objective + MISSED * rough.violation, nan=np.inf)
    order = np.argsort(merit)[:POLISHED]
    search.progress(f"polishing {len(order)} ends")
    ends = [polish(own, element(data, int(i)), (lower, upper), rough.z[i]) for i in order]
    goals = np.asarray([goal for _, goal in ends])
    best = int(np.argmin(goals))
    return _answer(search, picked[order[best]], ends[best][0], Status.LOCAL, unproved, (len(picked), np.sort(goals)))


@partial(jax.jit, static_argnums=0, **SOON_COMPILED)
def _ascend(own: Own, data: Data, lower: Array, upper: Array, starts: Array) -> FirstOrderResult:
    return jax.vmap(lambda d, s: solve_first_order(own.logs, d, lower, upper, s, steps=STEPS))(data, starts)


@partial(jax.jit, static_argnums=0)
def _values(own: Own, z: Array, data: Data) -> tuple[Array, Array]:
    return own.logs(z, data)


@partial(jax.jit, static_argnums=0, **SOON_COMPILED)
def _slopes(own: Own, z: Array, data: Data) -> tuple[Array, Array]:
    return jax.jacfwd(own.logs)(z, data)


def polish(
    own: Own, data: Data, box: tuple[np.ndarray, np.ndarray], start: np.ndarray
) -> tuple[Float[np.ndarray, " n"], float]:
    """SLSQP from `start` with exact derivatives: end point and its log goal, infinite if a limit is not met."""
    values = lambda z: tuple(np.asarray(x) for x in _values(own, z, data))  # noqa: E731
    slopes = lambda z: tuple(np.asarray(x) for x in _slopes(own, z, data))  # noqa: E731
    # SLSQP wants its limits at least 0, and ours are at most 0
    limits = {"type": "ineq", "fun": lambda z: -values(z)[1], "jac": lambda z: -slopes(z)[1]}
    # SLSQP may step outside or end where a limit is missed by rounding: its start, if that meets all, is kept beside
    inside = np.clip(start, *box)
    done = minimize(
        lambda z: float(values(z)[0]), inside, jac=lambda z: slopes(z)[0], method="SLSQP",
        bounds=list(zip(*box, strict=True)), constraints=[limits], options={"maxiter": 200, "ftol": 1e-12},
    )  # fmt: skip
    # judged by values of our own, not by SLSQP's word that it succeeded
    ends = [(z, *values(z)) for z in (np.clip(done.x, *box), inside)]
    met = [(z, float(f)) for z, f, g in ends if np.isfinite(f) and g.max() <= MET]
    return min(met, key=lambda end: end[1]) if met else (inside, math.inf)


def _answer(
    search: Search, candidate: Candidate, z: np.ndarray, status: Status, unproved: tuple[str, ...],
    found: tuple[int, np.ndarray],
) -> LocalSolution:  # fmt: skip
    study, (n_starts, goals) = search.space.study, found
    # sorted, so that no end met the limits where the first did not
    if not np.isfinite(goals[0]):
        return LocalSolution(study, Status.LOCAL, math.inf, None, (), {}, None, unproved, n_starts, 0, ())
    optimum = eqx.tree_at(lambda o: o.z, candidate.optimum, z)
    chip = design_chip(search, dataclasses.replace(candidate, optimum=optimum), whole=False)
    plans = tuple(kept[i] for kept, i in zip(search.space.plans, candidate.plan_index, strict=True))
    numbers = dict(zip(coordinates(search.core), np.exp(z).tolist(), strict=True))
    agree = int(np.sum(goals <= goals[0] + AGREE))
    ends = tuple(float(x) for x in np.exp(goals))
    return LocalSolution(
        study, status, ends[0], study.choices[candidate.choice_index], plans, numbers, chip, unproved, n_starts,
        agree, ends,
    )  # fmt: skip
