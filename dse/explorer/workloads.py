"""Workloads of a session asked anew: other sizes; for a chip that exists another phase, model or number of chips."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..core.errors import SpecError, UnknownNameError
from ..hardware.presets import chip_system
from ..optimize.space import space_of
from ..study.study import Study
from ..workload.presets import model, model_names
from ..workload.requests import given_batch, workload_of
from ..workload.transformer import Decode, Prefill, Training
from .answers import Answers
from .session import warmed
from .subject import Subject, subject_of, subject_of_chip

FIELDS: dict[type, dict[str, str]] = {
    Training: {"batch": "global_batch", "sequence": "sequence"},
    Decode: {"batch": "batch", "context": "context"},
    Prefill: {"batch": "batch", "prompt": "prompt"},
}
"""Sizes that a page may change, as commands call them, to the field of the workload."""
WORDS = {"batch": "batch, sequences in all", "sequence": "sequence, tokens", "context": "context, tokens",
         "prompt": "prompt, tokens"}  # fmt: skip
LENGTHS = ("sequence", "context", "prompt")
"""Sizes that say how long a sequence is, one in every phase."""
START = 1
"""What a size starts at in another phase, where none carries over."""
MOST = 2**24


def asked_of(study: Study) -> list[dict[str, Any]]:
    """What is asked of every workload; no sizes for a model in service."""
    found = []
    for workload, n_chips in study.workloads.values():
        sizes = {k: int(getattr(workload, f)) for k, f in FIELDS.get(type(workload), {}).items()}
        phase = type(given_batch(workload)).__name__.lower()
        found.append({"phase": phase, "model": workload.model.name, "chips": n_chips, "sizes": sizes})
    return found


def sizes_of_phases() -> dict[str, list[dict[str, Any]]]:
    """Name and words of the sizes of every phase, what each starts at, and whether it carries over."""
    size = lambda n: {"name": n, "label": WORDS[n], "start": START, "carries_over": n in LENGTHS}  # noqa: E731
    return {t.__name__.lower(): [size(n) for n in fields] for t, fields in FIELDS.items()}


def reasked(answers: Answers, raw: dict[str, Any]) -> Answers:
    """A session like another with other workloads, made ready, which takes as long; DseError for any that cannot be."""
    given, now = raw.get("workloads"), asked_of(answers.subject.study)
    if not isinstance(given, list) or len(given) != len(now) or not all(isinstance(g, dict) for g in given):
        raise SpecError(f"workloads: give {len(now)}")
    each = [_checked(g, n) for g, n in zip(given, now, strict=True)]
    subject = _of_chip(answers, each[0]) if answers.subject.is_chip else _of_study(answers, each)
    return warmed(dataclasses.replace(answers, subject=subject, found=None, columns={}))


def _checked(given: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """One workload as it is asked for, with what is there now where nothing is said."""
    sizes = given.get("sizes", now["sizes"])
    numbers = [given.get("chips", now["chips"]), *(sizes.values() if isinstance(sizes, dict) else [None])]
    if not all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= MOST for v in numbers):
        raise SpecError(f"sizes and chips: give whole numbers from 1 to {MOST:,}")
    words = {k: str(given.get(k, now[k])) for k in ("phase", "model")}
    return {**words, "chips": int(numbers[0]), "sizes": sizes}


def _of_study(answers: Answers, each: list[dict[str, Any]]) -> Subject:
    study, workloads = answers.subject.study, {}
    for (name, (workload, _)), asked in zip(study.workloads.items(), each, strict=True):
        fields = FIELDS.get(type(workload), {})
        if set(asked["sizes"]) != set(fields):
            raise SpecError(f"{name}: its sizes are {', '.join(fields) or 'none'}")
        changed = {fields[k]: v for k, v in asked["sizes"].items()}
        workloads[name] = (dataclasses.replace(workload, **changed) if changed else workload, asked["chips"])
    return subject_of(space_of(dataclasses.replace(study, workloads=workloads)), answers.subject.asked)


def _of_chip(answers: Answers, asked: dict[str, Any]) -> Subject:
    chip, own_model = answers.named
    if asked["model"] not in (*model_names(), own_model, model(own_model).name):
        raise UnknownNameError("model", asked["model"], model_names())
    named = own_model if asked["model"] == model(own_model).name else asked["model"]
    system = chip_system(chip, asked["chips"])
    workload = workload_of(asked["phase"], model(named), system.n_chips, asked["sizes"])
    return subject_of_chip(system, workload, asked["phase"])
