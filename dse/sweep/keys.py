"""What an axis of a sweep may name and set: numbers of a chip, choices, and what a study leaves open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ..core.errors import DseError, SpecError
from ..core.files import is_there
from ..core.text import spelled, written_unit
from ..core.types import FloatLike
from ..core.units import quantity
from ..hardware.chip import Chip, sides
from ..hardware.fabrics import system_facts
from ..hardware.physical import ZERO_ALLOWED
from ..hardware.presets import chip, system
from ..lowering.plan import parse_plan
from ..physics.calibration import calibration
from ..study.design import FREE
from ..study.limits import full_name
from ..study.metrics import METRICS
from ..study.study import Study, load_study
from ..technology.presets import link, memory, node, package
from ..workload.presets import model
from ..workload.requests import check_phase
from ..workload.storage import check_cache, check_storage
from ..workload.transformer import check_precision

Value: TypeAlias = str | int | float | bool
"""What a point has for one key: a name, a whole number, a number in canonical units, yes or no."""

CHIP_NUMBERS: dict[str, Callable[[Chip], FloatLike]] = {
    **FREE,
    "n_dies": lambda c: c.n_dies,
    "nominal_clock_Hz": lambda c: c.nominal_clock_Hz,
    "spare_frac": lambda c: c.spare_frac,
    "local_sram_B": lambda c: c.core.local_sram_B,
    "vector_clock_frac": lambda c: c.core.vector_clock_frac,
    "scaleout_bandwidth_per_dir_Bps": lambda c: c.scaleout_bandwidth_per_dir_Bps,
    "power_limit_W": lambda c: c.power_limit_W,
}
"""Numbers of a chip that an axis may set: name to place. The PE array is structure and stays the preset's."""


def _plan(value: str) -> None:
    if value != "auto":
        parse_plan(value)


TEXTS: dict[str, Callable[[str], object]] = {
    "chip": chip,
    "system": system,
    "model": model,
    "phase": check_phase,
    "plan": _plan,
    "precision": check_precision,
    "weights": check_storage,
    "kv": check_cache,
    "node": node,
    "hbm": memory,
    "link": link,
    "package": package,
    "calibration": calibration,
}
"""Named choices of a point, each with what refuses a wrong name."""
COUNTS = ("chips", "domain", "batch", "sequence", "context", "prompt", "chunk", "cached")
"""Whole numbers of a point: chips in all, chips per scale-up domain, and the sizes of the phase."""
FILES = {"chip": ".toml", "model": ".json", "study": ".toml"}
"""Keys whose value may be the path of a user's own file, and how its name ends."""

CHOICES: dict[str, Callable[[str], object]] = {
    "node": node,
    "hbm": memory,
    "link": link,
    "pe_array": partial(sides, what="pe_array"),
    "system": system_facts,
}
"""Named choices that a study enumerates; an axis `choices.node` keeps one of them."""
GROUPS = ("limits", "free", "choices")
"""Beginnings of keys that change what a study leaves open."""


def find_file(key: str, value: str, folder: Path) -> str:
    """`value`, or for a user's own file its path: beside the specification, or from the working directory."""
    if not value.endswith(FILES.get(key, "\n")):
        return value
    beside = folder / value
    return str(beside if is_there(beside) else Path(value))


def study_keys() -> list[str]:
    """Every key of a sweep of studies."""
    choices = [*CHOICES, "n_dies", "native_fp4"]
    groups = {"limits": METRICS, "free": FREE, "choices": choices}
    return ["study", *(f"{group}.{name}" for group, names in groups.items() for name in names)]


def point_keys() -> list[str]:
    """Every key of a sweep of chips and workloads."""
    return [*TEXTS, *COUNTS, *CHIP_NUMBERS]


def full_key(key: str, of_studies: bool) -> str:
    """The canonical key that `key` means, with or without its unit; UnknownNameError with near matches."""
    head, dot, tail = key.partition(".")
    names: Mapping[str, Iterable[str]] = {"limits": METRICS, "free": FREE}
    if of_studies and dot and head in names:
        return f"{head}.{full_name(tail, tuple(names[head]), f'key under {head}')}"
    known = tuple(study_keys() if of_studies else point_keys())
    return full_name(key, known, "key")


def is_number(key: str) -> bool:
    """Whether `key` takes a number with a unit that varies inside a batch."""
    return key in CHIP_NUMBERS or key.startswith(("limits.", "free."))


def value_of(key: str, raw: object, folder: Path) -> Value:
    """`raw` as the value of the canonical `key`; SpecError, in one line, for what it cannot be."""
    try:
        return _value(key, raw, folder)
    except DseError as error:
        raise SpecError(f"{key} = {spelled(raw)}: {error}") from error


def check_open(study: Study, key: str) -> None:
    """Nothing where `study` leaves open what `key` sets; SpecError otherwise, with what it leaves open."""
    group, _, name = key.partition(".")
    names = {"limits": [x.metric for x in study.limits], "free": [x.name for x in study.free]}
    if group in names and name not in names[group]:
        what = "limits" if group == "limits" else "leaves free"
        raise SpecError(f"study {study.name} {what} {', '.join(names[group]) or 'nothing'}; '{name}' is not among them")


def _value(key: str, raw: object, folder: Path) -> Value:
    if is_number(key):
        return _number(raw, written_unit(key), may_be_zero=key.startswith(ZERO_ALLOWED))
    if key in COUNTS or key == "choices.n_dies":
        if not isinstance(raw, int) or isinstance(raw, bool) or raw < 1:
            raise SpecError("expected a whole number, at least 1")
        return raw
    if key == "choices.native_fp4":
        if not isinstance(raw, bool):
            raise SpecError("expected true or false")
        return raw
    if not isinstance(raw, str):
        raise SpecError("expected a name in quotes")
    named = {"study": load_study, **TEXTS, **{f"choices.{k}": check for k, check in CHOICES.items()}}
    named[key](find_file(key, raw, folder))
    return raw


def _number(raw: object, unit: str, may_be_zero: bool) -> float:
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        raise SpecError(f"expected a number{f' or a text with its unit, that converts to {unit}' if unit else ''}")
    number = quantity(raw, unit)
    if not (number > 0 or (may_be_zero and number == 0)) or number == float("inf"):
        raise SpecError("must be positive and finite")
    return number
