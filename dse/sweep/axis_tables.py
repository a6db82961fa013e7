"""Parsing and checking of the axes of a sweep specification."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import UnknownNameError
from .keys import COUNTS, Value, is_number
from .points import SAMPLERS, Axis, ListAxis, SampleAxis
from .reader import MOST_POINTS, At, AxisTable, Reader

MOST_LISTED = 10**6
"""Values of a list, which is held in memory."""
MOST_WHOLE_DESIGN = 10**7
"""Points of a Latin hypercube, which has no parts that can be made alone."""
KINDS = ("values", "range", "log_range", "zip", "sample")
"""What an axis can be made of."""


def read_axis(read: Reader, index: int, axis: AxisTable, seed: int) -> Axis:
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
        # by place, so that a sample stays what it was when an axis is added behind it
        return _sample(read, place, axis, (seed, index))
    if kind == "zip":
        return _zip(read, place, axis.zip or {})
    key = read.key((*place, "key"), str(axis.key))
    raw = axis.values if axis.values is not None else _spread(read, place, kind, key, axis)
    if not raw:
        raise At((*place, "values"), "is empty; give at least one value")
    return ListAxis((key,), _distinct(place, [(read.value((*place, "values"), key, v),) for v in raw]))


def _spread(read: Reader, place: tuple[str | int, ...], kind: str, key: str, axis: AxisTable) -> list[Value]:
    if not (is_number(key) or key in COUNTS):
        raise At((*place, kind), f"'{key}' is a choice, not a number; list its values")
    if axis.points is None:
        raise At((*place, kind), "needs 'points', how many values it has")
    _check_count((*place, "points"), axis.points, MOST_LISTED, kind)
    lo, hi = read.ends((*place, kind), key, getattr(axis, kind))
    spaced = np.geomspace(lo, hi, axis.points) if kind == "log_range" else np.linspace(lo, hi, axis.points)
    # whole numbers that a fine range repeats count once
    return list(dict.fromkeys(round(float(v)) if key in COUNTS else float(v) for v in spaced))


def _zip(read: Reader, place: tuple[str | int, ...], columns: dict[str, list[Any]]) -> ListAxis:
    lengths = {k: len(v) for k, v in columns.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        told = ", ".join(f"{k} has {n}" for k, n in lengths.items()) or "is empty"
        raise At((*place, "zip"), f"{told}; zipped lists need the same number of values, at least one")
    keys = tuple(read.key((*place, "zip"), k) for k in columns)
    lists = [[read.value((*place, "zip"), k, v) for v in vs] for k, vs in zip(keys, columns.values(), strict=True)]
    return ListAxis(keys, _distinct(place, list(zip(*lists, strict=True))))


def _sample(read: Reader, place: tuple[str | int, ...], axis: AxisTable, seed: tuple[int, int]) -> SampleAxis:
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
        key = read.key(where, name)
        if not is_number(key):
            raise At(where, f"'{name}' is a choice; only numbers of a chip can be sampled, list its values instead")
        keys.append(key)
        ends.append(read.ends(where, key, raw))
    lower, upper = zip(*ends, strict=True)
    return SampleAxis(tuple(keys), axis.sample, axis.points, lower, upper, tuple(b[2] for b in boxes), seed)


def _check_count(place: tuple[str | int, ...], n: int, most: int, what: str) -> None:
    if n > most:
        hint = "; a sobol sample may have more" if most == MOST_WHOLE_DESIGN else ""
        raise At(place, f"{n:,} points; a {what} may have at most {most:,}{hint}")


def _distinct(place: tuple[str | int, ...], rows: list[tuple[Value, ...]]) -> tuple[tuple[Value, ...], ...]:
    seen: set[tuple[Value, ...]] = set()
    for row in rows:
        # the same points twice would be paid for twice, and weigh double in every mean
        if row in seen:
            raise At(place, f"has {', '.join(map(str, row))} twice; keep one")
        seen.add(row)
    return tuple(rows)
