"""Keys that an axis of a sweep may set, and columns recorded per point, with their meaning and version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from ..core.errors import DseError, SpecError
from ..core.files import is_there
from ..core.text import spelled, stem_of, unit_of
from ..core.types import FloatLike
from ..core.units import PER_TOKEN, quantity
from ..hardware.checks import ZERO_ALLOWED
from ..hardware.chip import Chip, sides
from ..hardware.fabrics import system_facts
from ..hardware.own_chip import check_usual
from ..hardware.presets import chip
from ..lowering.plan import parse_plan
from ..physics.calibration import calibration
from ..physics.evaluate import Evaluation
from ..study.design import FREE
from ..study.limits import full_name
from ..study.metrics import METRICS, OF_WORKLOADS, State
from ..study.study import Study, load_study
from ..technology.presets import link, memory, node, package
from ..workload.presets import model
from ..workload.requests import check_phase, check_precision
from ..workload.storage import check_cache, check_storage

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

TEXTS: dict[str, Callable[[str], object]] = {
    "chip": chip,
    "system": system_facts,
    "model": model,
    "phase": check_phase,
    "plan": lambda written: written == "auto" or parse_plan(written),
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
MAY_BE_NONE = ("chunk", "cached")
"""Of those, the ones that may be 0: a prompt read in one piece, and nothing of it in the cache."""
FILES = {"chip": ".toml", "model": ".json", "study": ".toml"}
"""Keys whose value may be the path of a user's own file, and how its name ends."""

CHOICES: dict[str, Callable[[str], object]] = {
    "node": node, "hbm": memory, "link": link, "pe_array": partial(sides, what="pe_array"), "system": system_facts,
}  # fmt: skip
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
    groups = {"limits": METRICS, "free": FREE, "choices": [*CHOICES, "n_dies", "native_fp4"]}
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


def type_of(key: str) -> type:
    """The type of a key's values: float for a number with a unit, int for a count, bool, or str for a name."""
    if is_number(key):
        return float
    if key in COUNTS or key == "choices.n_dies":
        return int
    return bool if key == "choices.native_fp4" else str


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
    if group == "limits" and names[group].count(name) > 1:
        raise SpecError(f"study {study.name} limits {name} at most and at least: one value would set both")
    if group in names and name not in names[group]:
        what = "limits" if group == "limits" else "leaves free"
        raise SpecError(f"study {study.name} {what} {', '.join(names[group]) or 'nothing'}; '{name}' is not among them")


def _value(key: str, raw: Any, folder: Path) -> Value:
    kind, least = type_of(key), least_count(key)
    if kind is float:
        number = _number(raw, unit_of(key), may_be_zero=key.startswith(ZERO_ALLOWED))
        if unit_of(name := key.removeprefix("free.")) and name in CHIP_NUMBERS:
            check_usual(stem_of(name), name, number)
        return number
    if type(raw) is not kind or (kind is int and raw < least):  # not by isinstance: for Python true is an int
        told = {int: f"a whole number, at least {least}", bool: "true or false", str: "a name in quotes"}
        raise SpecError(f"expected {told[kind]}")
    if kind is str:
        named = {"study": load_study, **TEXTS, **{f"choices.{k}": check for k, check in CHOICES.items()}}
        named[key](find_file(key, raw, folder))  # for its error alone
    return raw


def least_count(key: str) -> int:
    """The least value of a whole number."""
    return 0 if key in MAY_BE_NONE else 1


def _number(raw: object, unit: str, may_be_zero: bool) -> float:
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        told = f" or a text with its unit, that converts to {unit.removeprefix(PER_TOKEN)}" if unit else ""
        raise SpecError(f"expected a number{told}")
    number = quantity(raw, unit)
    if not (number > 0 or (may_be_zero and number == 0)) or number == float("inf"):
        raise SpecError("must be positive and finite")
    return number


SCHEMA_VERSION = 1
"""Raised whenever a column changes its name, type or meaning."""

ALWAYS = {
    "point": "position in the sweep; with the specification it says everything about the point",
    "ok": "whether the point has an answer",
    "reason": "why it has none; empty where ok",
}
"""Columns of every sweep."""
PLAN = "plan"
"""Column with the plan of a point that was searched, or that an axis sets."""

EVALUATED: dict[str, tuple[Callable[[Evaluation], FloatLike], str]] = {
    "step_s": (lambda e: e.step_s, "step time under the chip's power limit"),
    "tokens_per_s": (lambda e: e.tokens_per_s, "tokens per second of the whole system"),
    "power_W": (lambda e: e.power_W, "mean package power"),
    "mfu_frac": (lambda e: e.mfu_frac, "model FLOP over time and peak at the precision that the linear layers run in"),
    "memory_B": (lambda e: e.memory_B, "HBM the plan needs per chip; kept where it does not fit"),
    "unthrottled_s": (lambda e: e.step.total_s, "step time without a power limit; the sum of the seven parts below"),
    "compute_s": (lambda e: e.step.compute_s, "operators of all micro batches"),
    "host_exposed_s": (lambda e: e.step.host_exposed_s, "device waiting for the host"),
    "tensor_exposed_s": (lambda e: e.step.tensor_exposed_s, "tensor-parallel traffic that nothing hides"),
    "pipeline_exposed_s": (lambda e: e.step.pipeline_exposed_s, "stage-to-stage traffic"),
    "bubble_s": (lambda e: e.step.bubble_s, "pipeline fill and drain"),
    "data_exposed_s": (lambda e: e.step.data_exposed_s, "data-parallel traffic that nothing hides"),
    "optimizer_s": (lambda e: e.step.optimizer_s, "optimizer update"),
    "hbm_B": (lambda e: e.step.hbm_B, "memory traffic of one chip per step"),
}
"""What an evaluation says of a point."""

OF_CHIP: dict[str, tuple[Callable[[State], FloatLike], str]] = {
    name: (place, "free number of the chip" if name in FREE else "metric of the chip, as in limits of a study")
    for name, place in METRICS.items()
    if name not in OF_WORKLOADS
}  # type: ignore[assignment]
"""What a chip has at a point, whatever it does."""
DEFAULT_RECORD = ("step_s", "tokens_per_s", "power_W", "mfu_frac", "memory_B", "silicon_mm2", "package_cost_USD")
"""What is recorded unless a specification says otherwise."""

SOLVED = {
    "status": "optimal, local, unfinished or infeasible",
    "goal": "goal of the design, counts not rounded: what the study minimises",
    "delivered_speedup": "geometric mean of the workloads' speed-ups over the baseline",
    "delivered_low": "the same at the worst of the calibration's ends",
    "delivered_high": "the same at the best of them",
    "proved": "whether every term is proved log-log convex",
    "relative_gap": "continuous optimum over its lower bound, minus 1",
    "integer_gap": "the design over the best continuous optimum of any choice, minus 1",
    "node": "process node chosen",
    "hbm": "memory generation chosen",
    "link": "scale-up link chosen",
    "n_dies": "compute dies chosen",
    "pe_array": "PE array chosen",
    "native_fp4": "whether FP4 runs at twice the FP8 rate",
    "fp8_rate": "MACs of a PE per cycle in FP8 over those in BF16; 0: as the baseline",
    "supply_V": "supply",
    "silicon_mm2": "all compute dies",
    "package_cost_USD": "package",
    **{f"peak_{precision}_FLOPps": "dense peak" for precision in ("bf16", "fp8", "fp4")},
    **{name: "free number of the design" for name in FREE},
}
"""Columns of a sweep of studies; those of `PREFIXES` per workload or limit, and the axes, come on top."""


def meaning(column: str, of_studies: bool) -> str:
    """One line on a column of a sweep."""
    of_points = {name: text for name, (_, text) in (OF_CHIP | EVALUATED).items()} | {PLAN: "plan used"}
    found = (text for prefix, text in PREFIXES.items() if column.startswith(prefix))
    return (SOLVED if of_studies else of_points).get(column, next(found, "set by the base, an axis or a rule"))


PREFIXES = {
    "speedup_": "step time of the baseline over the design's",
    "step_s_": "step time of the design",
    "power_W_": "mean package power of the design",
    "plan_": "plan",
    "price_": "d log goal / d log limit: negative where loosening an upper limit helps",
}
"""Columns of solutions that depend on the study's workloads and limits."""
