"""Sweeps of studies: every point is a solved study with changed limits, free numbers or choices."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from ..core.errors import DseError
from ..core.free import Free
from ..lowering.plan import plan_text
from ..optimize.solution import Solution, Status
from ..optimize.solve import solve_continuous
from ..optimize.space import Space, relative, space_of
from ..study.changes import fed_choices, seated
from ..study.convex import Kind
from ..study.design import Choice, choice_technology
from ..study.metrics import METRICS, Limit, chip_state
from ..study.study import Study, load_study
from .keys import SOLVED, Value, check_open, find_file
from .points import UNSET, Points, Sweep

Kinds: TypeAlias = dict[str, type]


def solved_columns(sweep: Sweep) -> Kinds:
    """Columns of the solutions with their types: the same for every study of the sweep."""
    loaded = [load_study(find_file("study", str(v), sweep.folder)) for v in sweep.choices["study"]]
    kinds: Kinds = dict.fromkeys(SOLVED, float)
    kinds |= dict.fromkeys(("status", "node", "hbm", "link", "pe_array"), str)
    kinds |= {"proved": bool, "native_fp4": bool, "n_dies": int}
    for name in dict.fromkeys(_word(w) for study in loaded for w in study.workloads):
        kinds |= {f"speedup_{name}": float, f"step_s_{name}": float, f"power_W_{name}": float, f"plan_{name}": str}
    limited = [x.metric for study in loaded for x in study.limits]
    limited += [key.partition(".")[2] for key in sweep.set_keys if key.startswith("limits.")]
    return kinds | {f"price_{metric}": float for metric in dict.fromkeys(limited)}


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def solve_points(sweep: Sweep, points: Points) -> dict[str, Any]:
    """Everything recorded of `points`, by column; a point without a design has its reason."""
    kinds = solved_columns(sweep)
    rows = [_row(sweep, points, i) for i in range(points.index.size)]
    nothing = {float: np.nan}
    # a text, whole number or switch that is missing is null: only floats have a NaN
    columns: dict[str, Any] = {c: [r.get(c, nothing.get(kind)) for r in rows] for c, kind in kinds.items()}
    columns["reason"] = [str(r.get("reason", "")) for r in rows]
    columns["ok"] = np.asarray([not reason for reason in columns["reason"]], dtype=bool)
    return columns


def _row(sweep: Sweep, points: Points, i: int) -> dict[str, Any]:
    coded = {k: int(codes[i]) for k, codes in points.codes.items()}
    values: dict[str, Value] = {k: sweep.choices[k][c] for k, c in coded.items() if c != UNSET}
    values |= {k: float(v[i]) for k, v in points.numbers.items() if np.isfinite(v[i])}
    try:
        template = _template(find_file("study", str(values["study"]), sweep.folder), sweep.files)
        study = changed(template.study, values)
        return answer_row(solve_continuous(study, space=relative(template, study)))  # a proof's clock would not repeat
    except DseError as error:
        return {"reason": " ".join(str(error).split())}


@lru_cache(maxsize=8)
def _template(path: str, files: tuple[tuple[str, str], ...]) -> Space:
    # part of the key alone: a file that was edited since is another template
    del files
    return space_of(load_study(path))


def changed(study: Study, values: Mapping[str, Value]) -> Study:
    """`study` with limits, free numbers and choices as `values` say; SpecError for any that the study does not have."""
    for key, value in values.items():
        check_open(study, key)
        group, _, name = key.partition(".")
        if group == "limits":
            limits = (Limit(x.metric, x.sense, float(value)) if x.metric == name else x for x in study.limits)
            study = dataclasses.replace(study, limits=tuple(limits))
        elif group == "free":
            free = (Free(name, float(value), float(value)) if x.name == name else x for x in study.free)
            study = dataclasses.replace(study, free=tuple(free))
        elif group == "choices":
            choices = tuple(dict.fromkeys(_chosen(c, name, value) for c in study.choices))
            # an array that shared memory cannot feed is refused here too, as in a study that asks for it
            study = dataclasses.replace(study, choices=fed_choices(choices, study.baseline.chip))
    return study


def _chosen(choice: Choice, name: str, value: Value) -> Choice:
    """A choice with one entry changed; a system brings its links and its network."""
    if name == "system":
        return seated(choice, str(value))
    return dataclasses.replace(choice, **{name: value})  # type: ignore[arg-type]


def answer_row(s: Solution) -> dict[str, Any]:
    """A solution by column."""
    row: dict[str, Any] = {"status": s.status.name.lower()}
    if s.status is Status.INFEASIBLE:
        loosened = ", ".join(f"{r.name} {r.limit:.4g} to {r.needed:.4g}" for r in s.relaxations)
        return {**row, "reason": f"infeasible; the cheapest relaxation takes {loosened or 'more than limits'}"}
    if s.choice is None or s.chip is None or s.silicon is None or s.certificate is None:
        return {**row, "reason": s.status.value}
    tech = choice_technology(s.choice, s.study.package)
    state = chip_state(s.chip, tech)
    row |= {name: float(METRICS[name](state)) for name in SOLVED if name in METRICS}  # type: ignore[arg-type]
    row |= s.choice.written()
    low, high = s.delivered_range
    row |= {"goal": s.goal, "proved": s.certificate.proved, "relative_gap": s.certificate.relative_gap}
    row |= {"integer_gap": s.certificate.integer_gap}
    if s.workloads:
        row |= {"delivered_speedup": s.delivered, "delivered_low": low, "delivered_high": high}
    for w in s.workloads:
        name, e = _word(w.name), w.evaluation
        row |= {f"speedup_{name}": w.speedup, f"step_s_{name}": float(e.step_s), f"power_W_{name}": float(e.power_W)}
        row[f"plan_{name}"] = plan_text(w.plan)
    # of a metric limited on both sides one at most binds: the column has its price, whose sign says which
    users = sorted((x for x in s.limits if x.kind is Kind.USER), key=lambda x: abs(x.price))
    return row | {f"price_{x.name}": x.price for x in users}
