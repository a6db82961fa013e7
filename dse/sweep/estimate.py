"""What a sweep will take: points, time and disk, from a few of its own points computed twice."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .batch import combinations, prepared
from .engine import answers
from .folder import SHARDS
from .keys import is_number
from .points import Points, Sweep, points
from .store import Store

PROBED = 2**13
"""Points tried out, evenly spread, of a sweep with plans given."""
PROBED_SETTINGS = 3
"""Combinations of choices tried out: each is lowered once, whatever the number of its points."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Size of a sweep, and what it takes here."""

    points: int
    settings: int
    """Combinations of choices; each is lowered once per process as a rule."""
    shards: int
    once_s: float
    """Compiling, as measured now (less with a warm cache)."""
    seconds: float
    """All points in this process, after that."""
    disk_B: float
    probed: int


def estimate(sweep: Sweep) -> Estimate:
    """Size, time and disk of `sweep`: a few points are computed twice, the first time to lower and to compile."""
    n_settings = math.prod(a.size for a in sweep.axes if not all(is_number(k) for k in a.keys))
    some = probe(sweep)
    prepare_s = _timed(lambda: prepared(sweep, some))[0] / min(n_settings, PROBED_SETTINGS)
    first, _ = _timed(lambda: answers(sweep, some))
    again, found = _timed(lambda: answers(sweep, some))
    n = max(some.index.size, 1)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(sweep, Path(folder))
        (store.folder / SHARDS).mkdir()
        store.write(0, some, found)
        size = sum(p.stat().st_size for p in store.present().values())
    return Estimate(
        points=sweep.size,
        settings=n_settings,
        shards=sweep.n_shards,
        once_s=max(first - again, 0.0),
        seconds=again / n * sweep.size + prepare_s * n_settings,
        disk_B=size / n * sweep.size,
        probed=some.index.size,
    )


def probe(sweep: Sweep) -> Points:
    """Evenly spread points of a few settings: one study, or some combinations with many numbers each."""
    if sweep.of_studies:
        return points(sweep, np.asarray([sweep.size // 2]))
    most = min(PROBED, max(sweep.shard_points // 2, 1), sweep.size)
    places = np.unique(np.linspace(0, sweep.size - 1, most).astype(np.int64))
    some = points(sweep, places)
    _, member = combinations(sweep, some)
    return some.at(
        np.isin(member, np.unique(member)[:: max(len(np.unique(member)) // PROBED_SETTINGS, 1)][:PROBED_SETTINGS])
    )


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    out = work()
    return time.perf_counter() - begin, out
