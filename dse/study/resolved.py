"""Resolves the tables of a study: names of chips, systems, workloads and limits become records in canonical units."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import pydantic

from ..core.errors import DseError, SpecError
from ..core.files import is_there
from ..core.schemas import complaints
from ..core.text import stem_of
from ..core.units import positive
from ..economy.presets import host, price_and_margin, server_name
from ..hardware.fabrics import system_facts
from ..hardware.presets import base_name, chip_system, usual_system
from ..hardware.presets import chip as preset_chip
from ..hardware.system import System
from ..physics.calibration import calibration
from ..serving.portfolio import Service, load_portfolio
from ..technology.presets import package
from ..workload.presets import model as preset_model
from ..workload.requests import Asked, FreeBatch, workload_of
from ..workload.transformer import Training
from .buildable import check_multiples
from .changes import Written, choices_of
from .limits import built_state, check_said_once, free_of, full_name, limit_of
from .metrics import METRICS, OF_RACK, OF_WORKLOADS, OWNED, SERVED, Own, chip_state
from .written import KEYS, Head, PortfolioTable, StudyFile
from .written_workloads import FREE_BATCH, DecodeTable, PrefillTable, TrainingTable


@dataclasses.dataclass(frozen=True)
class Owner:
    """Host server of a design, and package price over manufacturing cost (margin)."""

    host: str
    margin: float


def fields_of(raw: dict[str, Any], folder: Path, own: Own, asks: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of `Study` from the tables in `raw`; `asks` and errors as those of `load_study`."""
    _check_own(own)
    names = (*METRICS, *(name for name, _ in own))
    asks = tuple(full_name(x, names, "metric") for x in asks)
    try:
        spec = StudyFile.model_validate(raw)
    except pydantic.ValidationError as error:
        raise SpecError(complaints(error, raw, KEYS)) from error
    baseline = _baseline(spec.study)
    # for its error alone, as the look-ups in `_baseline` are: a typo is told before anything is modelled
    package(spec.study.package)
    goal = _goal(spec.study, names)
    services, workloads = _workloads(spec, goal, folder)
    built = built_state(spec.built.chip, spec.study.package) if spec.built else None
    # modelled only where some limit is a multiple of the baseline, and then once
    now = cache(lambda: chip_state(baseline.chip))
    limits = tuple(limit_of(x, i, now, built, names) for i, x in enumerate(spec.limits))
    check_said_once(limits)
    asked = {goal, *asks, *(x.metric for x in limits)}
    free = tuple(free_of(k, lo, hi) for k, (lo, hi) in spec.free.items())
    choices = choices_of(spec.choices, baseline, built, at_home=bool(asked & set(OF_RACK)))
    check_multiples(free, choices)
    owner = _owner(spec.study, baseline, bool(asked & set(OWNED)), bool(own))
    return {
        "baseline": baseline, "workloads": workloads, "services": services, "free": free, "choices": choices,
        "limits": limits, "goal": goal, "owner": owner, "own": own, "written": Written(raw, folder, asks),
        **_as_written(spec, baseline),
    }  # fmt: skip


def _check_own(own: Own) -> None:
    """SpecError for invalid names of user-defined metrics, and metrics that are not functions."""
    for name, read in own:
        if not callable(read):
            raise SpecError(
                f"metrics.{name}: expected a function of the state, not a value of type {type(read).__name__}"
            )
        if name in METRICS:
            raise SpecError(f"metrics.{name}: there is a metric of that name; call yours otherwise")
        if not name.isidentifier():
            raise SpecError(f"metrics.{name}: expected a name such as 'watts_per_stack_W', its unit at the end")


def _as_written(spec: StudyFile, baseline: System) -> dict[str, Any]:
    """Fields that stand in the file as they are."""
    head, share = spec.study, spec.study.scaleout_per_dir
    # training has neither: nobody waits for one of its steps
    longest_s = {n: getattr(w, "tpot", getattr(w, "ttft", None)) for n, w in spec.workloads.items()}
    return {
        "name": head.name,
        "package": head.package,
        "scaleout_Bps": float(baseline.chip.scaleout_bandwidth_per_dir_Bps) if share is None else share,
        "longest_s": {n: s for n, s in longest_s.items() if s is not None},
        "weights": {n: w.weight for n, w in spec.workloads.items() if w.weight != 1.0},
        "calibration_name": head.calibration or "",
        "streams": head.streams,
        "built": spec.built.chip if spec.built else "",
    }


def _goal(head: Head, names: tuple[str, ...]) -> str:
    # before any model runs, so that a wrong name is told at once
    goal = full_name(head.minimise, names, "goal")
    if goal == "power_W":
        raise SpecError("study.minimise: power_W has one value per workload; limit it, or minimise full_load_fp8_W")
    return goal


def _workloads(
    spec: StudyFile, goal: str, folder: Path
) -> tuple[dict[str, Service], dict[str, tuple[Asked, int]]]:  # fmt: skip
    """Models in service, and all workloads with them; SpecError where they do not go with goal or limits."""
    services, served = _services(spec.portfolio, folder)
    # merged below, where one would silently take the other's place
    for name in spec.workloads.keys() & served.keys():
        raise SpecError(f"workloads.{name}: a model of the portfolio has this name; call the workload otherwise")
    workloads = {**{n: _workload(w, folder) for n, w in spec.workloads.items()}, **served}
    _check_workloads(spec, goal, workloads)
    if goal == SERVED and (spec.workloads or not services):
        raise SpecError("study.minimise: served_time needs a [portfolio] and no other workloads")
    return services, workloads


def _baseline(spec: Head) -> System:
    """The chip of the system, or your own chip in the fabric of the system, called by the path of its file."""
    if not spec.baseline.endswith(".toml"):
        preset_chip(spec.baseline)
    within = spec.system or usual_system(spec.baseline)
    made_of = system_facts(within).get("chip")
    if spec.calibration is not None:
        calibration(spec.calibration)
    if spec.baseline.endswith(".toml"):
        if spec.calibration is None:
            base_name(spec.baseline)
        return chip_system(spec.baseline, within=within)
    if made_of is not None and made_of.value != spec.baseline:
        raise SpecError(f"study.baseline '{spec.baseline}' is not the chip of system '{within}' ({made_of.value})")
    return chip_system(spec.baseline, within=within)


def _services(spec: PortfolioTable | None, folder: Path) -> tuple[dict[str, Service], dict[str, tuple[Asked, int]]]:
    if spec is None:
        return {}, {}
    services = {s.name: s for s in load_portfolio(folder / spec.file).services}
    return services, {name: (s.requests, spec.chips) for name, s in services.items()}


def _owner(head: Head, baseline: System, asked: bool, may_ask: bool) -> Owner | None:
    """Server and margin of a design, the study's or the baseline chip's; None if no metric can need them."""
    # a metric of the user's own may read what owning costs, or not: where that is not known, it is left out
    if may_ask and not asked:
        try:
            return owner_of(baseline, head.host, head.margin)
        except DseError:
            return None
    if asked:
        return owner_of(baseline, head.host, head.margin)
    if head.host is not None or head.margin is not None:
        raise SpecError(
            f"study.host and study.margin serve {', '.join(OWNED)}; no goal or limit names one, nor an axis"
        )
    return None


def owner_of(system: System, host_name: str | None = None, margin: str | float | None = None) -> Owner:
    """The given host and margin, or those of a chip in its system; SpecError where its maker's margin is not known."""
    chip_name, name = system.chip.name, server_name(system, host_name)
    host(name)
    if margin is not None:
        return Owner(name, positive(margin, "", "study.margin"))
    _, usual = price_and_margin(chip_name)
    if usual is None:
        raise SpecError(f"study.margin: missing; {chip_name} is bought at a price, its maker's margin is unknown")
    return Owner(name, usual)


def _check_workloads(spec: StudyFile, goal: str, workloads: dict[str, Any]) -> None:
    """SpecError for metrics that need a workload in a study without one."""
    limited = [n for x in spec.limits for n in METRICS if x.metric in (n, stem_of(n))]
    needing = [name for name in (goal, *limited) if name in OF_WORKLOADS]
    if needing and not workloads:
        raise SpecError(f"{needing[0]} needs at least one workload; without any, full_load_fp8 stands for power")


def _workload(spec: TrainingTable | DecodeTable | PrefillTable, folder: Path) -> tuple[Asked, int]:
    # 0 is how the schema says none, of chunk and cached
    given = {k: v for k, v in spec.model_dump().items() if k not in PLACED and v not in (None, 0)}
    sizes = {"batch" if k == "global_batch" else k: v for k, v in given.items()}
    beside = folder / spec.model
    own = spec.model.endswith(".json") and is_there(beside)
    is_free = sizes.get("batch") == FREE_BATCH
    if is_free:
        del sizes["batch"]
    workload = workload_of(spec.phase, preset_model(beside if own else spec.model), spec.chips, sizes)
    if isinstance(spec, TrainingTable) and isinstance(workload, Training):
        workload = dataclasses.replace(workload, fused_attention=not spec.stored_scores)
    return FreeBatch(workload) if is_free and not isinstance(workload, Training) else workload, spec.chips


PLACED = ("phase", "model", "chips", "weight", "tpot", "ttft", "stored_scores")
"""Keys of a workload that are not sizes of its phase."""
