"""Initial state of the page: study, free numbers, choices, labels and units."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DseError
from ..core.files import SAFE_NAME, read_text
from ..core.origin import digest
from ..core.text import COMPOUND, SCALES, label, unit_of
from ..core.version import __version__
from ..evaluation.breakdown import PARTS
from ..explore.designed import NAMED, WHITE_SPACE
from ..hardware.presets import chip_names
from ..lowering.plan import Plan
from ..optimize.prices import SLACK, SLACK_PRICE, SMALLEST_PRICE
from ..physics.area import Area
from ..physics.calibration import measured_band
from ..physics.money import Money
from ..report.figures import AREA_BLOCKS, BOUND_BLOCKS, POWER_BLOCKS
from ..report.style import BLOCKS
from ..study.design import STEPPED, Choice, steps
from ..study.metrics import SPEEDUPS
from ..study.study import Study
from ..workload.transformer import Training
from .reading import PRECISIONS, technology_rows
from .receipts import topic_of_metric, topic_of_row
from .subject import Subject, first_chip, learn_plans

STEP_WORDS = (*PARTS.values(), "slowed by the power limit")
"""Parts of a step in words, as `breakdown.step_parts` calls them, in the order of a reading."""
STEP_BLOCKS = (
    "tensor engines", "control, DMA", "links", "on-die network", "other", "vector lanes", "HBM", "static",
)  # fmt: skip
"""Block whose colour each part of a step has."""
ENERGY_BLOCKS = ("tensor engines", "SRAM", "vector lanes", "on-die network", "HBM", "links", "static")
"""Block of each energy of a reading."""
BOUND_WORDS = ("compute", "one tile", "HBM", "vector lanes", "DMA", "launch")
"""Limits of an operator in words, in the order of a reading."""


def state_of(subject: Subject, found: dict[str, Any] | None, own: tuple[str, ...]) -> dict[str, Any]:
    """Everything about a subject that no slider moves, as plain data."""
    study, built = subject.study, subject.is_chip
    return {
        "version": __version__, "title": study.name, "asked": subject.asked,
        "study_sha256": "" if built else digest(read_text(Path(subject.asked)).encode()),
        "is_chip": built,
        "goal": study.goal,
        "goal_is_speedup": study.goal in SPEEDUPS,
        "shares": list(study.shares),
        "baseline": study.baseline.chip.name,
        "workloads": [_workload(subject, name) for name in study.workloads],
        "free": [{"name": f.name, **_named(f.name), "low": f.lower, "high": f.upper} for f in study.free],
        "steps": {} if built else _steps(study),
        "choices": [dataclasses.asdict(c) for c in study.choices],
        "limits": [{"metric": m.metric, **_metric(m.metric), "sense": m.sense, "value": m.value} for m in study.limits],
        "technology": [{"label": n, "topic": topic_of_row(n)} for _, n in technology_rows(subject.core, built)],
        "metrics": {n: _metric(n) for n in subject.names},
        "priced": {"least": SMALLEST_PRICE, "slack": SLACK, "slack_least": SLACK_PRICE},
        "precisions": PRECISIONS,
        "stacks": _stacks(),
        "colours": BLOCKS,
        "start": _start(subject),
        "found": found,
        "chips": [*chip_names(), *own],
        "named": list(dict.fromkeys((study.baseline.chip.name, *NAMED, *own))),
        "scales": SCALES, "compound": COMPOUND,
    }  # fmt: skip


def _start(subject: Subject) -> dict[str, Any]:
    first = first_chip(subject)
    x = dict(zip([f.name for f in subject.study.free], first.x.tolist(), strict=True))
    return {"x": x, "choice": first.choice, "blank_mm2": first.blank_mm2}


def _named(name: str) -> dict[str, str]:
    return {"label": label(name), "unit": unit_of(name)}


def _metric(name: str) -> dict[str, str]:
    return {**_named(name), "topic": topic_of_metric(name)}


def _workload(subject: Subject, name: str) -> dict[str, Any]:
    workload, n_chips = subject.study.workloads[name]
    c = subject.study.calibrations[name]
    band = measured_band(c, isinstance(workload, Training))
    known = {"novelty": band[0], "band": band[1]} if band else {"novelty": "", "band": None}
    return {"name": name, "model": workload.model.name, "n_chips": n_chips, "calibration": c.name, **known}


def _steps(study: Study) -> dict[int, dict[str, list[float]]]:
    counted = [f for f in study.free if f.name in STEPPED]
    dies = sorted({c.n_dies for c in study.choices})
    return {n: {f.name: steps(f.name, n, f.lower, f.upper).tolist() for f in counted} for n in dies}


def _stacks() -> dict[str, list[tuple[str, str]]]:
    """Words of the parts of every stack, and the block whose colour each has, in the order of a reading."""
    areas = [n.name for n in dataclasses.fields(Area)]
    money = [label(n.name) for n in dataclasses.fields(Money)]
    of_money = ("tensor engines", "HBM", "SRAM", "control, DMA", "other")
    return {
        "step": list(zip(STEP_WORDS, STEP_BLOCKS, strict=True)),
        "area": [*((label(n), AREA_BLOCKS[n]) for n in areas), (WHITE_SPACE, "other")],
        "energy": [(b, b) for b in ENERGY_BLOCKS],
        "load": [(b, b) for b in POWER_BLOCKS.values()],
        "cost": list(zip(money, of_money, strict=True)),
        "bound": list(zip(BOUND_WORDS, BOUND_BLOCKS.values(), strict=True)),
    }


def optimum_in(subject: Subject, results: tuple[Path, ...], study_text: str) -> dict[str, Any] | None:
    """The design that `dse optimize` left in the first folder that answers this very study; else None."""
    if not SAFE_NAME.fullmatch(subject.study.name):
        return None
    each = (_optimum(subject, root / subject.study.name, study_text) for root in results)
    return next((found for found in each if found is not None), None)


def _optimum(subject: Subject, folder: Path, study_text: str) -> dict[str, Any] | None:
    study = subject.study
    try:
        manifest, solution = (json.loads(read_text(folder / f"{n}.json")) for n in ("manifest", "solution"))
        # of an edited study an old optimum would break limits without saying so
        if manifest["study_sha256"] != digest(study_text.encode()):
            return None
        design, metrics = solution["design"], solution["metrics"]
        plans = tuple(Plan(**metrics["workloads"][name]["plan"]) for name in study.workloads)
        # numbers of a core are written with that in their names
        x = {f.name: float(design.get(f.name, design.get(f"{f.name}_per_core"))) for f in study.free}
        choice = study.choices.index(Choice(**design["choice"]))
        if not all(np.isfinite(v) and v > 0 for v in x.values()):
            return None
        return {
            "x": x, "choice": choice, "plans": list(learn_plans(subject, plans)), "whole": True,
            "prices": [limit["price"] for limit in solution["limits"][: len(study.limits)]],
            "said": f"from {folder}: {solution['status']}",
        }  # fmt: skip
    # of another version, or edited: the page then begins at the baseline, as without any
    except (DseError, KeyError, TypeError, ValueError, AttributeError):
        return None
