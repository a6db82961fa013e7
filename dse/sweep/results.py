"""Sweeps from Python, public as `dse.results`: `run` computes, `load` reads a table, `query` runs SQL on it."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..core.apart import apart
from ..core.errors import SpecError
from .folder import dataset_of, held_files, read_tables, reading, reason_counts

if TYPE_CHECKING:
    import duckdb
    from pyarrow.dataset import Dataset


VIEW = "results"
"""Name of the table in SQL."""
LOCKS = (
    "SET python_enable_replacements = false",
    "SET temp_directory = ''",
    "SET enable_external_access = false",
    "SET lock_configuration = true",  # last: it forbids any other
)
"""DuckDB settings: a query can read the results only, no file, network, extension or Python variable."""


def run(
    path: str | Path, results: str | Path = "results", *, fresh: bool = False,
    tell: Callable[[int, int, bool], None] = lambda points, failed, before: None,
) -> pd.DataFrame:  # fmt: skip
    """Compute all points of a sweep that an earlier run has not; returns one row per point, as `load`.

    `path`: specification file or shipped name (`dse schema sweep` lists every key); `results`: parent of the results
    folder, which is named after the sweep; `fresh`: discard earlier results; `tell(points, failed, before)` is called
    per shard, `before` if it existed already. SpecError: an invalid specification, or a folder that is not writable.
    """
    from .engine import local, plan_work
    from .engine import run as complete
    from .spec import load_sweep
    from .store import open_store

    sweep = load_sweep(path)
    store = open_store(sweep, results, True, fresh)
    complete(store, plan_work(store), local, tell)
    return load(store.folder)


def load(folder: str | Path, columns: list[str] | None = None, *, verify: bool = True) -> pd.DataFrame:
    """All rows of a sweep in the order of its points, failed ones with `reason`, from its folder or a Parquet file.

    `columns`: default all; `verify`: check checksums. SpecError: missing or damaged results, or an unknown column.
    """
    return read_tables(folder, columns, verify).to_pandas()


def reasons(folder: str | Path) -> dict[str, int]:
    """Number of rows by the reason of failure, most frequent first; successful rows under ""."""
    return reason_counts(held_files(folder))


def query(sql: str, folder: str | Path, *, verify: bool = True) -> pd.DataFrame:
    """Result of one SQL select on the table `results`: the rows of a sweep, from its folder or a Parquet file.

    Safe for untrusted queries: they can read these rows only, no file, network, extension or setting. `verify`: check
    checksums. SpecError: no DuckDB (extra `sweep`), no results, or a query that is not one select.
    """
    try:
        import duckdb
    except ImportError as error:
        raise SpecError("queries need the package duckdb: pip install 'dse-accelerators[sweep]'") from error
    rows, opened = dataset_of(folder, verify), duckdb.connect()
    with reading(folder):
        try:
            return _unless_stopped(lambda: _answer(sql, opened, rows), opened.interrupt)
        except duckdb.Error as error:
            raise SpecError(f"query: {' '.join(str(error).split())}") from error


def _answer(sql: str, opened: duckdb.DuckDBPyConnection, rows: Dataset) -> pd.DataFrame:
    """Answer of one select that sees `rows` and nothing else; closes what was opened for it."""
    with opened as connection:
        _check_select(sql, connection.extract_statements)
        connection.register(VIEW, rows)
        for lock in LOCKS:
            connection.execute(lock)
        return connection.execute(sql).df()


STOP_S = 0.05
"""Interval between interrupts of a running query [s]."""
HEEDED_S = 1.0
"""Time after which a query that ignores interrupts is abandoned [s]."""


def _unless_stopped(ask: Callable[[], pd.DataFrame], stop: Callable[[], None]) -> pd.DataFrame:
    """What `ask` answers in a thread of its own, left behind if it heeds no Ctrl-C: DuckDB loses about half of them."""
    asked = apart(ask)
    try:
        return asked.result()
    except KeyboardInterrupt:
        for _ in range(math.ceil(HEEDED_S / STOP_S)):
            if asked.done():
                break
            with contextlib.suppress(Exception):  # it may have ended, and closed what it asked, since the last look
                stop()
            wait([asked], STOP_S)
        raise


EXPLAINS = re.compile(r"\s*explain\s+(analyze\s+)?(\([^()]*\)\s*)?", re.IGNORECASE)
"""What stands before a select whose plan is asked for."""


def _check_select(sql: str, parsed: Callable[[str], list]) -> None:
    """SpecError unless `sql`, which `parsed` takes apart, is one select or asks for the plan of one."""
    kinds = [_kind(s) for s in parsed(sql)]
    if kinds == ["EXPLAIN"] and (found := EXPLAINS.match(sql)):
        kinds = [_kind(s) for s in parsed(sql[found.end() :])]  # with "analyze" the statement inside is run
    if kinds != ["SELECT"]:
        told = f"{' and '.join(kinds)} given" if kinds else "is empty"
        raise SpecError(f"query: {told}; results are only read: give one select")


def _kind(statement: Any) -> str:
    try:
        return statement.type.name
    except ValueError:  # a kind that DuckDB has and its Python package does not
        return "another statement"


PREFERRED = {"delivered_speedup": False, "tokens_per_s": False, "step_s": True}
"""Main metrics in order of preference, each with whether less is better."""
FIRST_ANSWERS = ("plan", "status")
"""First result column: of an evaluated point, of a solved study."""
KEPT = ("point", "ok", "reason")


def axes_of(rows: Any) -> list[str]:
    """The axes of the sweep that vary: columns before the results with more than one value."""
    names = list(rows.columns)
    first = min((names.index(n) for n in FIRST_ANSWERS if n in names), default=len(names))
    return [c for c in names[:first] if c not in KEPT and rows[c].nunique() > 1]


def main_metric(rows: pd.DataFrame) -> str | None:
    """The first recorded metric of `PREFERRED`, else None."""
    return next((m for m in PREFERRED if m in rows.columns), None)


def best_rows(rows: pd.DataFrame, metric: str, n: int) -> pd.DataFrame:
    """The `n` best rows by one of `PREFERRED`, best first."""
    return rows.sort_values(metric, ascending=PREFERRED[metric]).head(n)
