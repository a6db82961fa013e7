"""Sweep specifications: a TOML file checked as a whole; an error names file, line, key, value and what is allowed."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from ..core.errors import DseError, SpecError, UnknownNameError
from ..core.files import SAFE_NAME
from ..core.origin import digest
from ..objective.study import Study, load_study
from ..workload.transformer import PHASES
from .columns import DEFAULT_RECORD, full_column
from .keys import COUNTS, FILES, GROUPS, OF_PHASE, Value, check_open, find_file, full_key, is_number, value_of
from .lines import line_of
from .points import SAMPLERS, Axis, Condition, ListAxis, Rule, SampleAxis, Sweep, pairs_of

MOST_POINTS = 10**9
"""Points of the largest sweep accepted: more is a mistake in an axis."""
FIXED_SHARD, FIXED_SETTINGS = 2**18, 2**8
"""Points and combinations of choices that take about a second where plans are given."""
AUTO_SHARD = 2**9
"""Points that take about a second where plans are searched; lowering all plans of one combination takes another."""
KINDS = ("values", "range", "log_range", "zip", "sample")
"""What an axis can be made of."""


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class _Head(_Strict):
    name: str
    seed: pydantic.NonNegativeInt = 0
    expected_minutes: float | None = None
    record: list[str] | None = None
    shard_points: pydantic.PositiveInt | None = None


class _Axis(_Strict):
    key: str | None = None
    values: list[Any] | None = None
    range: list[Any] | None = None
    log_range: list[Any] | None = None
    points: pydantic.PositiveInt | None = None
    zip: dict[str, list[Any]] | None = None
    sample: str | None = None
    linear: dict[str, list[Any]] = {}
    log: dict[str, list[Any]] = {}


class _Rule(_Strict):
    conditions: dict[str, Any] = pydantic.Field(alias="if")
    settings: dict[str, Any] = pydantic.Field(alias="set", default={})
    skip: bool = False


class _File(_Strict):
    sweep: _Head
    base: dict[str, Any] = {}
    axes: list[_Axis] = []
    rules: list[_Rule] = []


_KEYS = {f.alias or n for m in (_Head, _Axis, _Rule, _File) for n, f in m.model_fields.items()}


class _At(Exception):
    """A complaint about one place in the file."""

    def __init__(self, place: tuple[str | int, ...], message: str):
        self.place, self.message = place, message


def load_sweep(path: str | Path) -> Sweep:
    """The sweep in a TOML file; those in `sweeps/` show every key.

    Raises:
        SpecError: one line with the file, the line where it is known, the key, its value and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not valid TOML: {error}") from error
    try:
        return _sweep(_File.model_validate(raw), text, path.parent)
    except pydantic.ValidationError as error:
        found = [_explain(e) for e in error.errors()]
    except _At as error:
        found = [error]
    raise SpecError("; ".join(f"{_address(path, text, e.place)}: {e.message}" for e in found))


def _address(path: Path, text: str, place: tuple[str | int, ...]) -> str:
    """File, line and place in the file."""
    line = line_of(text, place)
    words = "".join(f"[{p + 1}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
    return f"{path}{f':{line}' if line else ''}: {words}"


def _explain(error: Any) -> _At:
    """A complaint of the schema in our words."""
    place = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), sorted(_KEYS), n=1)
        return _At(place, "unknown key" + (f"; did you mean '{near[0]}'?" if near else ""))
    if error["type"] == "missing":
        return _At(place, "missing")
    return _At(place, f"{error['input']!r} is not allowed: {error['msg'][:1].lower()}{error['msg'][1:]}")


def _sweep(file: _File, text: str, folder: Path) -> Sweep:
    """The checked sweep; raises `_At`."""
    if not SAFE_NAME.fullmatch(file.sweep.name):
        raise _At(("sweep", "name"), f"'{file.sweep.name}' cannot name a folder; use letters, digits, '.', '_' and '-'")
    keys = [*file.base, *(a.key for a in file.axes), *(k for a in file.axes for k in a.zip or ())]
    read = _Reader(folder, "study" in keys)
    base = tuple(read.pair(("base",), k, v) for k, v in _flat(file.base).items())
    axes = [read.axis(i, a, file.sweep.seed) for i, a in enumerate(file.axes)]
    _check_axes(
        axes, [load_study(find_file("study", str(v), folder)) for k, v in pairs_of(base, axes, ()) if k == "study"]
    )
    ordered = tuple(sorted(axes, key=lambda a: all(is_number(k) for k in a.keys)))
    if math.prod(a.size for a in ordered) > MOST_POINTS:
        raise _At(("axes",), f"{math.prod(a.size for a in ordered):,} points; at most {MOST_POINTS:,} are accepted")
    set_keys = {k for k, _ in base} | {k for a in axes for k in a.keys}
    rules = tuple(read.rule(i, r, set_keys) for i, r in enumerate(file.rules))
    for needed in ("study",) if read.of_studies else ("chip", "model"):
        if needed not in set_keys:
            raise _At(("base",), f"no '{needed}'; give it here or as an axis")
    record = tuple(read.column(c, i) for i, c in enumerate(file.sweep.record or ()))
    pairs = pairs_of(base, ordered, rules)
    _check_phases(pairs)
    usual_record = () if read.of_studies else DEFAULT_RECORD
    varied = {k for axis in ordered for k in axis.keys} | {k for rule in rules for k, _ in rule.settings}
    return Sweep(
        name=file.sweep.name, text=text, folder=folder, of_studies=read.of_studies, base=base, axes=ordered,
        rules=rules, record=tuple(c for c in record or usual_record if c not in varied), seed=file.sweep.seed,
        shard_points=file.sweep.shard_points or usual_shard(ordered, pairs, read.of_studies),
        files=_own_files(pairs, folder),
    )  # fmt: skip


def usual_shard(axes: Sequence[Axis], pairs: list[tuple[str, Value]], of_studies: bool) -> int:
    """Points of a unit of work of about a second or more: a crash costs no more, and a scheduler has little to do."""
    if of_studies:
        return 1
    per_setting = math.prod(a.size for a in axes if all(is_number(k) for k in a.keys))
    plans = {v for k, v in pairs if k == "plan"}
    if not plans or "auto" in plans:
        return min(AUTO_SHARD, per_setting)
    return min(FIXED_SHARD, FIXED_SETTINGS * per_setting)


def _own_files(pairs: list[tuple[str, Value]], folder: Path) -> tuple[tuple[str, str], ...]:
    """Users' files among the values, as they are written, with the digest of each."""
    own = {str(v): k for k, v in pairs if k in FILES and str(v).endswith(FILES[k])}
    return tuple((v, digest(Path(find_file(k, v, folder)).read_bytes())) for v, k in own.items())


def _check_axes(axes: list[Axis], studies: list[Study]) -> None:
    """Every key is set by one axis, and is something that every study leaves open."""
    seen: dict[str, int] = {}
    for i, key in ((i, k) for i, axis in enumerate(axes) for k in axis.keys):
        if key in seen:
            raise _At(("axes", i), f"'{key}' is set by axis {seen[key] + 1} too; keep one")
        seen[key] = i
        for study in studies:
            try:
                check_open(study, key)
            except SpecError as error:
                raise _At(("axes", i, "key"), str(error)) from error


def _check_phases(pairs: list[tuple[str, Value]]) -> None:
    """A key of a phase that no point has would change nothing."""
    phases = {str(v) for k, v in pairs if k == "phase"} or {PHASES[0]}
    for key in dict.fromkeys(k for k, _ in pairs):
        if key in OF_PHASE and OF_PHASE[key] not in phases:
            raise _At(("base",), f"'{key}' belongs to {OF_PHASE[key]}, and every point is {', '.join(phases)}")


class _Reader:
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
                raise _At(place, f"'{key}' does not belong to a sweep of {what}") from error
            raise _At(place, str(error)) from error

    def value(self, place: tuple[str | int, ...], key: str, raw: object) -> Value:
        """The value of a canonical key."""
        try:
            return value_of(key, raw, self.folder)
        except DseError as error:
            raise _At(place, str(error)) from error

    def pair(self, place: tuple[str | int, ...], key: str, raw: object) -> tuple[str, Value]:
        """Canonical key and value of `key = raw` in the table at `place`."""
        full = self.key((*place, key), key)
        return full, self.value((*place, key), full, raw)

    def axis(self, index: int, axis: _Axis, seed: int) -> Axis:
        """One axis."""
        place = ("axes", index)
        given = [k for k in KINDS if getattr(axis, k) is not None]
        if len(given) != 1:
            raise _At(place, f"has {' and '.join(given) or 'no values'}; give exactly one of {', '.join(KINDS)}")
        (kind,) = given
        if (axis.key is None) == (kind in ("values", "range", "log_range")):
            raise _At(place, f"{kind} names its own keys; leave out 'key'" if axis.key else f"{kind} needs a 'key'")
        if kind not in ("range", "log_range", "sample") and axis.points is not None:
            raise _At((*place, "points"), f"{kind} already says how many; leave it out")
        if kind != "sample" and (axis.linear or axis.log):
            raise _At(place, f"'linear' and 'log' belong to a sample, not to {kind}")
        if kind == "sample":
            return self._sample(place, axis, (seed, index))
        if kind == "zip":
            return self._zip(place, axis.zip or {})
        key = self.key((*place, "key"), str(axis.key))
        raw = axis.values if axis.values is not None else self._spread(place, kind, key, axis)
        if not raw:
            raise _At((*place, "values"), "is empty; give at least one value")
        return ListAxis((key,), _distinct(place, [(self.value((*place, "values"), key, v),) for v in raw]))

    def _spread(self, place: tuple[str | int, ...], kind: str, key: str, axis: _Axis) -> list[Value]:
        """Evenly spaced values, whole ones for a count."""
        if not (is_number(key) or key in COUNTS):
            raise _At((*place, kind), f"'{key}' is a choice, not a number; list its values")
        if axis.points is None:
            raise _At((*place, kind), "needs 'points', how many values it has")
        lo, hi = self._ends((*place, kind), key, getattr(axis, kind))
        spaced = np.geomspace(lo, hi, axis.points) if kind == "log_range" else np.linspace(lo, hi, axis.points)
        return list(dict.fromkeys(round(float(v)) if key in COUNTS else float(v) for v in spaced))

    def _ends(self, place: tuple[str | int, ...], key: str, raw: list[Any]) -> tuple[float, float]:
        if len(raw) != 2:
            raise _At(place, f"has {len(raw)} entries; give the first and the last value")
        lo, hi = (float(self.value(place, key, v)) for v in raw)
        if not lo < hi:
            raise _At(place, f"begins at {lo:g} and ends at {hi:g}; give the smaller one first")
        return lo, hi

    def _zip(self, place: tuple[str | int, ...], columns: dict[str, list[Any]]) -> ListAxis:
        lengths = {k: len(v) for k, v in columns.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            told = ", ".join(f"{k} has {n}" for k, n in lengths.items()) or "is empty"
            raise _At((*place, "zip"), f"{told}; zipped lists need the same number of values, at least one")
        keys = tuple(self.key((*place, "zip"), k) for k in columns)
        lists = [[self.value((*place, "zip"), k, v) for v in vs] for k, vs in zip(keys, columns.values(), strict=True)]
        return ListAxis(keys, _distinct(place, list(zip(*lists, strict=True))))

    def _sample(self, place: tuple[str | int, ...], axis: _Axis, seed: tuple[int, int]) -> SampleAxis:
        if axis.sample not in SAMPLERS:
            raise _At((*place, "sample"), str(UnknownNameError("sampler", str(axis.sample), SAMPLERS)))
        if axis.points is None:
            raise _At(place, "a sample needs 'points', how many it draws")
        boxes = [(k, v, log) for box, log in ((axis.linear, False), (axis.log, True)) for k, v in box.items()]
        if not boxes:
            raise _At(place, "a sample needs a box: log = { clock = ['1 GHz', '3 GHz'] } or linear = {...}")
        keys, ends = [], []
        for name, raw, log in boxes:
            where = (*place, "log" if log else "linear", name)
            key = self.key(where, name)
            if not is_number(key):
                raise _At(
                    where, f"'{name}' is a choice; only numbers of a chip can be sampled, list its values instead"
                )
            keys.append(key)
            ends.append(self._ends(where, key, raw))
        lower, upper = zip(*ends, strict=True)
        return SampleAxis(tuple(keys), axis.sample, axis.points, lower, upper, tuple(b[2] for b in boxes), seed)

    def rule(self, index: int, rule: _Rule, known: set[str]) -> Rule:
        """One rule."""
        place = ("rules", index)
        if rule.skip == bool(rule.settings):
            raise _At(place, "give either 'set' or 'skip = true'")
        if not rule.conditions:
            raise _At((*place, "if"), "is empty; name a key and the values it must have")
        conditions = tuple(self._condition((*place, "if"), k, v) for k, v in _flat(rule.conditions).items())
        for c in conditions:
            if c.key not in known:
                raise _At((*place, "if"), f"'{c.key}' is set nowhere, so the rule could never hold")
        return Rule(
            conditions, tuple(self.pair((*place, "set"), k, v) for k, v in _flat(rule.settings).items()), rule.skip
        )

    def _condition(self, place: tuple[str | int, ...], key: str, raw: Any) -> Condition:
        full = self.key(place, key)
        if isinstance(raw, dict):
            if not is_number(full) or not raw or set(raw) - {"at_least", "at_most"}:
                raise _At(place, f"{key} = {raw!r}: numbers may have at_least and at_most; others a value or a list")
            ends = {k: float(self.value(place, full, v)) for k, v in raw.items()}
            return Condition(full, (), ends.get("at_least", -math.inf), ends.get("at_most", math.inf))
        return Condition(full, tuple(self.value(place, full, v) for v in (raw if isinstance(raw, list) else [raw])))

    def column(self, name: str, index: int) -> str:
        """The canonical name of a column to record."""
        if self.of_studies:
            raise _At(("sweep", "record"), "a sweep of studies records the whole solution; leave it out")
        try:
            return full_column(name)
        except DseError as error:
            raise _At(("sweep", "record", index), str(error)) from error


def _flat(table: dict[str, Any]) -> dict[str, Any]:
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


def _distinct(place: tuple[str | int, ...], rows: list[tuple[Value, ...]]) -> tuple[tuple[Value, ...], ...]:
    seen: set[tuple[Value, ...]] = set()
    for row in rows:
        if row in seen:
            raise _At(place, f"has {', '.join(map(str, row))} twice; keep one")
        seen.add(row)
    return tuple(rows)
