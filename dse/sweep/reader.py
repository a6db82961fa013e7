"""Parts of a specification (axes, rules, values) read and checked; every complaint knows its place in the file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from ..core.errors import DseError, UnknownNameError
from ..core.text import spelled
from .columns import full_column
from .keys import COUNTS, GROUPS, Value, full_key, is_number, value_of
from .points import SAMPLERS, Axis, Condition, ListAxis, Rule, SampleAxis

MOST_POINTS = 10**9
"""Points of the largest sweep accepted: more is a mistake in an axis."""
MOST_LISTED = 10**6
"""Values of a list, which is held in memory."""
MOST_WHOLE_DESIGN = 10**7
"""Points of a Latin hypercube, which has no parts that can be made alone."""
KINDS = ("values", "range", "log_range", "zip", "sample")
"""What an axis can be made of."""


class Strict(pydantic.BaseModel):
    """A table that may hold nothing but what it names."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class AxisTable(Strict):
    """An axis as it is written."""

    key: str | None = None
    """What it sets; with `values`, `range` or `log_range`."""
    values: list[Any] | None = None
    """A list of values."""
    range: list[Any] | None = None
    """First and last of `points` evenly spaced values."""
    log_range: list[Any] | None = None
    """The same, evenly spaced in the logarithm."""
    points: pydantic.PositiveInt | None = None
    """How many values a range or a sample has."""
    zip: dict[str, list[Any]] | None = None
    """Keys whose values move together, lists of equal length."""
    sample: str | None = None
    """"sobol" or "latin_hypercube": points spread over the box of `linear` and `log`."""
    linear: dict[str, list[Any]] = {}
    """Numbers of a sample, low and high, spread evenly."""
    log: dict[str, list[Any]] = {}
    """Numbers of a sample, low and high, spread evenly in the logarithm."""


class RuleTable(Strict):
    """A rule as it is written."""

    conditions: dict[str, Any] = pydantic.Field(alias="if")
    """Keys and values a point must have; a number may be a table with `at_most` and `at_least`."""
    settings: dict[str, Any] = pydantic.Field(alias="set", default={})
    """What such a point has instead."""
    skip: bool = False
    """Leave such points out."""


class At(Exception):
    """A complaint about one place in the file."""

    def __init__(self, place: tuple[str | int, ...], message: str):
        self.place, self.message = place, message


class Reader:
    """Reads parts of the file: whether it sweeps studies and where it lies decide what keys and files mean."""

    def __init__(self, folder: Path, of_studies: bool):
        self.folder, self.of_studies = folder, of_studies

    def key(self, place: tuple[str | int, ...], key: str) -> str:
        """The canonical key."""
        try:
            return full_key(key, self.of_studies)
        except UnknownNameError as error:
            if (self.of_studies and _exists(key, False)) or (not self.of_studies and _exists(key, True)):
                what = "studies: it has only study, limits.*, free.* and choices.*" if self.of_studies else "chips"
                raise At(place, f"'{key}' does not belong to a sweep of {what}") from error
            raise At(place, str(error)) from error

    def value(self, place: tuple[str | int, ...], key: str, raw: object) -> Value:
        """The value of a canonical key."""
        try:
            return value_of(key, raw, self.folder)
        except DseError as error:
            raise At(place, str(error)) from error

    def pair(self, place: tuple[str | int, ...], key: str, raw: object) -> tuple[str, Value]:
        """Canonical key and value of `key = raw` in the table at `place`."""
        full = self.key((*place, key), key)
        return full, self.value((*place, key), full, raw)

    def axis(self, index: int, axis: AxisTable, seed: int) -> Axis:
        """One axis."""
        place = ("axes", index)
        given = [k for k in KINDS if getattr(axis, k) is not None]
        if len(given) != 1:
            raise At(place, f"has {' and '.join(given) or 'no values'}; give exactly one of {', '.join(KINDS)}")
        (kind,) = given
        if (axis.key is None) == (kind in ("values", "range", "log_range")):
            raise At(place, f"{kind} names its own keys; leave out 'key'" if axis.key else f"{kind} needs a 'key'")
        if kind not in ("range", "log_range", "sample") and axis.points is not None:
            raise At((*place, "points"), f"{kind} already says how many; leave it out")
        if kind != "sample" and (axis.linear or axis.log):
            raise At(place, f"'linear' and 'log' belong to a sample, not to {kind}")
        if kind == "sample":
            return self._sample(place, axis, (seed, index))
        if kind == "zip":
            return self._zip(place, axis.zip or {})
        key = self.key((*place, "key"), str(axis.key))
        raw = axis.values if axis.values is not None else self._spread(place, kind, key, axis)
        if not raw:
            raise At((*place, "values"), "is empty; give at least one value")
        return ListAxis((key,), _distinct(place, [(self.value((*place, "values"), key, v),) for v in raw]))

    def _spread(self, place: tuple[str | int, ...], kind: str, key: str, axis: AxisTable) -> list[Value]:
        """Evenly spaced values, whole ones for a count."""
        if not (is_number(key) or key in COUNTS):
            raise At((*place, kind), f"'{key}' is a choice, not a number; list its values")
        if axis.points is None:
            raise At((*place, kind), "needs 'points', how many values it has")
        _check_count((*place, "points"), axis.points, MOST_LISTED, kind)
        lo, hi = self._ends((*place, kind), key, getattr(axis, kind))
        spaced = np.geomspace(lo, hi, axis.points) if kind == "log_range" else np.linspace(lo, hi, axis.points)
        return list(dict.fromkeys(round(float(v)) if key in COUNTS else float(v) for v in spaced))

    def _ends(self, place: tuple[str | int, ...], key: str, raw: list[Any]) -> tuple[float, float]:
        if len(raw) != 2:
            raise At(place, f"has {len(raw)} entries; give the first and the last value")
        lo, hi = (float(self.value(place, key, v)) for v in raw)
        if not lo < hi:
            raise At(place, f"begins at {lo:g} and ends at {hi:g}; give the smaller one first")
        return lo, hi

    def _zip(self, place: tuple[str | int, ...], columns: dict[str, list[Any]]) -> ListAxis:
        lengths = {k: len(v) for k, v in columns.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            told = ", ".join(f"{k} has {n}" for k, n in lengths.items()) or "is empty"
            raise At((*place, "zip"), f"{told}; zipped lists need the same number of values, at least one")
        keys = tuple(self.key((*place, "zip"), k) for k in columns)
        lists = [[self.value((*place, "zip"), k, v) for v in vs] for k, vs in zip(keys, columns.values(), strict=True)]
        return ListAxis(keys, _distinct(place, list(zip(*lists, strict=True))))

    def _sample(self, place: tuple[str | int, ...], axis: AxisTable, seed: tuple[int, int]) -> SampleAxis:
        if axis.sample not in SAMPLERS:
            raise At((*place, "sample"), str(UnknownNameError("sampler", str(axis.sample), SAMPLERS)))
        if axis.points is None:
            raise At(place, "a sample needs 'points', how many it draws")
        most = MOST_WHOLE_DESIGN if axis.sample == "latin_hypercube" else MOST_POINTS
        _check_count((*place, "points"), axis.points, most, str(axis.sample))
        boxes = [(k, v, log) for box, log in ((axis.linear, False), (axis.log, True)) for k, v in box.items()]
        if not boxes:
            raise At(place, "a sample needs a box: log = { clock = ['1 GHz', '3 GHz'] } or linear = {...}")
        keys, ends = [], []
        for name, raw, log in boxes:
            where = (*place, "log" if log else "linear", name)
            key = self.key(where, name)
            if not is_number(key):
                raise At(where, f"'{name}' is a choice; only numbers of a chip can be sampled, list its values instead")
            keys.append(key)
            ends.append(self._ends(where, key, raw))
        lower, upper = zip(*ends, strict=True)
        return SampleAxis(tuple(keys), axis.sample, axis.points, lower, upper, tuple(b[2] for b in boxes), seed)

    def rule(self, index: int, rule: RuleTable, known: set[str]) -> Rule:
        """One rule."""
        place = ("rules", index)
        if rule.skip == bool(rule.settings):
            raise At(place, "give either 'set' or 'skip = true'")
        if not rule.conditions:
            raise At((*place, "if"), "is empty; name a key and the values it must have")
        conditions = tuple(self._condition((*place, "if"), k, v) for k, v in flat(rule.conditions).items())
        for c in conditions:
            if c.key not in known:
                raise At((*place, "if"), f"'{c.key}' is set nowhere, so the rule could never hold")
        return Rule(
            conditions, tuple(self.pair((*place, "set"), k, v) for k, v in flat(rule.settings).items()), rule.skip
        )

    def _condition(self, place: tuple[str | int, ...], key: str, raw: Any) -> Condition:
        full = self.key(place, key)
        if isinstance(raw, dict):
            if not is_number(full) or not raw or set(raw) - {"at_least", "at_most"}:
                raise At(
                    place, f"{key} = {spelled(raw)}: numbers may have at_least and at_most; others a value or a list"
                )
            ends = {k: float(self.value(place, full, v)) for k, v in raw.items()}
            return Condition(full, (), ends.get("at_least", -math.inf), ends.get("at_most", math.inf))
        return Condition(full, tuple(self.value(place, full, v) for v in (raw if isinstance(raw, list) else [raw])))

    def column(self, name: str, index: int) -> str:
        """The canonical name of a column to record."""
        if self.of_studies:
            raise At(("sweep", "record"), "a sweep of studies records the whole solution; leave it out")
        try:
            return full_column(name)
        except DseError as error:
            raise At(("sweep", "record", index), str(error)) from error


def flat(table: dict[str, Any]) -> dict[str, Any]:
    """`limits.power = ...` is a table in a table for TOML, and one key for us."""
    groups = [k for k, v in table.items() if k in GROUPS and isinstance(v, dict)]
    inner = {f"{g}.{k}": v for g in groups for k, v in table[g].items()}
    return {k: v for k, v in table.items() if k not in groups} | inner


def _check_count(place: tuple[str | int, ...], n: int, most: int, what: str) -> None:
    """Before anything of that size is made."""
    if n > most:
        hint = "; a sobol sample may have more" if most == MOST_WHOLE_DESIGN else ""
        raise At(place, f"{n:,} points; a {what} may have at most {most:,}{hint}")


def _exists(key: str, of_studies: bool) -> bool:
    try:
        full_key(key, of_studies)
    except UnknownNameError:
        return False
    return True


def _distinct(place: tuple[str | int, ...], rows: list[tuple[Value, ...]]) -> tuple[tuple[Value, ...], ...]:
    seen: set[tuple[Value, ...]] = set()
    for row in rows:
        if row in seen:
            raise At(place, f"has {', '.join(map(str, row))} twice; keep one")
        seen.add(row)
    return tuple(rows)


HEADER = re.compile(r"\s*\[(\[?)\s*([^\]]+?)\s*\]")
PAIR = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """Line of the deepest part of `place`, such as ("axes", 2, "values"), that has a line of its own; None if none has.

    Tables written inline have no lines of their own: the answer is then the line on which they begin.
    """
    best, depth, here, counts = None, 0, (), {}
    for number, line in enumerate(text.splitlines(), start=1):
        header, pair = HEADER.match(line), PAIR.match(line)
        if header:
            name = tuple(_bare(part) for part in header[2].split("."))
            if header[1]:
                counts[name] = counts.get(name, -1) + 1
                name = (*name, counts[name])
            here, found = name, name
        elif pair:
            found = (*here, *(_bare(part) for part in pair[1].split(".")))
        else:
            continue
        if len(found) > depth and tuple(place[: len(found)]) == found:
            best, depth = number, len(found)
    return best


def _bare(part: str) -> str:
    return part.strip().strip("\"'")
