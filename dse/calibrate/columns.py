"""Columns of users' tables: what each says, its other names, and what the others tell of one that is absent."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import SpecError, UnknownNameError
from .tools import as_meant

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
    above: tuple[str, ...] = ()
    """Those of them that count before the column's own name: what was asked for, beside what came of it."""
    example: str = ""
    only: tuple[str, ...] | None = None
    """The only words, in small letters, of a row that is predicted, where the column may say that it is not."""


@cache
def _all() -> tuple[Column, ...]:
    text = (Path(__file__).parent / "data" / "columns.toml").read_text(encoding="utf-8")
    return tuple(
        Column(
            name, said["says"], tuple(said.get("kinds", KINDS)), tuple(said.get("needs", ())),
            said.get("filled", False), tuple(said.get("also", ())), tuple(said.get("above", ())),
            said.get("example", ""), tuple(said["only"]) if "only" in said else None,
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
    """Rows whose columns have the usual names; a column keeps its own where another has the usual one already.

    Of two columns that mean one, that whose name stands first in `Column.also` counts, wherever it stands in the table;
    names in `Column.above` count even before the column's own.
    """
    rows = as_meant(rows)
    found = {str(c): str(c).strip() for c in rows.columns}
    for column in columns(kind):
        asked = next(
            (c for c in found if _rank(c, column.above, column.name) is not None and any(map(pd.notna, rows[c]))), None
        )
        if asked and column.name in rows:
            found |= {column.name: f"measured {column.name}", asked: column.name}
            continue
        names = [column.name, column.name.lower(), *column.also]
        ranks = {
            c: rank
            for c in found
            if (rank := _rank(c, names, column.name)) is not None and _may_be(rows[c], c, column.name)
        }
        best = min(ranks, key=lambda c: ranks[c], default=column.name)
        if column.name not in found.values():
            found[best] = column.name
    # `best` is no column of the table where no header fits
    return rows.rename(columns={c: n for c, n in found.items() if c in rows})


def _may_be(cells: Any, header: str, name: str) -> bool:
    """Whether cells may be those of a column that a single letter stands for: of a batch, operand B is none."""
    numbers: Any = pd.to_numeric(cells, errors="coerce")
    return len(header) > 1 or header.lower() == name.lower() or bool(numbers.notna().any())


def column_of(header: str, kind: str) -> str | None:
    """The column of a kind that a header names; None for another header."""
    names = ((c.name, _rank(header, [c.name, c.name.lower(), *c.also], c.name)) for c in columns(kind))
    return next((name for name, rank in names if rank is not None), None)


def is_column(header: str, kind: str) -> bool:
    """Whether a header names a column of a kind."""
    return column_of(header, kind) is not None


COUNTS = r"^(#|(no|nr)\.?( of)?[\s_]|number of\s|num[\s_]|n[\s_])[\s_-]*"
"""What headers begin with that count something."""


COUNTED = re.compile(r"(.+?)[\s_]*[(\[]\s*(?:(?P<tokens>tokens?|toks?|t)|(?:seq(?:uence)?s?|samples?|s))\s*[)\]]")
"""A name with what it counts in brackets."""
OF_TOKENS = (
    "in_len", "out_len", "asked_in_len", "asked_out_len", "in_out_len", "seq_len", "batch_tokens",
    "total_input_tokens", "total_output_tokens",
)  # fmt: skip
OF_SEQUENCES = ("global_batch", "micro_batch", "replica_batch", "batch_per_chip", "batch", "completed", "num_prompts")
"""Columns whose names may stand before what they count; a batch of tokens is another than one of sequences."""
CAMEL = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
"""Where a word begins in a name such as "GlobalBatchSize"."""


def _rank(header: str, names: Sequence[str], column: str) -> int | None:
    """Place of a header among `names` of a column; None where it is none of them."""
    plain = [p for said in (header, re.sub(CAMEL, "_", header)) for p in _spellings(said, column)]
    return next((names.index(p) for p in plain if p in names), None)


def _spellings(header: str, column: str) -> list[str]:
    """A header in small letters joined by underscores, as `column` may be spelled, the likeliest first."""
    low = re.sub(r"\s*/\s*", "/", header.strip().lower())
    if counted := COUNTED.fullmatch(low):
        fits = column in (OF_TOKENS if counted["tokens"] else OF_SEQUENCES)
        low = (
            counted[1] if fits and column != "batch_tokens" else f"{counted[1]} (tokens)" if counted["tokens"] else low
        )
    plain = [re.sub(r"[\s-]+", "_", low.lstrip("# "))]
    if column in OF_TOKENS:
        plain += [re.sub(r"^(mean|avg|average)_(?=.)", "", plain[0])]
    if count := re.sub(COUNTS, "num_", low) if re.match(COUNTS, low) else "":
        # "# GPU" counts chips, while "GPU" names one
        plain[:0] = [re.sub(r"[\s-]+", "_", count + end) for end in ("", "s")]
    return plain


def told_apart(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows with the reason why one is not predicted, where a cell says that what was measured is something else."""
    why: Any = rows[OWN[0]] if OWN[0] in rows else pd.Series("", index=rows.index)
    for column in (c for c in columns(kind) if c.only is not None and c.name in rows):
        said: Any = rows[column.name].map(lambda x: "" if pd.isna(x) else re.sub(r"\.0$", "", str(x).strip().lower()))
        other = (why == "") & (said != "") & ~said.isin(column.only)
        why = why.where(~other, column.name + " = '" + said + f"': {column.says}")
    return rows.assign(**{OWN[0]: why}) if bool((why != "").any()) else rows


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
    # 8 and "8.0" are one, "bf16" and "BF16" too
    return str(a).strip().lower() == b.lower() or _number(str(a)) == _number(b)


def example(kind: str) -> Mapping[str, str]:
    """A row of a table of a kind as people write it, with one metric as a column."""
    return {c.name: c.example for c in columns(kind) if c.example} | EXAMPLES[kind]


EXAMPLES = {
    "training": {"step_time (s)": "20.9"}, "inference": {"median_tpot (ms)": "21.8"},
    "kernels": {"latency (us)": "210"}, "collectives": {"busbw (GB/s)": "404"},
}  # fmt: skip
"""A metric in the example of each kind, with its cell."""
