"""What is written of a study, changed: the tables of its file with limits, numbers, choices or workloads in place."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import SpecError
from ..core.text import stem_of

Bound = tuple[str | float, str | float]
"""Least and most of a free number: text with a unit, or canonical units."""
SENSES = {"<=": "at_most", ">=": "at_least"}


@dataclasses.dataclass(frozen=True)
class Written:
    """A study as it was written."""

    tables: dict[str, Any]
    """Of the form of a TOML file."""
    folder: Path
    """Where the file of a portfolio is looked for."""


def changed_tables(
    tables: Mapping[str, Any],
    *,
    limits: Iterable[str | Mapping[str, Any]] = (),
    without: Iterable[str] = (),
    free: Mapping[str, Bound | str | float | None] | None = None,
    choices: Mapping[str, Any] | None = None,
    workloads: Mapping[str, Mapping[str, Any] | None] | None = None,
    **head: Any,
) -> dict[str, Any]:
    """The tables of a study with changes; see `Study.changed`."""
    gone, news = {stem_of(x) for x in without}, [limit_table(x) for x in limits]
    taken = {(stem_of(x["metric"]), s) for x in news for s in SENSES.values() if s in x}
    left = [x for x in tables.get("limits", []) if stem_of(x["metric"]) not in gone]
    kept = [x for x in left if not any((stem_of(x["metric"]), s) in taken for s in SENSES.values() if s in x)]
    entries = {k: list(v) if isinstance(v, (list, tuple)) else [v] for k, v in (choices or {}).items()}
    return {
        **tables,
        "study": {**tables["study"], **head},
        "choices": {**tables["choices"], **entries},
        "free": _changed(tables["free"], free or {}),
        "workloads": _changed(tables.get("workloads", {}), workloads or {}),
        "limits": [*kept, *news],
    }


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with entries of `new` in place or added; None drops one."""
    return {k: v for k, v in {**old, **new}.items() if v is not None}


def limit_table(written: str | Mapping[str, Any]) -> dict[str, Any]:
    """A limit as the file has it."""
    if not isinstance(written, str):
        return dict(written)
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*(\S.*?)\s*", written)
    if found is None:
        raise SpecError(f"limit '{written}': write it as 'metric <= value' or >=, such as 'power <= 700 W'")
    metric, sense, value = found.groups()
    return {"metric": metric, SENSES[sense]: value}
