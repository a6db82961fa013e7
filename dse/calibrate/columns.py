"""Columns of users' tables: what each says, its other names, and what the others tell of one that is absent."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import SpecError, UnknownNameError

KINDS = ("training", "inference", "kernels", "collectives")
"""What is measured: whole steps, requests, single operators, communication."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of tables of measurements."""

    name: str
    says: str
    """What a cell holds, and what is taken where it is blank."""
    kinds: tuple[str, ...] = KINDS
    """Which tables read it."""
    needs: tuple[str, ...] = ()
    """Which tables cannot do without it."""
    filled: bool = False
    """Whether other columns may tell what it would say."""
    also: tuple[str, ...] = ()
    """Other names, in small letters joined by underscores."""
    example: str = ""


@cache
def _all() -> tuple[Column, ...]:
    text = (Path(__file__).parent / "data" / "columns.toml").read_text(encoding="utf-8")
    return tuple(
        Column(
            name, said["says"], tuple(said.get("kinds", KINDS)), tuple(said.get("needs", ())),
            said.get("filled", False), tuple(said.get("also", ())), said.get("example", ""),
        )
        for name, said in tomllib.loads(text).items()
    )  # fmt: skip


@cache
def columns(kind: str) -> tuple[Column, ...]:
    """Columns that tables of a kind may have; UnknownNameError for a kind not among `KINDS`."""
    if kind not in KINDS:
        raise UnknownNameError("kind of measurement", kind, KINDS)
    return tuple(c for c in _all() if kind in c.kinds)


@cache
def needed(kind: str) -> tuple[str, ...]:
    """Names of the columns that a table of a kind must have once what is absent is filled."""
    return tuple(c.name for c in columns(kind) if kind in c.needs)


def renamed(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows whose columns have the usual names; a column keeps its own where another has the usual one already."""
    usual = {other: c.name for c in columns(kind) for other in (*c.also, c.name.lower())}
    found, taken = {}, set(map(str, rows.columns))
    for column in map(str, rows.columns):
        low = re.sub(r"[\s-]+", "_", column.strip().lower().lstrip("# "))
        name = usual.get(low) or column.strip()
        if name not in taken:
            found[column] = name
            taken.add(name)
    return rows.rename(columns=found)


def unread(rows: pd.DataFrame, kind: str) -> tuple[str, ...]:
    """Columns of a table that nothing of its kind reads."""
    return tuple(c for c in map(str, rows.columns) if c not in (*_names(kind), *OWN))


@cache
def _names(kind: str) -> tuple[str, ...]:
    return tuple(c.name for c in columns(kind))


OWN = ("odd_number", "dims_from", "unit")
"""Columns that reading adds."""


def given(rows: pd.DataFrame, said: Sequence[str], kind: str) -> pd.DataFrame:
    """Rows with columns that hold one cell throughout, each given as "column=cell".

    SpecError for another form, for a column that the kind does not read, and for one that says something else already.
    """
    for one in said:
        name, sign, cell = (part.strip() for part in one.partition("="))
        found = renamed(pd.DataFrame({name: [cell]}), kind)
        usual = str(found.columns[0])
        if not sign or not cell or unread(found, kind):
            raise SpecError(f"--given {one}: expected column=cell of {', '.join(_names(kind))}")
        if usual in rows and not all(_same(x, cell) for x in rows[usual].dropna()):
            raise SpecError(f"--given {one}: the table's own column {usual} says otherwise")
        rows = rows.assign(**{usual: _number(cell)})
    return rows


def _number(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell


def _same(a: object, b: str) -> bool:
    return str(a).strip().lower() == b.lower() or _number(str(a)) == _number(b)


def completed(rows: pd.DataFrame, kind: str, source: str) -> pd.DataFrame:
    """Rows with the columns that others tell: lengths from totals, chips from ranks, sizes from a model's name.

    A point without a name gets that of its line, a table without a source that of its file, and a product its operator.
    A cell stays blank where nothing tells it.
    """
    n = len(rows)
    told: dict[str, Any] = {"point_id": [f"line {i + 1}" for i in range(n)], "source": source}
    if kind == "inference":
        told |= {"in_len": _mean(rows, "total_input_tokens"), "out_len": _mean(rows, "total_output_tokens")}
        # only where all requests were sent at the start: at a finite rate the number at work is an outcome
        told |= {"concurrency": _at_once(rows)}
    # one of them is enough: a kind of rank that no column names is one rank
    if {"tp", "pp", "dp"} & set(rows.columns):
        told["num_chips"] = _ranks(rows)
    if kind == "collectives":
        rows = in_bytes(rows)
        # a rank is a chip, unless a column of its own says otherwise
        told["num_ranks"] = rows.get("num_chips")
    if kind == "kernels" and set("MNK") <= set(rows.columns):
        told["op"] = "gemm"
    rows = rows.assign(**{c: cells for c, cells in told.items() if c not in rows and cells is not None})
    # a column that is there may still have blank cells: only those are filled
    for name in (c for c in FILLED if told.get(c) is not None):
        rows = rows.assign(**{name: rows[name].where(rows[name].notna(), told[name])})
    blank = [c for said, *others in BLANK for c in others if said in rows and c not in rows and c in _names(kind)]
    return rows.assign(**dict.fromkeys(blank, None))


SIZE = r"(?:message_?)?size[_ (]*([KMG])iB\)?"
"""A header of message sizes in binary units; "MB" may be two sizes, and is none."""


def in_bytes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose message sizes in KiB, MiB or GiB are in bytes, where no column has them so."""
    found = {c: m for c in map(str, rows.columns) if (m := re.fullmatch(SIZE, c.strip(), re.IGNORECASE))}
    # of two columns of sizes nothing says which one counts
    if len(found) != 1 or "message_bytes" in rows:
        return rows
    ((name, match),) = found.items()
    # KiB is 2^10 bytes, and every letter further 2^10 times as much
    scale = 2.0 ** (10 * (1 + "KMG".index(match[1].upper())))
    return rows.assign(message_bytes=_numbers(rows, name) * scale).drop(columns=name)


FILLED = ("in_len", "out_len", "concurrency", "num_chips")
"""Columns whose blank cells are filled too."""
BLANK = ("model", "layers", "hidden", "heads"), ("concurrency", "batch")
"""A column that says, by row, what those behind it leave blank."""


def _numbers(rows: pd.DataFrame, name: str, default: float = math.nan) -> Any:
    cells: Any = rows[name] if name in rows else pd.Series(default, index=rows.index)
    found: Any = pd.to_numeric(cells, errors="coerce")
    return found.fillna(default)


def _mean(rows: pd.DataFrame, total: str) -> Any:
    """Tokens of a request, from those of a whole benchmark; None where its columns do not tell."""
    # requests that failed have no tokens in the total, so they are not divided by either
    return _numbers(rows, total) / _numbers(rows, "completed") if {total, "completed"} <= set(rows.columns) else None


def _at_once(rows: pd.DataFrame) -> Any:
    """Clients of a benchmark that sends all its requests at once; None where it does not say how many."""
    if not {"num_prompts", "request_rate"} <= set(rows.columns):
        return None
    # an infinite rate is how benchmarks write that nothing waits before it is sent
    return _numbers(rows, "num_prompts").where(_numbers(rows, "request_rate") == math.inf)


def _ranks(rows: pd.DataFrame) -> Any:
    """Ranks of a plan: one chip each."""
    return math.prod(_numbers(rows, name, 1.0) for name in ("tp", "pp", "dp", "cp"))


def example(kind: str) -> Mapping[str, str]:
    """A row of a table of a kind as people write it, with one metric as a column."""
    return {c.name: c.example for c in columns(kind) if c.example} | EXAMPLES[kind]


EXAMPLES = {
    "training": {"step_time (s)": "20.9"}, "inference": {"median_tpot (ms)": "21.8"},
    "kernels": {"latency (us)": "210"}, "collectives": {"busbw (GB/s)": "404"},
}  # fmt: skip
"""A metric in the example of each kind, with its cell."""
