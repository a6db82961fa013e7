"""The outcome of a study under uncertainty by size: how many samples lie where, and which reach the target."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from ..study.metrics import DELIVERED
from .outcome import Risk

SAME = 1e-12
"""Room at the target: it is itself an edge."""


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Samples with a design by their outcome: the delivered speed-up, or the goal in its unit."""

    edges: Float[np.ndarray, " e"]
    """Ends of the bars, the target among them where it lies between."""
    share_frac: Float[np.ndarray, " b"]
    """Height: share of all samples that a bar as wide as an even one would hold."""
    reaches: Bool[np.ndarray, " b"]
    """Bars at the target or beyond; all where there is none."""


def outcome_histogram(r: Risk, n_bars: int) -> Histogram:
    """Samples of `r` by outcome in `n_bars` even bars, one of them cut in two at the target; at least one design."""
    values = (r.merit if r.study.goal == DELIVERED else r.outcomes.goal)[r.feasible]
    edges = np.linspace(values.min(), values.max() * (1 + 1e-9), n_bars + 1)
    if r.target is not None and edges[0] < r.target < edges[-1]:
        edges = np.unique(np.append(edges, r.target))
    counts, _ = np.histogram(values, edges)
    reaches = edges[:-1] >= r.target - SAME if r.target is not None else np.full(counts.size, True)
    return Histogram(edges, counts / np.diff(edges) * (edges[-1] - edges[0]) / n_bars / r.n, reaches)
