"""Prints what checking results costs of reading them: all columns, and one column, of shards and of one file.

Processor seconds, the least of many readings each; a bar of 5 % each is the requirement.

    python tests/bench/bench_verify.py [points per shard]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from dse.sweep.folder import MANIFEST, SHARDS, read_tables, shard_name
from dse.sweep.store import Facts, Store

SHARDS_OF = 4
READINGS = 30


def table(points: int, first: int) -> pa.Table:
    """Rows as a sweep of eight numbers has them."""
    dice = np.random.default_rng(first)
    columns = {f"c{i}_W": dice.random(points) for i in range(8)}
    columns |= {"point": np.arange(first, first + points), "ok": np.ones(points, dtype=bool)}
    columns |= {"plan": np.asarray(["tp=2,pp=1,dp=4", "tp=8"])[dice.integers(0, 2, points)], "reason": [""] * points}
    return pa.table(columns)


def least_s(read: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Least processor seconds of two readings, taken in turn."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(READINGS):
        for ask, found in zip((read, other), taken, strict=True):
            begin = time.process_time()
            ask()
            found.append(time.process_time() - begin)
    return min(taken[0]), min(taken[1])


def main(points: int = 262_144) -> None:
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / SHARDS).mkdir()
        (folder / MANIFEST).write_text('{"identity": "bench"}')
        for i in range(SHARDS_OF):
            content = Store._content(BENCH, table(points, i * points), Facts(points, 0))
            (folder / SHARDS / shard_name("bench", i, content)).write_bytes(content)
        for label, columns in (("all columns", None), ("one column", ["c0_W"]), ("texts alone", ["plan"])):

            def read(verify: bool, columns: list[str] | None = columns) -> object:
                return read_tables(folder, columns, verify).to_pandas()

            checked, bare = least_s(lambda: read(True), lambda: read(False))
            print(
                f"{label:12s} {bare * 1e3:8.1f} ms unchecked {checked * 1e3:8.1f} ms checked {checked / bare - 1:+.1%}"
            )


class _Bench:
    """As much of a store as writing a file takes."""

    identity = "bench"


BENCH: Store = _Bench()  # type: ignore[assignment]


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
