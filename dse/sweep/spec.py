"""Sweep specifications: TOML files, checked as a whole; errors name file, line, key, value and allowed values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from ..core.errors import SpecError
from ..core.files import SAFE_NAME, read_text, toml_tables
from ..core.origin import digest
from ..core.schemas import Schema, both_names, complained, one_of, open_table, quantity_schema, titled
from ..core.shipped import check_kind, shipped
from ..core.text import written_unit
from ..study.study import Study, load_study
from ..workload.requests import phases_with
from ..workload.transformer import PHASES
from .axis_tables import read_axis
from .keys import (
    DEFAULT_RECORD,
    FILES,
    Value,
    check_open,
    find_file,
    is_number,
    least_count,
    point_keys,
    study_keys,
    type_of,
)
from .points import SAMPLERS, Axis, Sweep, pairs_of
from .reader import MOST_POINTS, At, AxisTable, Reader, RuleTable, Strict, flat, line_of, read_rule

FIXED_SHARD, FIXED_SETTINGS = 2**18, 2**8
"""Points and combinations of choices that take about a second where plans are given."""
AUTO_SHARD = 2**9
"""Points that take about a second where plans are searched; lowering all plans of one combination takes another."""


class _Head(Strict):
    """The sweep as a whole."""

    name: str
    """Names the results folder: letters, digits, '.', '_' and '-'."""
    seed: pydantic.NonNegativeInt = 0
    """Seed of the samples."""
    expected_minutes: float | None = None
    """How long it takes, for readers."""
    record: list[str] | None = None
    """Columns to record; left out, seven usual ones."""
    shard_points: pydantic.PositiveInt | None = None
    """Points of one unit of work; left out, about a second's worth."""


class SweepFile(Strict):
    """A whole specification."""

    sweep: _Head
    """The sweep as a whole."""
    base: dict[str, Any] = pydantic.Field(default_factory=dict)
    """What every point has unless an axis or a rule says otherwise."""
    axes: list[AxisTable] = pydantic.Field(default_factory=list)
    """What varies; axes multiply."""
    rules: list[RuleTable] = pydantic.Field(default_factory=list)
    """Exceptions, applied in order to every point."""


_KEYS = {f.alias or n for m in (_Head, AxisTable, RuleTable, SweepFile) for n, f in m.model_fields.items()}


def load_sweep(path: str | Path) -> Sweep:
    """The sweep in a TOML file or of a shipped name; SpecError in one line: file, line, key, value, what is allowed."""
    path = shipped(path)
    text = read_text(path)
    raw = toml_tables(text, path)
    check_kind(raw, "sweep", path)
    try:
        return _sweep(SweepFile.model_validate(raw), text, path.parent)
    except pydantic.ValidationError as error:
        said = complained(error, raw, _KEYS)
        found = [At(place, f"{value} is not allowed: {why}" if value else why) for place, value, why in said]
    except At as error:
        found = [error]
    raise SpecError("; ".join(f"{_address(path, text, e.place)}: {e.message}" for e in found))


def _address(path: Path, text: str, place: tuple[str | int, ...]) -> str:
    line = line_of(text, place)
    words = "".join(f"[{p + 1}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
    return f"{path}{f':{line}' if line else ''}: {words}"


def _sweep(file: SweepFile, text: str, folder: Path) -> Sweep:
    if not SAFE_NAME.fullmatch(file.sweep.name):
        raise At(("sweep", "name"), f"'{file.sweep.name}' cannot name a folder; use letters, digits, '.', '_' and '-'")
    keys = [*file.base, *(a.key for a in file.axes), *(k for a in file.axes for k in a.zip or ())]
    read = Reader(folder, "study" in keys)
    base = tuple(read.pair(("base",), k, v) for k, v in flat(file.base).items())
    axes = [read_axis(read, i, a, file.sweep.seed) for i, a in enumerate(file.axes)]
    studies = [load_study(find_file("study", str(v), folder)) for k, v in pairs_of(base, axes, ()) if k == "study"]
    _check_axes(axes, studies)
    # numbers vary fastest, so that neighbours share a lowered setting and one compiled batch
    ordered = tuple(sorted(axes, key=lambda a: all(is_number(k) for k in a.keys)))
    if math.prod(a.size for a in ordered) > MOST_POINTS:
        raise At(("axes",), f"{math.prod(a.size for a in ordered):,} points; at most {MOST_POINTS:,} are accepted")
    set_keys = {k for k, _ in base} | {k for a in axes for k in a.keys}
    rules = tuple(read_rule(read, i, r, set_keys) for i, r in enumerate(file.rules))
    for needed in ("study",) if read.of_studies else ("chip", "model"):
        if needed not in set_keys:
            raise At(("base",), f"no '{needed}'; give it here or as an axis")
    record = tuple(read.column(c, i) for i, c in enumerate(file.sweep.record or ()))
    pairs = pairs_of(base, ordered, rules)
    _check_phases(pairs)
    usual_record = () if read.of_studies else DEFAULT_RECORD
    # what is set has a column already: recorded too, it would be there twice
    set_somewhere = set_keys | {k for rule in rules for k, _ in rule.settings}
    return Sweep(
        name=file.sweep.name, text=text, folder=folder, of_studies=read.of_studies, base=base, axes=ordered,
        rules=rules, record=tuple(c for c in record or usual_record if c not in set_somewhere), seed=file.sweep.seed,
        shard_points=file.sweep.shard_points or usual_shard(ordered, pairs, read.of_studies),
        files=_own_files(pairs, folder),
    )  # fmt: skip


def usual_shard(axes: Sequence[Axis], pairs: list[tuple[str, Value]], of_studies: bool) -> int:
    """Points of a unit of work of about a second or more: a crash costs no more, and a scheduler has little to do."""
    if of_studies:
        return 1
    # points that share a lowered setting: a shard should hold all of them
    per_setting = math.prod(a.size for a in axes if all(is_number(k) for k in a.keys))
    plans = {v for k, v in pairs if k == "plan"}
    if not plans or "auto" in plans:
        return min(AUTO_SHARD, per_setting)
    return min(FIXED_SHARD, FIXED_SETTINGS * per_setting)


def _own_files(pairs: list[tuple[str, Value]], folder: Path) -> tuple[tuple[str, str], ...]:
    # digests, so that a file edited between two runs makes another sweep
    own = {str(v): k for k, v in pairs if k in FILES and str(v).endswith(FILES[k])}
    return tuple((v, digest(Path(find_file(k, v, folder)).read_bytes())) for v, k in own.items())


def own_files(sweep: Sweep) -> dict[str, str]:
    """Digests of users' own files as they are seen here and now, by how they are written; empty for one that is not."""
    named = {str(v): k for k, v in pairs_of(sweep.base, sweep.axes, sweep.rules) if k in FILES}
    found = {v: Path(find_file(named[v], v, sweep.folder)) for v, _ in sweep.files}
    return {v: digest(p.read_bytes()) if p.is_file() else "" for v, p in found.items()}


def _check_axes(axes: list[Axis], studies: list[Study]) -> None:
    """Every key is set by one axis, and is something that every study leaves open."""
    seen: dict[str, int] = {}
    for i, key in ((i, k) for i, axis in enumerate(axes) for k in axis.keys):
        if key in seen:
            raise At(("axes", i), f"'{key}' is set by axis {seen[key] + 1} too; keep one")
        seen[key] = i
        for study in studies:
            try:
                check_open(study, key)
            except SpecError as error:
                raise At(("axes", i, "key"), str(error)) from error


def _check_phases(pairs: list[tuple[str, Value]]) -> None:
    """A key of a phase that no point has would change nothing."""
    phases = {str(v) for k, v in pairs if k == "phase"} or {PHASES[0]}
    for key in dict.fromkeys(k for k, _ in pairs):
        if phases.isdisjoint(phases_with(key)):
            every = " and ".join(phases_with(key))
            raise At(("base",), f"'{key}' belongs to {every}, and every point is {', '.join(phases)}")


def sweep_schema() -> Schema:
    """JSON Schema of a specification, of chips and workloads or of studies."""
    schema = SweepFile.model_json_schema(by_alias=True)
    points, studies = both_names(point_keys()), both_names(k for k in study_keys() if k != "study")
    base = {key: _value_schema(name) for key, name in points.items()}
    base["study"] = {"type": "string", "description": "A study; every point is then one design question."}
    for group in ("limits", "free", "choices"):
        inner = {k.removeprefix(f"{group}."): _value_schema(n) for k, n in studies.items() if k.startswith(f"{group}.")}
        base[group] = open_table(inner, f"What every point sets under {group} of its study.")
    base |= {key: _value_schema(name) for key, name in studies.items()}
    axis = schema["$defs"]["AxisTable"]["properties"]
    axis["key"] |= one_of([*points, *studies, "study"])
    axis["sample"] |= one_of(SAMPLERS)
    schema["properties"]["base"] = open_table(base, schema["properties"]["base"]["description"])
    return titled(schema, "sweep", "Many points: `dse sweep FILE` computes them, `dse query` reads them.")


def _value_schema(name: str) -> Schema:
    """What a canonical key may be set to."""
    forms: dict[type, Schema] = {
        float: quantity_schema(written_unit(name)), int: {"type": "integer", "minimum": least_count(name)},
        bool: {"type": "boolean"}, str: {"type": "string"},
    }  # fmt: skip
    return {**forms[type_of(name)], "x-name": name}
