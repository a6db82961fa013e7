"""`remedy`: the least change of technology or budgets with which a study reaches a target speed-up.

Levers may improve up to the good end of their receipts' ranges (budgets: by up to `WIDEST`), each alone or all
together with the least total change in log units.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import minimize

from ..core.errors import SpecError
from ..optimize.batch import WIDTH, solve_batch
from ..optimize.deadline import Deadline
from ..optimize.descent import run_search
from ..optimize.interior import Optimum
from ..optimize.search import Candidate, Search, search_of
from ..optimize.space import element, space_of, stack
from ..study.convex import all_strict, model_of
from ..study.metrics import DELIVERED
from ..study.study import Study
from .sensitivity import STRIDE, Parameter, Sensitivity
from .world import Given, Moved, flat_world

WIDEST = 16.0
"""Largest factor by which a budget may be loosened."""
LEVERS = 12
"""Number of facts tried besides the budgets: those with the largest effect on the goal over their ranges."""
LEAST = 1e-3
"""Smaller changes count as zero [log units]."""
STARTS = (1.0, 0.5, 0.0)
"""Starting points of SLSQP, as shares of the widest change; the least feasible result counts."""
STEPS = 100
"""Most steps of SLSQP."""
MET = 1e-6
"""Tolerance of constraints in log units, above SLSQP's rounding."""
TURNS = 8
"""Most rounds in which harmful levers are reset, or tried again."""


@dataclasses.dataclass(frozen=True)
class Lever:
    """One number that may improve: a fact of technology or a budget."""

    name: str
    value: float
    """Present value, canonical unit."""
    end: float
    """The good end of its range."""
    alone: float
    """Value needed if nothing else changes; NaN if the good end does not suffice or time was up."""
    together: float
    """Value in the least change of all levers together; NaN if none was found that suffices."""

    @property
    def alone_frac(self) -> float:
        """`alone` over the present value."""
        return self.alone / self.value

    @property
    def together_frac(self) -> float:
        """`together` over the present value."""
        return self.together / self.value

    @property
    def changes(self) -> bool:
        """Whether it is part of the least change of all levers together."""
        return math.isfinite(self.together) and abs(math.log(self.together_frac)) > LEAST


@dataclasses.dataclass(frozen=True)
class Remedy:
    """Least changes with which a study reaches a target speed-up, at its best discrete choice and plans."""

    study: Study
    speedup: float
    delivered: float
    """Delivered speed-up of the study as it is."""
    candidate: Candidate
    levers: tuple[Lever, ...]
    """Levers, least change alone first, those that do not suffice alone last."""
    reachable: bool
    """Whether all levers together were found to suffice. False is no proof: the problem is not convex in the levers."""
    most: float = math.nan
    """Highest delivered speed-up found with levers at their good ends; NaN if time was up."""
    unfinished: tuple[str, ...] = ()


def check_target(study: Study, speedup: float | None) -> None:
    """SpecError for a target speed-up that is not positive, or of a study with another goal; None: no target."""
    if speedup is None:
        return
    if study.goal != DELIVERED:
        raise SpecError(f"target: study '{study.name}' minimises {study.goal}, so there is no speed-up to reach")
    if not 0 < speedup < math.inf:
        raise SpecError(f"target = {speedup:g}: give a positive speed-up, such as 6")


def remedy(found: Sensitivity, speedup: float, search: Search | None = None) -> Remedy:
    """Least change of levers with which a study delivers `speedup` over its baseline; none if it already does.

        min sum_i u_i  subject to  g(z; p exp(s u)) <= 0,  0 <= u_i <= log(good end / value)
    with s_i = -1 if less is better; what slows the design, and the baseline more, is no lever. Alone: the same with all
    other u_i = 0. First the highest speed-up with levers at their good ends; then SLSQP from several starts, since the
    problem is not convex in the levers. A found change meets every constraint; "not found" is no proof.
    Source: [nocedal2006] section 17.2: a sum of changes moves few levers; chapter 18 for SLSQP.
    SpecError: the study of `found` has another goal than `delivered_time`, or `speedup` is not positive.
    """
    check_target(found.study, speedup)
    if search is None:
        search = search_of(space_of(found.study))
        run_search(search)
    levers = _levers(found, Given.of(search.space, found.candidate))
    now, n = math.exp(-found.candidate.log_goal), len(levers)
    alone: list[np.ndarray | None] = [None] * n

    def answer(together: np.ndarray | None, most: float) -> Remedy:
        changes, left = _changes(levers, together, alone), tuple(search.deadline.undone)
        return Remedy(found.study, speedup, now, found.candidate, changes, together is not None, most, left)

    if search.deadline.over(f"what would have to be true for {speedup:g}x"):  # before what compiles longest
        return answer(None, math.nan)
    problem = _moved(search, found.candidate, speedup, levers)
    widths = np.asarray([abs(math.log(end / p.value)) for _, p, end in levers])
    most = _most(search, found.candidate, problem, widths)
    if max(most, now) < speedup:
        return answer(None, most)
    z = np.asarray(found.candidate.optimum.z)
    least = partial(_least, problem, search.box, widths, z, search.deadline)
    mix = least(range(n))
    ends = np.diag(widths)
    lone = _delivered(search, found.candidate, problem, np.concatenate([ends, ends / 2]))[0].reshape(2, n)
    tries = np.flatnonzero(~np.all(lone < speedup, axis=0)).tolist()  # enough at its end, or halfway to it
    for k, i in enumerate(tries):
        if search.deadline.over(f"{len(tries) - k} of {n} numbers were not tried alone"):
            break
        alone[i] = least([i])
    mixes = [u for u in (mix, *alone) if u is not None]  # a lone change is a mix too
    return answer(min(mixes, key=lambda u: float(np.sum(u)), default=None), most)


def _delivered(search: Search, c: Candidate, m: Moved, changes: np.ndarray) -> tuple[np.ndarray, Optimum]:
    """What is delivered in worlds of changed levers, shape (worlds, levers) [log units] (NaN: nothing), and optima."""
    data = stack([m.given.under(m.form.world(v)) for v in m.changed(changes)])
    start, strict = np.asarray(c.optimum.z), all_strict(search.core)
    found = solve_batch(model_of(search.core), data, *search.box, start, loose=strict, size=WIDTH)
    return np.where(found.feasible, np.exp(-found.objective), np.nan), found  # the goal is delivered time


def _most(search: Search, c: Candidate, m: Moved, widths: np.ndarray) -> float:
    """The most that is delivered at the good ends of levers; what turns out to harm there, turn by turn, stays out."""
    good, seen, best = np.ones(widths.size, dtype=bool), set(), math.nan
    while good.tobytes() not in seen and len(seen) < TURNS:
        seen.add(good.tobytes())
        (speedup,), found = _delivered(search, c, m, (widths * good)[None])
        if math.isnan(speedup):
            break
        best = float(np.fmax(best, speedup))
        o = element(found, 0)
        _, slopes = m.slopes(widths * good, np.asarray(o.z))
        slopes = (np.append(1.0, o.multipliers) @ slopes)[o.z.size :]
        good = m.signs * slopes[m.places] < 0  # a lever that helps lowers the log goal as it improves
    return best


def _levers(found: Sensitivity, given: Given) -> list[tuple[int, Any, float]]:
    """Place, parameter and good end of what may change: facts of wide swing, and every upper limit."""
    out, facts = [], 0
    for p in found.parameters:
        if p.fact is None and p.name.startswith("limit ") and p.elasticity < 0 and "<=" in p.name:
            out.append((p.place, p, p.value * WIDEST))
        elif p.fact is not None and p.swing > LEAST and facts < LEVERS:
            end = p.fact.low if p.elasticity > 0 else p.fact.high
            if end > 0 and abs(math.log(end / p.value)) > LEAST and _speeds_up(found, given, p, end):
                out.append((p.place, p, end))
                facts += 1
    return out


def _speeds_up(found: Sensitivity, given: Given, p: Parameter, end: float) -> bool:
    """Whether the design itself gets faster on the way to `end`, not only the ratio better."""
    # both chips share a calibration: where the baseline needs a fraction more than the design does, a lower one slows
    # both and raises the ratio, which makes no chip that does what was asked
    way = math.copysign(STRIDE, end - p.value)
    return p.elasticity * way + given.slowed_frac(p.place, way, found.study.shares) < 0.0


def _moved(search: Search, c: Candidate, speedup: float, levers: list[Any]) -> Moved:
    """The study at a candidate with the target that it is to reach, and the world that its levers move."""
    given = Given.of(search.space, c)
    values, form = flat_world(given.world)
    signs = np.asarray([math.copysign(1.0, end - p.value) for _, p, end in levers])
    places = np.asarray([place for place, _, _ in levers])
    return Moved(search.core, given, form, values, -math.log(speedup), places, signs)


def _least(
    m: Moved, box: tuple[np.ndarray, np.ndarray], widths: np.ndarray, z: np.ndarray, deadline: Deadline,
    free: Sequence[int],
) -> np.ndarray | None:  # fmt: skip
    """Least sum of the `free` levers that meets every row, as a change of each; None where none was found in time."""
    n, allowed = z.size, np.isin(np.arange(widths.size), list(free)) * widths
    lower, upper = np.append(box[0], np.zeros(widths.size)), np.append(box[1], allowed)
    cost = np.append(np.zeros(n), np.ones(widths.size))
    known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}  # SLSQP asks for values and slopes one by one

    def rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if x.tobytes() not in known:
            if known and deadline.over("smaller changes than were found"):
                raise _LateError
            known[x.tobytes()] = m.rows(x)
        return known[x.tobytes()]

    limits = {"type": "ineq", "fun": lambda x: -rows(x)[0], "jac": lambda x: -rows(x)[1]}
    ends: list[np.ndarray] = []
    try:
        for share in STARTS:
            start = np.clip(np.append(z, share * allowed), lower, upper)
            done = minimize(
                lambda x: float(cost @ x), start, jac=lambda x: cost, method="SLSQP",
                bounds=list(zip(lower, upper, strict=True)), constraints=[limits],
                options={"maxiter": STEPS, "ftol": LEAST**3},
            )  # fmt: skip
            end = np.clip(done.x, lower, upper)
            if np.isfinite(end).all():
                rows(end)
                ends.append(end)
    except _LateError:
        ends += [np.frombuffer(x) for x in known]
    met = [x for x in ends if np.all((lower <= x) & (x <= upper)) and known[x.tobytes()][0].max() <= MET]
    return min(met, key=lambda x: float(cost @ x))[n:] if met else None


class _LateError(Exception):
    """Time is up in the middle of SLSQP, which cannot be told to stop."""


def _changes(levers: list[Any], together: np.ndarray | None, alone: list[np.ndarray | None]) -> tuple[Lever, ...]:
    """Levers with their changes, all at once and each by itself; not a number where none was found."""
    out = []
    for i, (_, p, end) in enumerate(levers):
        sign = math.copysign(1.0, end - p.value)
        values = (math.nan if u is None else p.value * math.exp(sign * u[i]) for u in (alone[i], together))
        out.append(Lever(p.name, p.value, end, *values))
    return tuple(sorted(out, key=lambda x: abs(math.log(x.alone_frac)) if x.alone == x.alone else math.inf))
