"""Pareto fronts and sensitivities as terminal tables, JSON, and files in a results folder."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from ..core.files import picked, write_json, write_whole
from ..core.text import digits, label, percent, quantity_text, scoped_label, scoped_name, span, times
from ..explore.front import Front
from ..explore.remedy import Remedy
from ..explore.sensitivity import Parameter, Sensitivity
from ..study.metrics import DELIVERED
from .layout import Table, table_of
from .markup import value_text
from .results import study_manifest
from .terminal import unfinished

SHOWN = 12
"""Points of a front, and numbers of a sensitivity, in a table."""
LEAST_SHOWN = 5e-4
"""Elasticity below which a number without a range is not worth a line."""


def goal_text(metric: str, value: float) -> str:
    """A metric of a front as people write it; a delivered time as the speed-up it is."""
    return times(1.0 / value) if metric == DELIVERED else quantity_text(metric, value)


def metric_text(name: str, value: Any) -> str:
    """A number of a point of a front, from the JSON: counts in full, else as `goal_text`."""
    return times(1.0 / value) if name == DELIVERED else value_text(name, value)


def heading(metric: str) -> str:
    """Words for a metric of a front above its column."""
    return "delivered" if metric == DELIVERED else label(metric)


def axis_words(metric: str) -> str:
    """Words for a metric of a front in a sentence."""
    return "delivered speed-up" if metric == DELIVERED else label(metric)


def front_view(f: Front) -> RenderableType:
    """A dozen points of a front from end to end, its knee marked, and what changes along it."""
    n = len(f.points)
    shown = sorted({int(i) for i in np.linspace(0, n - 1, min(SHOWN, n))} | {f.knee})
    free = [x for x in ("n_cores", "n_stacks", "scratchpad_B") if x in f.rays.core.free]
    columns = [*map(heading, f.metrics), "choice", *map(label, free), "price"]
    points, rows = f.frame(), []
    for i in shown:
        row = points.iloc[i]
        price = ", ".join(digits(p, 2) if (p := float(row[f"price:{m}"])) else "-" for m in f.metrics[1:])
        numbers = [quantity_text(x, float(row[x])) for x in free]
        text = f.study.choices[f.points[i].choice_index].text()
        mark = " (knee)" if i == f.knee else ""
        rows.append((*(goal_text(m, float(row[m])) for m in f.metrics), text + mark, *numbers, price))
    words = " x ".join(heading(m) for m in f.metrics)
    head = Text(f"{f.study.name}: front of {n} points over {words}", style="bold")
    proof = Text(
        f"Every point is within {percent(f.worst_gap)} of its bound under the plans found; "
        f"{len(f.rays.solved):,} problems solved; cores and stacks are {'whole' if f.whole else 'fractions'}. "
        f"Price: d log {label(f.metrics[0])} / d log limit.", style="dim",
    )  # fmt: skip
    said = [] if f.room is None else [Text(proof_text(f.room), style="dim")]
    lost = "; ".join(f"{n} {reason}" for reason, n in f.missing.items())
    said += [Text(f"Not shown: {lost}.", style="dim")] if lost else []
    return Group(head, table_of(columns, rows), proof, *said, *unfinished(f.rays.deadline.undone))


def proof_text(room: np.ndarray) -> str:
    """What branch and bound says of the points of a front."""
    known = room[np.isfinite(room)]
    widest = f", none better by more than {percent(known.max())}" if known.size else ""
    return f"Over all choices, plans and whole counts {known.size} of {room.size} points are proved{widest}."


def front_json(f: Front) -> dict[str, Any]:
    """A front as plain data, canonical units."""
    return {
        "study": f.study.name,
        "metrics": list(f.metrics),
        "worst_gap": f.worst_gap,
        "missing": f.missing,
        "unfinished": f.rays.deadline.undone,
        "whole_counts": f.whole,
        "proved_gap": None if f.room is None else [x if math.isfinite(x) else None for x in f.room.tolist()],
        "hypervolume_frac": f.hypervolume(),
        "knee": f.knee,
        "nodes": list(dict.fromkeys(c.node for c in f.study.choices)),
        "points": f.frame().to_dict(orient="records"),
        "changes": f.changes(),
    }


def write_front(folder: Path, study_text: str, f: Front) -> None:
    """Write `front.parquet`, `front.json` and `manifest.json` into `folder`."""
    write_whole(folder / "front.parquet", lambda p: f.frame().to_parquet(p, compression="zstd"))
    write_json(folder / "front.json", front_json(f))
    write_json(folder / "manifest.json", study_manifest(study_text, f.study))


def facts_table(a: dict[str, Any]) -> Table:
    """Numbers with a range by what their range is worth, from the JSON of a sensitivity."""
    # a range of no width is worth nothing, whatever its elasticity
    ranged = [p for p in a["parameters"] if p["range"] is not None and p["range"][0] < p["range"][1]]
    rows: list[tuple[str, ...]] = []
    for p in ranged[:SHOWN]:
        name = scoped_name(p["name"])
        worth = (p["kind"], signed(p["elasticity"]), percent(p["swing"]))
        rows.append((scoped_label(p["name"]), quantity_text(name, p["value"]), span(name, *p["range"]), *worth))
    return table_of(("number", "value", "range", "kind", "+1 % moves the goal", "its range is worth"), rows)


def sensitivity_view(s: Sensitivity, r: Remedy | None) -> RenderableType:
    """What moves the answer: facts by what their range is worth, limits and facts without a range by their price."""
    beside = "; a calibration moves the baseline too" if s.study.goal == DELIVERED else ""
    note = f"a smaller goal is better{beside}"
    t = dataclasses.replace(facts_table(sensitivity_json(s, r)), note=note)
    priced = [
        (scoped_label(p.name), signed(p.elasticity), moves(s, p)) for p in s.parameters
        if p.fact is None or (p.fact.low == p.fact.high and abs(p.elasticity) >= LEAST_SHOWN)
    ]  # fmt: skip
    columns = ("limit, or number without a range", "+1 % moves the goal", "and most of all")
    head = f"{s.study.name}: what the optimum rests on ({len(s.parameters)} numbers matter)"
    parts: list[RenderableType] = [Text(head, style="bold"), t, *([table_of(columns, priced)] if priced else [])]
    if s.undetermined:
        names = ", ".join(label(n) for n in s.undetermined)
        parts.append(Text(f"Nothing pins down {names}: how the design moves there is not unique.", style="yellow"))
    said = [] if r is None else [remedy_view(r)]
    return Group(*parts, *said, *(unfinished(s.unfinished) if r is None else ()))


def signed(elasticity: float) -> str:
    """An elasticity as the change per 1 % of the number."""
    return f"{elasticity:+.3f} %"


def moves(s: Sensitivity, p: Parameter) -> str:
    """The free numbers that move most with a parameter."""
    n = len(s.study.free)
    # free numbers stand first among the coordinates; what is below 0.005 would be told as 0.00
    order = np.argsort(-np.abs(p.design[:n]))[:3]
    return ", ".join(f"{label(s.variables[i])} {p.design[i]:+.2f} %" for i in order if abs(p.design[i]) > 0.005)


def remedy_view(r: Remedy) -> RenderableType:
    """What would have to be true for the target."""
    if r.delivered >= r.speedup:
        return Text(f"{times(r.speedup)} is met: the optimum delivers {times(r.delivered)}.", style="green")
    any_alone = any(math.isfinite(x.alone) for x in r.levers)  # a column of dashes would say nothing
    columns = ["what would have to be true", "now", *(("alone", "factor") if any_alone else ()), "in the cheapest mix"]
    rows = []
    for x in r.levers:
        name = scoped_name(x.name)
        alone = (quantity_text(name, x.alone), times(x.alone_frac)) if math.isfinite(x.alone) else ("-", "-")
        mix = times(x.together_frac) if x.changes else ""
        rows.append((scoped_label(x.name), quantity_text(name, x.value), *(alone if any_alone else ()), mix))
    note = "" if any_alone or r.unfinished else "none of these is enough alone"
    left, shown = unfinished(r.unfinished), [table_of(columns, rows, note)]
    if not any(math.isfinite(x.together) for x in r.levers) and r.unfinished:
        why, shown = "no time to look for what", []
    elif r.most < r.speedup:
        best = f"with what may get better at the good end of its range, is {times(r.most)}"
        why, shown = f"all that was found, {best}:", [_ends(r)]
    elif r.reachable:
        why = "this is enough:"
    else:
        why = "no change of these was found that is enough, which is no proof:"
    head = f"{times(r.speedup)} delivered needs more than the {times(r.delivered)} there is; {why}"
    return Group(Text(head, style="bold"), *shown, *left)


def _ends(r: Remedy) -> RenderableType:
    each = ((x.name, (x.value, x.end)) for x in r.levers)
    rows = ((scoped_label(n), *(quantity_text(scoped_name(n), v) for v in ends)) for n, ends in each)
    return table_of(("what may get better", "now", "good end"), rows)


def sensitivity_json(s: Sensitivity, r: Remedy | None) -> dict[str, Any]:
    """Elasticities and what a target needs as plain data."""
    return {
        "study": s.study.name,
        "unfinished": list(s.unfinished if r is None else r.unfinished),
        "undetermined": list(s.undetermined),
        "parameters": [
            {
                **picked(p, "name", "value", "elasticity", "swing"),
                "range": None if p.fact is None else [p.fact.low, p.fact.high],
                "kind": None if p.fact is None else p.fact.kind,
                "design": dict(zip(s.variables, p.design.tolist(), strict=True)),
            }
            for p in s.parameters
        ],
        "remedy": None if r is None else {
            **picked(r, "speedup", "delivered", "reachable", "most"),
            "levers": [dataclasses.asdict(x) for x in r.levers],
        },
    }  # fmt: skip
