"""What is written of a study in Python, as the tables of its file; and such tables changed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import SpecError, UnknownNameError
from ..core.free import Free
from ..core.text import stem_of
from .metrics import Limit

Bound = tuple[str | float, str | float] | str | float | Free
"""Least and most of a free number, or the one value it is fixed at: text with a unit, or canonical units."""
AnyLimit = str | Mapping[str, Any] | Limit
"""A limit as "metric <= value", as the table of a file, or as a record."""
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
    limits: Iterable[AnyLimit] | AnyLimit = (),
    without: Iterable[str] = (),
    free: Mapping[str, Bound | None] | None = None,
    choices: Mapping[str, Any] | None = None,
    workloads: Mapping[str, Mapping[str, Any] | None] | None = None,
    **head: Any,
) -> dict[str, Any]:
    """The tables of a study with changes; see `Study.changed`."""
    drops = [without] if isinstance(without, str) else list(without)
    limited = {stem_of(x["metric"]) for x in tables.get("limits", [])}
    for x in drops:
        if stem_of(x) not in limited:
            raise UnknownNameError("limit to drop", x, limited)
    gone, news = {stem_of(x) for x in drops}, limit_tables(limits)
    taken = {(stem_of(x["metric"]), s) for x in news for s in SENSES.values() if s in x}
    left = [x for x in tables.get("limits", []) if stem_of(x["metric"]) not in gone]
    kept = [x for x in left if not any((stem_of(x["metric"]), s) in taken for s in SENSES.values() if s in x)]
    return {
        **tables,
        "study": {**tables["study"], **head},
        "choices": {**tables["choices"], **entries_of(choices or {})},
        "free": _changed("free", tables["free"], {k: ends_of(k, v) for k, v in mapping("free", free or {}).items()}),
        "workloads": _changed("workloads", tables.get("workloads", {}), workload_tables(workloads or {})),
        "limits": [*kept, *news],
    }


def _changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with entries of `new` in place or added; None drops one that is there."""
    for key in (k for k, v in new.items() if v is None and k not in old):
        raise UnknownNameError(f"entry of {what} to drop", key, old)
    return {k: v for k, v in {**old, **new}.items() if v is not None}


def mapping(what: str, given: Any) -> dict[str, Any]:
    """`given` as a dictionary; SpecError for anything that is none."""
    if not isinstance(given, Mapping):
        raise SpecError(f"{what}: expected names with their values, not {_kind(given)}")
    return dict(given)


def _kind(given: object) -> str:
    return f"'{given}'" if isinstance(given, str) else f"a value of type {type(given).__name__}"


def entries_of(choices: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Entries to choose among by kind; a single one needs no list."""
    return {k: list(v) if isinstance(v, (list, tuple)) else [v] for k, v in mapping("choices", choices).items()}


def ends_of(key: str, bound: Bound | None) -> Any:
    """Bounds of a free number as the file has them; a record of another number is refused."""
    if not isinstance(bound, Free):
        return bound
    if key not in (bound.name, stem_of(bound.name)):
        raise SpecError(f"free.{key}: bounds of {bound.name}; write them under its name")
    return bound.lower, bound.upper


def workload_tables(given: Mapping[str, Any] | Iterable[Any]) -> dict[str, Any]:
    """Workloads by name; those of a list are called by their phase, with their place where a phase comes twice."""
    if isinstance(given, (list, tuple)):
        tables = [mapping(f"workloads.{i}", w) for i, w in enumerate(given)]
        phases = [str(t.get("phase", i)) for i, t in enumerate(tables)]
        names = [p if phases.count(p) == 1 else f"{p}_{i + 1}" for i, p in enumerate(phases)]
        return dict(zip(names, tables, strict=True))
    each = mapping("workloads", given)
    return {k: None if w is None else mapping(f"workloads.{k}", w) for k, w in each.items()}


def limit_tables(given: Iterable[AnyLimit] | AnyLimit) -> list[dict[str, Any]]:
    """Limits as the file has them; one alone needs no list."""
    if isinstance(given, (str, Mapping, Limit)):
        return [limit_table(given)]  # type: ignore[arg-type]  # of iterables a mapping is one limit
    if not isinstance(given, Iterable):
        raise SpecError(f"limits: expected a list of limits such as 'power <= 700 W', not {_kind(given)}")
    return [limit_table(x) for x in given]


def limit_table(written: AnyLimit) -> dict[str, Any]:
    """A limit as the file has it."""
    if isinstance(written, Limit):
        return {"metric": written.metric, written.sense: written.value}
    if not isinstance(written, str):
        return mapping("limits", written)
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*(\S.*?)\s*", written)
    if found is None:
        raise SpecError(f"limit '{written}': write it as 'metric <= value' or >=, such as 'power <= 700 W'")
    metric, sense, value = found.groups()
    return {"metric": metric, SENSES[sense]: value}
