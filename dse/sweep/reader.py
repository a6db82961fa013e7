"""Parsing and checking of sweep specifications (keys, values, rules); errors name their place in the file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from ..core.errors import DseError, UnknownNameError
from ..core.text import spelled
from ..study.limits import full_name
from .keys import EVALUATED, GROUPS, OF_CHIP, Value, full_key, is_number, value_of
from .points import Condition, Rule

MOST_POINTS = 10**9
"""Points of the largest sweep accepted: more is a mistake in an axis."""


class Strict(pydantic.BaseModel):
    """A table that may hold nothing but what it names."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


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


# not a `DseError`: only `load_sweep`, which catches it, knows the file and its lines
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
            # a key of the other kind of sweep is no typo: near matches would mislead
            if _exists(key, not self.of_studies):
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

    def ends(self, place: tuple[str | int, ...], key: str, raw: list[Any]) -> tuple[float, float]:
        """First and last value of a range."""
        if len(raw) != 2:
            raise At(place, f"has {len(raw)} entries; give the first and the last value")
        lo, hi = (float(self.value(place, key, v)) for v in raw)
        if not lo < hi:
            raise At(place, f"begins at {lo:g} and ends at {hi:g}; give the smaller one first")
        return lo, hi

    def column(self, name: str, index: int) -> str:
        """The canonical name of a column to record."""
        if self.of_studies:
            raise At(("sweep", "record"), "a sweep of studies records the whole solution; leave it out")
        try:
            return full_name(name, (*EVALUATED, *OF_CHIP), "column")
        except DseError as error:
            raise At(("sweep", "record", index), str(error)) from error


def flat(table: dict[str, Any]) -> dict[str, Any]:
    """`limits.power = ...` is a table in a table for TOML, and one key for us."""
    groups = [k for k, v in table.items() if k in GROUPS and isinstance(v, dict)]
    inner = {f"{g}.{k}": v for g in groups for k, v in table[g].items()}
    return {k: v for k, v in table.items() if k not in groups} | inner


def _exists(key: str, of_studies: bool) -> bool:
    try:
        full_key(key, of_studies)
    except UnknownNameError:
        return False
    return True


def read_rule(read: Reader, index: int, rule: RuleTable, known: set[str]) -> Rule:
    """One rule."""
    place = ("rules", index)
    # equal where both are given, or neither
    if rule.skip == bool(rule.settings):
        raise At(place, "give either 'set' or 'skip = true'")
    if not rule.conditions:
        raise At((*place, "if"), "is empty; name a key and the values it must have")
    conditions = tuple(_condition(read, (*place, "if"), k, v) for k, v in flat(rule.conditions).items())
    for c in conditions:
        if c.key not in known:
            raise At((*place, "if"), f"'{c.key}' is set nowhere, so the rule could never hold")
    return Rule(conditions, tuple(read.pair((*place, "set"), k, v) for k, v in flat(rule.settings).items()), rule.skip)


def _condition(read: Reader, place: tuple[str | int, ...], key: str, raw: Any) -> Condition:
    full = read.key(place, key)
    if isinstance(raw, dict):
        if not is_number(full) or not raw or set(raw) - {"at_least", "at_most"}:
            raise At(place, f"{key} = {spelled(raw)}: numbers may have at_least and at_most; others a value or a list")
        ends = {k: float(read.value(place, full, v)) for k, v in raw.items()}
        return Condition(full, (), ends.get("at_least", -math.inf), ends.get("at_most", math.inf))
    return Condition(full, tuple(read.value(place, full, v) for v in (raw if isinstance(raw, list) else [raw])))


# read once more by line, since the TOML reader of the standard library keeps no line numbers
HEADER = re.compile(r"\s*\[(\[?)\s*([^\]]+?)\s*\]")
PAIR = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """Line of the deepest part of `place`, such as ("axes", 2, "values"), that has one of its own; None if none has."""
    best, depth, here, counts = None, 0, (), {}
    for number, line in enumerate(text.splitlines(), start=1):
        header, pair = HEADER.match(line), PAIR.match(line)
        if header:
            name = tuple(_bare(part) for part in header[2].split("."))
            # every [[axes]] begins another element of the list
            if header[1]:
                counts[name] = counts.get(name, -1) + 1
                name = (*name, counts[name])
            here, found = name, name
        elif pair:
            found = (*here, *(_bare(part) for part in pair[1].split(".")))
        else:
            continue
        # deeper, not as deep: of equals the first line is the one to name
        if len(found) > depth and tuple(place[: len(found)]) == found:
            best, depth = number, len(found)
    return best


def _bare(part: str) -> str:
    return part.strip().strip("\"'")
