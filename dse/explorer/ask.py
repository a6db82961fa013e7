"""Validation of requests from the page (untrusted input), and the same request as Python code."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from ..core.errors import SpecError
from ..lowering.served import phase_under
from ..study.convex import cools
from ..workload.requests import Requests
from .subject import AtHand, Plans, Subject, first_chip, plan_texts

MOST_B = 64 * 1024
MOST_BLANK_MM2 = 1e4
"""Most blank silicon of a die: some reticles."""
BEYOND = 1e3
"""How far outside its bounds a free number may be typed, as a factor: models end somewhere."""


@dataclasses.dataclass(frozen=True)
class Ask:
    """One chip under one set of limits, and how its workloads run."""

    at: AtHand
    plans: Plans | None
    """Plan of each workload; None for the fastest."""


def parsed(text: bytes) -> dict[str, Any]:
    """The mapping in a body; SpecError for anything else."""
    if len(text) > MOST_B:
        raise SpecError(f"a request of {len(text):,} bytes; at most {MOST_B:,}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise SpecError("a request that is no JSON") from None
    if not isinstance(found, dict):
        raise SpecError("a request that is no mapping")
    return found


def ask_of(subject: Subject, raw: dict[str, Any]) -> Ask:
    """The chip that a page asks about: `x` by name, `choice`, and `limits`, `plans` and `blank_mm2` that differ.

    SpecError: a number missing, unknown, not positive and finite, or far beyond its bounds; no such choice or plan.
    """
    given = raw.get("x")
    names = [f.name for f in subject.study.free]
    if not isinstance(given, dict) or set(given) != set(names):
        raise SpecError(f"x: give {', '.join(names)}")
    x = np.asarray([_number(f.name, given[f.name], f.lower / BEYOND, f.upper * BEYOND) for f in subject.study.free])
    choice = _index("choice", raw.get("choice"), len(subject.study.choices))
    blank = _number("blank_mm2", raw.get("blank_mm2", first_chip(subject).blank_mm2), 0.0, MOST_BLANK_MM2)
    return Ask(AtHand(x, choice, limits_of(subject, raw.get("limits")), blank), _plans(subject, raw.get("plans")))


def limits_of(subject: Subject, raw: Any) -> np.ndarray:
    """Values of limits in the order of the study, its own where nothing is given; SpecError as `ask_of`."""
    if raw is None:
        return subject.limits
    limits = subject.study.limits
    if not isinstance(raw, list) or len(raw) != len(limits):
        raise SpecError(f"limits: give {len(limits)} values")
    each = zip(limits, raw, strict=True)
    # wider than free numbers: a limit out of reach is how one is switched off
    return np.asarray([_number(x.metric, v, x.value / BEYOND**2, x.value * BEYOND**2) for x, v in each], dtype=float)


def _plans(subject: Subject, raw: Any) -> Plans | None:
    kept = subject.space.plans
    if raw is None:
        return None
    if not isinstance(raw, list) or len(raw) != len(kept):
        raise SpecError(f"plans: give {len(kept)} positions")
    return tuple(_index("plan", i, len(k)) for i, k in zip(raw, kept, strict=True))


def _number(name: str, value: Any, lower: float, upper: float) -> float:
    # bool is an int in Python
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    # NaN fails both comparisons
    if not lower <= number <= upper:
        raise SpecError(f"{name}: give a number from {lower:g} to {upper:g}")
    return number


def _index(name: str, value: Any, n: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < n:
        raise SpecError(f"{name}: give a whole number from 0 to {n - 1}")
    return value


def python_lines(subject: Subject, ask: Ask, plans: Plans) -> str:
    """A script that evaluates the chip at hand, by its exported file; SpecError for models in service."""
    study = subject.study
    name, where = f"{study.name}-explored.toml", study.choices[ask.at.choice].system or study.baseline.name
    lines = [
        "import dse", "",
        f"chip = dse.chip({name!r})  # export it as TOML beside this script",
        f"tech = dse.chip_technology(chip, {study.package!r})",
    ]  # fmt: skip
    if not subject.is_chip:
        lines.append("# a study chooses collectives at its baseline's link speeds, `evaluate` at the chip's own")
    if cools(subject.core):
        lines.append("# the study also slows operators down to what the package is cooled for; `evaluate` does not")
    texts = plan_texts(subject, plans)
    chosen = [kept[i] for kept, i in zip(subject.space.plans, plans, strict=True)]
    each = zip(study.workloads.items(), study.calibrations.values(), texts, chosen, strict=True)
    for (label, (asked, n_chips)), calibration, plan, run in each:
        if isinstance(asked, Requests):
            raise SpecError(f"{label} is a model in service; only phases of a model can be written as Python")
        workload = phase_under(asked, run)
        fields = {k: v for k, v in vars(workload).items() if k != "model"}
        sizes = ", ".join(f"{k}={v!r}" for k, v in fields.items())  # literals, whatever a user's file holds
        lines += [
            "", f"workload = dse.{type(workload).__name__}(dse.model({workload.model.name!r}), {sizes})",
            f"system = dse.system({where!r}, {n_chips}, chip)",
            f"fit = dse.calibration({calibration.name!r})",
            f"found = dse.evaluate(system, workload, dse.parse_plan({plan!r}), tech=tech, calibration=fit)",
            f"print({label!r}, float(found.result.step_s), float(found.result.power_W))",
        ]  # fmt: skip
    return "\n".join([*lines, ""])
