"""Results of sweeps as tables: `dse.results.load(folder)` in Python, `dse query` with SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import SpecError

SHARDS = "shards"
"""Folder with one file per unit of work."""
MERGED = "results.parquet"
"""The one file of a finished small sweep."""
VIEW = "results"
"""Name of the table in SQL."""


def load(folder: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """All rows of a sweep in the order of its points, failed ones with their reason.

    Args:
        folder: results folder of a sweep, or any Parquet file.
        columns: only these; all when left out.

    Raises:
        SpecError: no results there, damaged ones, or a column that does not exist.
    """
    wanted = columns if columns is None else [*dict.fromkeys([*columns])]
    files = parquet_files(folder)
    try:
        tables = [pq.read_table(f, columns=wanted) for f in files]
        short = [c for c in wanted or () if c not in tables[0].column_names]
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"{folder}: cannot be read ({error}); run the sweep again with --resume") from error
    if short:
        raise SpecError(f"{folder}: no column {', '.join(short)}; it has {', '.join(pq.read_schema(files[0]).names)}")
    return pa.concat_tables(tables).to_pandas()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a results folder; SpecError where there is none that can be read."""
    path = folder / "manifest.json"
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
    files = sorted((folder / SHARDS).glob("[!.]*.parquet"))
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
            return connection.sql(sql).df()
        except AttributeError as error:
            raise SpecError("the query answers nothing; it should begin with select") from error
        except duckdb.Error as error:
            raise SpecError(f"query: {' '.join(str(error).split())}") from error
