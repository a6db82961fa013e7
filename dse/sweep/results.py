"""Sweeps as tables: `dse.results.run` computes, `load` reads, `query` asks in SQL; what varies, which rows are best."""

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
    import pandas as pd
    from pyarrow.dataset import Dataset


VIEW = "results"
"""Name of the table in SQL."""
LOCKS = (
    "SET python_enable_replacements = false",
    "SET temp_directory = ''",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
"""A query sees the results and nothing else: no file, no network, no extension, no variable of this program."""


def run(
    path: str | Path, results: str | Path = "results", *, fresh: bool = False,
    tell: Callable[[int, int, bool], None] = lambda points, failed, before: None,
) -> pd.DataFrame:  # fmt: skip
    """Compute every point of a specification, or what an earlier run left undone; one row per point, as `load`.

    `path` is a file or a shipped name; `dse schema sweep` has every key. A folder named after the sweep lies in
    `results`; `fresh` forgets what an earlier run left. `tell` hears of every unit's points, how many failed, and
    whether it was kept.
    SpecError: a specification that does not hold, in one line, or a folder that cannot be written.
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
    """All rows of a sweep in the order of its points, failed ones with their reason; from its folder or a Parquet file.

    `verify` compares what is read with its checksums. SpecError: no or damaged results, or no such column.
    """
    return read_tables(folder, columns, verify).to_pandas()


def reasons(folder: str | Path) -> dict[str, int]:
    """Rows by the reason why they have no answer, the most frequent first; those with an answer under ""."""
    return reason_counts(held_files(folder))


def query(sql: str, folder: str | Path, *, verify: bool = True) -> pd.DataFrame:
    """Answer of one SQL select, in which the rows of the sweep, a folder or a Parquet file, are the table `results`.

    Safe to run from anyone: it sees only these rows, and can touch no file, network, extension or setting. `verify`
    compares what is read with its checksums. SpecError: no DuckDB, no results, or a query that is not one select.
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
"""Seconds after which a query that was told to stop is told again."""
HEEDED_S = 1.0
"""Seconds after which a query that does not stop is left behind."""


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
"""Main metrics, the first that was recorded, to whether less is better."""
FIRST_ANSWERS = ("plan", "status")
"""First column that is an answer: of an evaluated point, of a solved study."""
KEPT = ("point", "ok", "reason")


def axes_of(rows: Any) -> list[str]:
    """The sweep's axes that vary: the columns before the answers."""
    names = list(rows.columns)
    first = min((names.index(n) for n in FIRST_ANSWERS if n in names), default=len(names))
    return [c for c in names[:first] if c not in KEPT and rows[c].nunique() > 1]


def main_metric(rows: pd.DataFrame) -> str | None:
    """The metric to judge rows by; None where none of `PREFERRED` was recorded."""
    return next((m for m in PREFERRED if m in rows.columns), None)


def best_rows(rows: pd.DataFrame, metric: str, n: int) -> pd.DataFrame:
    """The `n` best rows by one of `PREFERRED`, best first."""
    return rows.sort_values(metric, ascending=PREFERRED[metric]).head(n)
