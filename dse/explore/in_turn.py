"""Problems of many draws solved in the order of the draws, so that time may run out after any batch of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np

from ..optimize.batch import solve_batch
from ..optimize.deadline import Deadline
from ..optimize.duality import Model
from ..optimize.interior import Optimum, Settings
from .samples import CHUNK

SETTINGS = Settings(max_iterations=40)
"""Of the solves: designs are found within 30 steps or not at all."""
DrawnSet: TypeAlias = tuple[np.ndarray, Any, np.ndarray, np.ndarray]
"""Problems of one compiled shape: the draw of each, in ascending order, coefficients and log bounds."""


def solve_in_turn(
    model: Model, sets: Sequence[DrawnSet], n: int, deadline: Deadline, tell: Callable[[str], None] = lambda _: None
) -> tuple[list[Optimum], int]:
    """Optima of the first problems of every set, and how many draws, from the first on, are solved in all sets.

    The first batch of each set is always solved. The draws that are left out are the last, which were drawn as the
    others were, so that those which are solved are a fair sample.

    Args:
        model: the convex core.
        sets: problems, at least one.
        n: number of draws.
        deadline: when to stop.
        tell: told how many draws are solved, one line per batch.
    """
    done = [0] * len(sets)
    found: list[list[Optimum]] = [[] for _ in sets]
    while open_ := [k for k, (draws, *_) in enumerate(sets) if done[k] < len(draws)]:
        ready = min(int(sets[k][0][done[k]]) for k in open_)
        if all(done) and deadline.over(f"{n - ready} of {n} draws"):
            break
        k = min(open_, key=lambda i: (done[i] > 0, sets[i][0][done[i]]))
        data, lower, upper = jax.tree.map(lambda x, a=done[k]: x[a : a + CHUNK], sets[k][1:])
        found[k].append(solve_batch(model, data, lower, upper, (lower + upper) / 2, settings=SETTINGS, size=CHUNK))
        done[k] += len(lower)
        tell(f"{ready} of {n} draws")
    else:
        ready = n
    return [jax.tree.map(lambda *parts: np.concatenate(parts), *parts) for parts in found], ready
