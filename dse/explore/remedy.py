"""What would have to be true: the cheapest change of technology or budget that lets a study reach a target.

Every lever is a number of the study's world that may get better, up to the good end of its receipt's range (a budget:
up to `WIDEST`). Two answers: each lever alone, if it is enough, and the least total change of all together, in log
units.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from ..core.errors import SpecError
from ..core.types import Vector
from ..optimize.interior import Optimum, solve_convex
from ..optimize.search import Candidate, Search
from ..optimize.space import Space, element
from ..study.convex import ConvexCore
from ..study.metrics import DELIVERED, Limit
from ..study.study import Study
from .sensitivity import Given, Sensitivity

WIDEST = 16.0
"""Largest factor by which a budget is loosened."""
LEVERS = 12
"""Facts that are tried besides the budgets: those with the widest swing of the goal over their ranges."""
LEAST = 1e-3
"""Changes below this are none [log units]."""


class Moved(eqx.Module):
    """A problem whose world moves with the levers."""

    given: Given
    """Coefficients, the target's limit last."""
    values: Float[Array | np.ndarray, " k"]
    """The world's numbers, flat; the target's limit left out."""
    target: Float[Array | np.ndarray, ""]
    """Largest delivered time."""
    places: Int[Array | np.ndarray, " l"]
    """Position of each lever among the numbers."""
    signs: Float[Array | np.ndarray, " l"]
    """1 where more is better, -1 where less is."""


@dataclasses.dataclass(frozen=True)
class Lever:
    """One number that may get better."""

    name: str
    """As in `sensitivity`."""
    value: float
    """Now, canonical unit."""
    end: float
    """The good end of its range."""
    alone: float
    """What it would have to be if nothing else changed; not a number if even its best is not enough."""
    together: float
    """What it is in the cheapest change of all levers."""


@dataclasses.dataclass(frozen=True)
class Remedy:
    """What would have to be true for a study to reach a target, its best discrete choice and plans held."""

    study: Study
    """The study."""
    speedup: float
    """The target."""
    delivered: float
    """What the study delivers as it is."""
    candidate: Candidate
    """Discrete choice and plans."""
    levers: tuple[Lever, ...]
    """The least lone change first, those that are not enough alone last."""
    reachable: bool
    """Whether all levers at once are enough."""


def remedy(found: Sensitivity, speedup: float, search: Search | None = None) -> Remedy:
    """The least that would have to change for a study to deliver a speed-up over its baseline.

        min sum_i u_i  subject to  g(z; p exp(s u)) <= 0,  0 <= u_i <= log(good end / value)

    with s_i = -1 where less is better. Alone: the same with all other u held at 0.

    Source: [nocedal2006] section 17.2: a sum of changes moves few levers.
    Assumes: terms are log-log convex in the levers too, as costs and rates are; shares that are subtracted from 1 are
        not, so a change may come out a little larger than need be.

    Args:
        found: sensitivities of a study that minimises `delivered_time`.
        speedup: delivered speed-up to reach.
        search: the study, solved; solved anew when left out.

    Returns:
        Levers with what they would have to be; nothing changes if the study reaches the target as it is.

    Raises:
        SpecError: the study has another goal, or a target that is not positive.
    """
    if found.study.goal != DELIVERED or not speedup > 0:
        raise SpecError(f"target {speedup:g}x: give a positive speed-up, for a study that minimises {DELIVERED}")
    if search is None:
        search = Search(Space(found.study))
        search.run()
    levers = _levers(found)
    core, problem = _target(search, found.candidate, speedup, levers)
    widths = np.asarray([abs(math.log(end / p.value)) for _, p, end in levers])
    n, k = found.candidate.optimum.z.size, len(levers)
    upper = np.vstack([widths, np.diag(widths)])  # all together, then each alone
    low = np.repeat(np.append(search.box[0], np.zeros(k))[None], k + 1, axis=0)
    high = np.concatenate([np.repeat(search.box[1][None], k + 1, axis=0), upper], axis=1)
    start = np.append(found.candidate.optimum.z, widths / 2)
    unflatten = ravel_pytree(problem.given.world)[1]
    solved = jax.tree.map(np.asarray, _solve(core, unflatten, n, problem, low, high, start))
    moves = [element(solved, i) for i in range(k + 1)]
    return Remedy(
        found.study, speedup, math.exp(-found.candidate.log_goal), found.candidate,
        _changes(levers, moves, n), bool(moves[0].feasible),
    )  # fmt: skip


def _levers(found: Sensitivity) -> list[tuple[int, Any, float]]:
    """Place, parameter and good end of what may change: facts of wide swing, and every upper limit."""
    out, facts = [], 0
    for p in found.parameters:
        if p.fact is None and p.name.startswith("limit ") and p.elasticity < 0 and "<=" in p.name:
            out.append((p.place, p, p.value * WIDEST))
        elif p.fact is not None and p.swing > LEAST and facts < LEVERS:
            end = p.fact.low if p.elasticity > 0 else p.fact.high
            if end > 0 and abs(math.log(end / p.value)) > LEAST:
                out.append((p.place, p, end))
                facts += 1
    return out


def _target(search: Search, c: Candidate, speedup: float, levers: list[Any]) -> tuple[ConvexCore, Moved]:
    """The convex core with the target as its last limit, and the world that its levers move."""
    given = Given.of(search.space, c)
    limits = (*search.space.study.limits, Limit(DELIVERED, "at_most", 1.0 / speedup))
    core = dataclasses.replace(search.core, limits=tuple((x.metric, x.sense) for x in limits))
    values = np.asarray(ravel_pytree(given.world)[0])
    signs = np.asarray([math.copysign(1.0, end - p.value) for _, p, end in levers])
    places = np.asarray([place for place, _, _ in levers])
    return core, Moved(given, values, np.asarray(1.0 / speedup), places, signs)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _solve(
    core: ConvexCore, unflatten: Any, n: int, problem: Moved, lower: Array, upper: Array, start: Vector
) -> Optimum:
    """Least change for every box of levers (leading axis); the first `n` coordinates are the chip's."""

    def moved(point: Array, m: Moved) -> tuple[Array, Array]:
        z, u = point[:n], point[n:]
        change = jnp.zeros(m.values.shape).at[m.places].add(m.signs * u)
        data = m.given.under(unflatten(m.values * jnp.exp(change)))
        data = dataclasses.replace(data, limits=jnp.append(data.limits, m.target))
        return jnp.sum(u), core.logs(z, data)[1]

    problem = jax.tree.map(jnp.asarray, problem)
    one = partial(solve_convex, moved, problem)
    return jax.vmap(one, in_axes=(0, 0, None))(lower, upper, start)


def _changes(levers: list[Any], moves: list[Optimum], n: int) -> tuple[Lever, ...]:
    """Levers with their changes: `moves` holds the answer for all together and then for each alone."""
    out = []
    for i, (_, p, end) in enumerate(levers):
        sign = math.copysign(1.0, end - p.value)
        all_, alone = (m.z[n + i] if bool(m.feasible) else math.nan for m in (moves[0], moves[1 + i]))
        out.append(Lever(p.name, p.value, end, *(p.value * math.exp(sign * u) for u in (alone, all_))))
    return tuple(sorted(out, key=lambda x: abs(math.log(x.alone / x.value)) if x.alone == x.alone else math.inf))
