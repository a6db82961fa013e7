"""Searches that a page can start beside the optimum: a front, serving curves, predictions of measurements."""

from __future__ import annotations

import re
from typing import Any

from ..calibrate.validate import validate
from ..core.errors import SpecError, UnknownNameError
from ..economy.hours import hours
from ..explore.front import checked_metrics, front
from ..explore.ray import Rays
from ..explore.risk import Known, risk
from ..hardware.presets import chip_names, chip_system
from ..lowering.engines import Policy
from ..optimize.deadline import Deadline
from ..report.front import front_json
from ..report.risk import risk_json
from ..report.serving import serving_json
from ..report.validation import validation_json
from ..serving.curve import Promise
from ..serving.offer import offers
from ..workload.presets import model, model_names
from ..workload.requests import Length, Requests
from .found import KINDS, front_numbers, prediction_rows, risk_numbers, serving_lines
from .measured import receipts_of_measurements
from .reoptimise import Tell
from .subject import Plans, Subject

MOST_FRONT, MOST_CHIPS, MOST_TOKENS, MOST_SAMPLES = 200, 8, 2**20, 4000
"""Points of a front, chips beside each other, tokens of a request, draws of facts: what one page may ask for."""
DRAWS = 60
"""Draws of facts unless a page says otherwise."""
LIMIT_S = 300.0
"""Time of a front or of draws, compiling not counted: a page shows what there is then."""


def compute_front(subject: Subject, asked: dict[str, Any], tell: Tell) -> None:
    """The Pareto front of the study over `metrics`, with `n` points; its own limits."""
    names = tuple(m.strip() for m in str(asked.get("metrics", "delivered_time,package_cost_USD")).split(",")[:4])
    n = whole(asked, "n", 40, MOST_FRONT)
    metrics = checked_metrics(subject.study, names)
    rays = Rays(subject.study, metrics, deadline=Deadline(LIMIT_S))
    found = front(subject.study, metrics, n, rays=rays, progress=lambda line: tell({"progress": line}))
    tell({"done": True, "front": front_numbers(subject, front_json(found))})


def compute_risk(subject: Subject, plans: Plans | None, asked: dict[str, Any], tell: Tell) -> None:
    """The study re-optimised under `n` draws within its own limits; each choice under `plans`, or all searched."""
    n, known = whole(asked, "n", DRAWS, MOST_SAMPLES), Known(subject.space, plans) if plans else None
    found = risk(
        subject.study, n, target=_target(asked), known=known, progress=lambda line: tell({"progress": line}),
        deadline=Deadline(LIMIT_S),
    )  # fmt: skip
    tell({"done": True, "risk": risk_numbers(subject, risk_json(found, None))})


def _target(asked: dict[str, Any]) -> float | None:
    text = str(asked.get("target", "")).strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) == 0:
        raise SpecError("target: give a speed-up, such as 4.5")
    return float(text)


def compute_serving(asked: dict[str, Any], own: tuple[str, ...], tell: Tell) -> None:
    """Throughput against interactivity of `chips` for `model`; presets, or the user's own chips of this session."""
    chips = list(dict.fromkeys(str(asked.get("chips", "")).split(",")))[:MOST_CHIPS]
    for name in chips:
        if name not in (*chip_names(), *own):
            raise UnknownNameError("chip", name, (*chip_names(), *own))
    named = str(asked.get("model", ""))
    if named not in model_names():
        raise UnknownNameError("model", named, model_names())
    served = model(named)
    length = Length(whole(asked, "in", 2000, MOST_TOKENS), whole(asked, "out", 300, MOST_TOKENS))
    requests = Requests(served, (length,), served.weight_format, "bf16")
    systems = [chip_system(name) for name in chips]
    found = offers(systems, requests, Promise(), Policy(), hours(chips), lambda line: tell({"progress": line}))
    tell({"done": True, "serving": serving_lines(serving_json(found), own)})


def compute_truth(asked: dict[str, Any], tell: Tell) -> None:
    """Every shipped measurement of one `kind` predicted, as `dse validate` does."""
    kind = str(asked.get("kind", ""))
    if kind not in KINDS:
        raise UnknownNameError("kind of measurement", kind, KINDS)
    tell({"progress": f"predicting every {kind} measurement"})
    found = validate(kind)
    points = prediction_rows(found.scores.predictions)
    scores = {**validation_json(found), "name": kind, "points": points, "receipts": receipts_of_measurements(kind)}
    tell({"done": True, "truth": scores})


def whole(asked: dict[str, Any], name: str, usual: int, most: int) -> int:
    """A whole number from 1 to `most` in a question; SpecError for anything else."""
    text = str(asked.get(name, usual))
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and 1 <= int(text) <= most):
        raise SpecError(f"{name}: give a whole number from 1 to {most}")
    return int(text)
