"""Prints what checking results costs of reading them: all columns, and some of them, of large and of small shards.

Processor seconds of one thread, pairs of readings in turn; 5 % is the requirement, and holds for all columns, for three
and for one: the most is 2 to 5 % of one column of random floats, which decode fast, in shards of 65,536 points. What is
left there is 0.03 to 0.06 ms a file: a fingerprint of its half megabyte, and reading the footer in Python.

    python tests/bench/bench_verify.py
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from dse.sweep.folder import MANIFEST, SHARDS, read_tables, shard_name
from dse.sweep.store import Facts, content_of

SHARDS_OF = ((262_144, 4), (65_536, 8), (4_096, 64), (512, 256))
"""Points of a shard, and how many shards: the first and the last are what sweeps have."""
COLUMNS = {"all": None, "one of floats": ["c0_W"], "one of texts": ["plan"], "three": ["c0_W", "c3_W", "plan"]}
READINGS = 30


def table(points: int, first: int) -> pa.Table:
    """Rows as a sweep of eight numbers has them."""
    dice = np.random.default_rng(first)
    columns = {f"c{i}_W": dice.random(points) for i in range(8)}
    columns |= {"point": np.arange(first, first + points), "ok": np.ones(points, dtype=bool)}
    columns |= {"plan": np.asarray(["tp=2,pp=1,dp=4", "tp=8"])[dice.integers(0, 2, points)], "reason": [""] * points}
    return pa.table(columns)


def paired(read: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of two readings, taken in turn: the median of the second, and of their quotient."""
    taken = []
    for i in range(READINGS):
        pair = [0.0, 0.0]
        for k, ask in ((0, read), (1, other)) if i % 2 else ((1, other), (0, read)):
            begin = time.process_time()
            ask()
            pair[k] = time.process_time() - begin
        taken.append(pair)
    both = np.asarray(taken)
    return float(np.median(both[:, 1])), float(np.median(both[:, 0] / both[:, 1]))


def report(folder: Path, points: int, shards: int) -> None:
    """One line for each choice of columns."""

    def read(columns: list[str] | None, verify: bool) -> object:
        return read_tables(folder, columns, verify).to_pandas()

    for label, columns in COLUMNS.items():
        bare_s, ratio = paired(partial(read, columns, True), partial(read, columns, False))
        more_us = bare_s * (ratio - 1) / shards * 1e6
        print(
            f"{shards:4d} files of {points:6d} points, {label:13s} {bare_s * 1e3:6.1f} ms unchecked, "
            f"{ratio - 1:+6.1%} checked, {more_us:+5.0f} us per file"
        )


def main() -> None:
    pa.set_cpu_count(1)
    for points, shards in SHARDS_OF:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / SHARDS).mkdir()
            (folder / MANIFEST).write_text('{"identity": "bench"}')
            for i in range(shards):
                content = content_of("bench", table(points, i * points), Facts(points, 0))
                (folder / SHARDS / shard_name("bench", i, content)).write_bytes(content)
            report(folder, points, shards)


if __name__ == "__main__":
    main()
