"""Problems of many draws solved in the order of the draws, so that time may run out after any batch of them."""

from __future__ import annotations

from collections.abc import Callable
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
Drawn: TypeAlias = tuple[np.ndarray, Any, np.ndarray, np.ndarray]
"""Problems of one compiled shape: the draw of each, in ascending order, coefficients and log bounds."""


def solve_in_turn(
    model: Model, problems: Drawn, n: int, deadline: Deadline, tell: Callable[[str], None] = lambda _: None
) -> tuple[Optimum, int]:
    """Optima of the first problems, at least a batch, and of how many draws all problems are solved."""
    draws, found = problems[0], []
    for first in range(0, len(draws), CHUNK):
        ready = int(draws[first])
        if found and deadline.over(f"{n - ready} of {n} draws"):
            return _joined(found), ready
        data, lower, upper = jax.tree.map(lambda x, a=first: x[a : a + CHUNK], problems[1:])
        found.append(solve_batch(model, data, lower, upper, (lower + upper) / 2, settings=SETTINGS, size=CHUNK))
        tell(f"{ready} of {n} draws")
    return _joined(found), n


def _joined(parts: list[Optimum]) -> Optimum:
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
