"""Near-optimal designs: the range of each number over all designs whose goal is near the optimum.

Every number is minimised and maximised among designs with a goal within (1 + share) of the best, with bounds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.text import percent
from ..core.types import FloatLike, Scalar, Vector
from ..study.convex import ConvexCore, Data, coordinates, core_logs
from ..study.study import Study
from .batch import WIDTH, prepare_batch, solve_batch
from .deadline import Deadline
from .search import Candidate, Search, data_of_each, run_search, search_of
from .solution import Near
from .space import Space, data_of, space_of

PRODUCTS = {"sram_B": ("n_cores", "scratchpad_B"), "vector_lanes_per_chip": ("n_cores", "vector_lanes")}
"""Numbers of the chip that are products of free ones, and so as straight in logs as they are."""
End: TypeAlias = tuple[Data, Vector, Scalar]
"""One end of one number: a choice, weights of the coordinates in what is minimised, and the largest log goal."""


def end_logs(core: ConvexCore, z: FloatLike, end: End) -> tuple[Array, Array]:
    """Log of one number, and all log limits with the goal among them."""
    data, direction, most = end
    goal, limits = core_logs(core, z, data)
    return jnp.dot(direction, z), jnp.append(limits, goal - most)


def near(
    study: Study, goal: float, share_frac: float, space: Space | None = None,
    progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None,
) -> tuple[Near, ...]:  # fmt: skip
    """Range of every free number over all designs with a goal of at most (1 + share_frac) `goal`.

    Over all choices and the plans that a search found worth solving; other plans could widen a range.
    """
    search = search_of(space or space_of(study), progress, deadline=deadline or Deadline())
    run_search(search)
    most = math.log(goal) + math.log1p(share_frac)
    points = [c for c in search.seen.values() if c.log_goal <= most]
    directions = directions_of(search.core)
    progress(f"{len(points)} choices and plans reach {percent(share_frac)}: {2 * len(directions)} ends each")
    if not points:
        return ()
    names, found, at_once = list(directions), [], -(-WIDTH // len(points))
    for first in range(0, len(names), at_once):
        if search.deadline.over(f"ranges of {len(names) - first} of {len(names)} numbers"):
            break
        some = names[first : first + at_once]
        ways = [directions[n] for n in some]
        low, high = (_ends(search, points, way, most) for way in (ways, [-w for w in ways]))
        rows = zip(some, *low, *high, strict=True)
        found += [Near(n, math.exp(a), math.exp(-c), math.exp(b), math.exp(-d)) for n, a, b, c, d in rows]
    return tuple(found)


def prepare_near(space: Space) -> None:
    """Make the program that finds ranges in a study's space."""
    core, data = space.study.core(), data_of(space, 0, tuple(0 for _ in space.plans))
    n = len(coordinates(core))
    prepare_batch(eqx.Partial(end_logs, core), (data, np.zeros(n), np.zeros(())), n)


def directions_of(core: ConvexCore) -> dict[str, np.ndarray]:
    """Weights of the coordinates in the log of each number."""
    names = coordinates(core)
    terms = {n: (n,) for n in core.free}
    terms |= {n: parts for n, parts in PRODUCTS.items() if set(parts) <= set(core.free)}
    return {n: np.asarray([float(v in parts) for v in names]) for n, parts in terms.items()}


def _ends(
    search: Search, points: Sequence[Candidate], directions: Sequence[np.ndarray], most: float
) -> tuple[list[float], list[float]]:
    """Least log number along each direction over all points: found, and no less than."""
    pairs = list(itertools.product(points, directions))
    batch = (data_of_each(search, [c for c, _ in pairs]), np.stack([d for _, d in pairs]), np.full(len(pairs), most))
    lower, upper = search.box
    starts = np.stack([c.optimum.z for c, _ in pairs])
    model = eqx.Partial(end_logs, search.core)
    o = jax.device_get(solve_batch(model, batch, lower, upper, starts, size=WIDTH))
    value = np.where(o.feasible, o.objective, np.inf).reshape(len(points), -1)
    least = np.where(o.violation_bound > 0, np.inf, o.lower_bound).reshape(len(points), -1)
    return value.min(axis=0).tolist(), least.min(axis=0).tolist()
