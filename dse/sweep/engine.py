"""Execution of a sweep: shard by shard in this process, or (`dask_engine`) on a Dask cluster.

A point without a result is a row with its reason; an error that affects all points stops the run with one line; a
shard with any other error is tried `ATTEMPTS` times, then noted under `failures/` for the next `--resume`.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..core.errors import DseError, SpecError
from .batch import combinations, evaluate_points, prepared
from .folder import SHARDS
from .keys import is_number
from .points import Points, Sweep, points
from .store import Facts, Failure, Store, merge
from .studies import solve_points

ATTEMPTS = 3
"""Times that a shard is tried before it is given up."""
Tell: TypeAlias = Callable[[int, int, bool], None]
"""Called for every finished shard: its points, how many failed, and whether an earlier run computed it."""
Outcome: TypeAlias = tuple[int, Facts | Failure]
"""A shard with its contents, or with the reason of its failure."""
Engine: TypeAlias = Callable[[Store, tuple[int, ...]], Iterator[Outcome]]
"""Computes shards in any order and yields what came of each."""


def run_shard(store: Store, index: int) -> Facts:
    """Compute and write one shard; one that is whole already, such as by a worker since lost, is left alone."""
    there = store.check(store.path(index))
    if there is not None:
        return there
    some = points(store.sweep, store.sweep.shard(index))
    return store.write(index, some, answers(store.sweep, some))


def answers(sweep: Sweep, some: Points) -> dict[str, Any]:
    """Everything recorded of some points, by column."""
    return solve_points(sweep, some) if sweep.of_studies else evaluate_points(sweep, some)


@dataclasses.dataclass(frozen=True)
class Work:
    """The shards of one run."""

    done: dict[int, Facts]
    todo: tuple[int, ...]
    finished: bool = False
    """Whether the sweep is one merged file already."""

    def points(self, sweep: Sweep) -> int:
        """Points of all shards, done and to do."""
        return sum(len(sweep.shard(i)) for i in (*self.done, *self.todo))


def plan_work(store: Store, part: tuple[int, int] = (0, 1)) -> Work:
    """Finished and remaining shards of slice `part[0]` of `part[1]` equal slices."""
    # every n-th one: neighbours cost alike, and slices in one piece would not
    mine = range(store.sweep.n_shards)[part[0] :: part[1]]
    if store.check_merged() is not None:
        return Work(dict.fromkeys(mine, Facts(0, 0)), (), finished=True)
    present = store.present()
    checked = {i: store.check(present.get(i)) for i in mine}
    return Work({i: f for i, f in checked.items() if f}, tuple(i for i, f in checked.items() if f is None))


def parse_part(text: str) -> tuple[int, int]:
    """Slice and number of slices written as "0/4" (array jobs count from 0); SpecError for anything else."""
    words = text.split("/")
    if len(words) != 2 or not all(w.isdecimal() for w in words) or not int(words[0]) < int(words[1]):
        raise SpecError(f"--shard {text}: expected slice/slices counted from 0, such as 0/4 for the first of four")
    return int(words[0]), int(words[1])


def local(store: Store, todo: Iterable[int]) -> Iterator[Outcome]:
    """One shard after the other in this process; memory is that of one shard."""
    for index in todo:
        yield index, _tried(store, index)


def _tried(store: Store, index: int) -> Facts | Failure:
    why = ""
    for _ in range(ATTEMPTS):
        try:
            return run_shard(store, index)
        except DseError:
            raise
        # a user's error, raised above, is the same at every try
        except Exception as error:  # whatever it is, it may pass: the last time counts
            why = reason_of(error)
    return Failure(index, why)


def reason_of(error: BaseException) -> str:
    """An unexpected error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


def run(
    store: Store, work: Work, engine: Engine, tell: Tell = lambda points, failed, before: None
) -> tuple[Failure, ...]:
    """Complete `work`, and turn a small sweep into one file once all of its shards are there; what was given up."""
    sweep, given_up = store.sweep, []
    for index, facts in work.done.items():
        tell(len(sweep.shard(index)), facts.failed, True)
    for index, outcome in engine(store, work.todo):
        if isinstance(outcome, Failure):
            given_up.append(outcome)
            store.note(outcome)
        else:
            store.forget(index)
            tell(len(sweep.shard(index)), outcome.failed, False)
    # of several slices the one that ends last finds all shards, and merges them
    if not work.finished and len(store.present()) == sweep.n_shards:
        merge(store)
    return tuple(given_up)


PROBED = 2**13
"""Points tried out, evenly spread, of a sweep with plans given."""
PROBED_SETTINGS = 3
"""Combinations of choices tried out: each is lowered once, whatever the number of its points."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Size of a sweep, and its run time on this machine."""

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
    # nothing compiles the second time: the difference is what compiling takes
    again, found = _timed(lambda: answers(sweep, some))
    n = max(some.index.size, 1)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(sweep, Path(folder))
        (store.folder / SHARDS).mkdir()
        store.write(0, some, found)
        size = sum(p.stat().st_size for p in store.present().values())
    return Estimate(
        points=sweep.size, settings=n_settings, shards=sweep.n_shards, once_s=max(first - again, 0.0),
        seconds=again / n * sweep.size + prepare_s * n_settings, disk_B=size / n * sweep.size, probed=some.index.size,
    )  # fmt: skip


def probe(sweep: Sweep) -> Points:
    """Evenly spread points of a few settings: one study, or some combinations with many numbers each."""
    if sweep.of_studies:
        return points(sweep, np.asarray([sweep.size // 2]))
    most = min(PROBED, max(sweep.shard_points // 2, 1), sweep.size)
    # spread over the whole sweep, since points beside each other share what is expensive
    places = np.unique(np.linspace(0, sweep.size - 1, most).astype(np.int64))
    some = points(sweep, places)
    _, member = combinations(sweep, some)
    distinct = np.unique(member)
    spread = distinct[:: max(len(distinct) // PROBED_SETTINGS, 1)]
    return some.at(np.isin(member, spread[:PROBED_SETTINGS]))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    out = work()
    return time.perf_counter() - begin, out
