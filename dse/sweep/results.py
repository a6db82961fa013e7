"""Sweeps as tables: `dse.results.run` computes, `load` reads, `query` (and `dse query`) asks in SQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

SHARDS = "shards"
"""Folder with one file per unit of work."""
MERGED = "results.parquet"
"""The one file of a finished small sweep."""
MANIFEST = "manifest.json"
"""Where the rows came from, and what their columns mean."""
VIEW = "results"
"""Name of the table in SQL."""


def run(
    path: str | Path, results: str | Path = "results", *, fresh: bool = False,
    tell: Callable[[int, int, bool], None] = lambda points, failed, before: None,
) -> pd.DataFrame:  # fmt: skip
    """Compute every point of a specification, or what an earlier run left undone, and return all rows.

    Args:
        path: specification; those in `sweeps/` show every key.
        results: folder that gets a folder named after the sweep.
        fresh: forget what an earlier run left.
        tell: hears of every unit of work that is done: its points, how many failed, whether an earlier run did it.

    Returns:
        One row per point, failed ones with their reason; the same as `load` of the folder.

    Raises:
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


def load(folder: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """All rows of a sweep in the order of its points, failed ones with their reason.

    Args:
        folder: results folder of a sweep, or any Parquet file.
        columns: only these; all when left out.

    Raises:
        SpecError: no results there, damaged ones, or a column that does not exist.
    """
    files = parquet_files(folder)
    try:
        known = pq.read_schema(files[0]).names
        absent = [c for c in columns or () if c not in known]
        if absent:
            raise SpecError(f"{folder}: no column {', '.join(absent)}; it has {', '.join(known)}")
        return pa.concat_tables([pq.read_table(f, columns=columns) for f in files]).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"{folder}: cannot be read ({error}); run the sweep again with --resume") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a results folder; SpecError where there is none that can be read."""
    path = folder / MANIFEST
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); give the results folder of a sweep") from error
    except ValueError as error:
        raise SpecError(f"{path}: not valid JSON: {error}; remove it and run the sweep with --resume") from error


def parquet_files(folder: str | Path) -> list[Path]:
    """The files with the rows of a sweep, in order; a Parquet file is itself.

    Raises:
        SpecError: nothing there.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    if (folder / MERGED).exists():
        return [folder / MERGED]
    read_manifest(folder)
    every = sorted((folder / SHARDS).glob("[!.]*.parquet"), reverse=True)
    files = sorted({f.name.partition("-")[0]: f for f in every}.values())  # one for each shard
    if not files:
        raise SpecError(f"{folder}: no finished shards yet; run the sweep, or go on with --resume")
    return files


def reasons(folder: str | Path) -> dict[str, int]:
    """Rows by the reason why they have no answer, the most frequent first; those with an answer under ""."""
    counts: dict[str, int] = {}
    for file in parquet_files(folder):
        column = pq.read_table(file, columns=["reason"])["reason"]
        for pair in column.value_counts().to_pylist():
            counts[pair["values"]] = counts.get(pair["values"], 0) + pair["counts"]
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def query(sql: str, folder: str | Path) -> pd.DataFrame:
    """Answer of an SQL query, in which the rows of the sweep are the table `results`.

    The database lives in memory: nothing that a query does changes the results.

    Raises:
        SpecError: DuckDB is not installed, nothing is there, or the query is wrong; DuckDB's words in one line.
    """
    try:
        import duckdb
    except ImportError as error:
        raise SpecError("queries need the package duckdb: pip install 'dse[sweep]'") from error
    files = [str(f) for f in parquet_files(folder)]
    with duckdb.connect() as connection:
        try:
            connection.read_parquet(files).create_view(VIEW)
            return connection.execute(sql).df()
        except duckdb.Error as error:
            raise SpecError(f"query: {' '.join(str(error).split())}") from error
