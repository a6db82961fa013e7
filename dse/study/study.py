"""A study: what is wanted, what is forbidden, what may be chosen; in Python or as a TOML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic

from ..core.errors import DseError, SpecError
from ..core.fields import complaints
from ..core.files import read_toml
from ..core.frames import page
from ..core.free import Free
from ..core.shipped import check_kind, shipped
from ..core.text import label, stem_of
from ..core.units import positive
from ..economy.presets import default_host, host, price_and_margin
from ..hardware.fabrics import system_facts
from ..hardware.presets import base_name, chip_system
from ..hardware.presets import chip as preset_chip
from ..hardware.presets import system as preset_system
from ..hardware.system import System
from ..physics.calibration import Calibration, calibration, calibration_for
from ..serving.portfolio import Service, load_portfolio
from ..technology.presets import package
from ..workload.presets import model as preset_model
from ..workload.requests import Asked, FreeBatch
from ..workload.transformer import Training
from ..workload.written import workload_of
from .budget import built_state
from .changes import Written, changed_tables
from .choices import check_multiples, choices_of
from .convex import ConvexCore
from .design import Choice
from .limits import free_of, full_name, limit_of
from .metrics import (
    HOTTEST,
    METRICS,
    OF_RACK,
    OF_WORKLOADS,
    OWNED,
    SERVED,
    Limit,
    Metric,
    Own,
    check_own,
)
from .shown import Asks
from .written import (
    FREE_BATCH,
    KEYS,
    DecodeTable,
    Head,
    PortfolioTable,
    PrefillTable,
    StudyFile,
    TrainingTable,
)


@dataclasses.dataclass(frozen=True)
class Owner:
    """How a design reaches its owner."""

    host: str
    """Server around a design."""
    margin: float
    """What the owner pays for a package over what it costs to make."""


@dataclasses.dataclass(frozen=True)
class Study:
    """Goal, limits, free numbers and choices, in canonical units."""

    name: str
    """Names the results folder."""
    baseline: System
    """The chip that speed-ups and "6x" refer to, in the fabric that designs use too."""
    workloads: dict[str, tuple[Asked, int]]
    """Workload and number of chips, by name."""
    free: tuple[Free, ...]
    """Free chip numbers."""
    choices: tuple[Choice, ...]
    """Discrete space, enumerated."""
    limits: tuple[Limit, ...]
    """User limits."""
    goal: str
    """`delivered_time` or a metric to minimise."""
    package: str
    """Package technology."""
    scaleout_Bps: float
    """Network share of a design's chip, one direction."""
    calibration_name: str = ""
    """Fit or prior that rules all workloads; empty: each has that of its phase on the baseline's family."""
    owner: Owner | None = None
    """Who owns designs and how; None where goal and limits do not ask."""
    services: dict[str, Service] = dataclasses.field(default_factory=dict)
    """Workloads that are models in service, with their traffic and promises."""
    longest_s: dict[str, float] = dataclasses.field(default_factory=dict)
    """Longest step times that single workloads may take; one without an entry may take any."""
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    """How much single workloads count in means over all; one without an entry counts 1."""
    streams: bool = False
    """Whether baseline and designs may run blocks as streams that read ahead."""
    built: str = ""
    """Chip that was built in the budgets of the study, preset or path of a chip file; empty where none was."""
    own: Own = ()
    """Metrics of the user's own that goal and limits may name; see `dse.make_study`."""
    written: Written | None = dataclasses.field(default=None, compare=False, repr=False)
    """What it was made of, for `changed`."""

    def changed(self, *, metrics: Mapping[str, Metric] | None = None, **changes: Any) -> Study:
        """A copy with some of what was written changed; everything is checked as if it were written anew.

            study.changed(name="hot", limits=["power <= 1500 W"], choices={"n_dies": 4}, without=["silicon"])

        Args:
            metrics: functions of the user's own, as in `make_study`.
            changes: `limits` in place of those of the same metric and sense, or added; `without`, metrics whose limits
                go; `free`, bounds, a value to fix a number at, or None to drop it; `choices`, entries by kind;
                `workloads` by name, None drops one; keys of `[study]`, such as `minimise` or `name`.

        Raises:
            SpecError: as `load_study`; a study that was changed by other means since it was written.
        """
        old = self.written
        if old is None or study_from(old.tables, old.folder, self.own) != self:
            raise SpecError(f"{self.name}: changed since it was written; make it anew, then change that")
        own = tuple({**dict(self.own), **(metrics or {})}.items())
        return study_from(changed_tables(old.tables, **changes), old.folder, own)

    @property
    def _asks(self) -> Asks:
        """Its tables."""
        return Asks(self.limits, self.free, self.choices, self.workloads, self.longest_s, self.weights)

    def frame(self, of: str = "limits") -> pd.DataFrame:
        """A table in canonical units: "limits", "free", "choices" or "workloads"; UnknownNameError for another."""
        return self._asks.frame(of)

    def _repr_html_(self) -> str:
        """What a notebook shows: the goal, and workloads, limits and free numbers with their units."""
        title = f"{self.name}: least {label(self.goal)}, {self.baseline.chip.name}, {len(self.choices):,} choices"
        return page(title, *self._asks.worded())

    @property
    def deadlines_s(self) -> list[float]:
        """Longest step time of each workload: its own, or the time per token that is promised; else infinite."""
        promised = {n: s.promise.tpot_s for n, s in self.services.items() if s.promise.tpot_s is not None}
        longest = promised | self.longest_s
        return [longest.get(n, float("inf")) for n in self.workloads]

    @property
    def shares(self) -> tuple[float, ...]:
        """Exponents of the workloads in means over all, which add up to 1; empty where all count alike."""
        each = [self.weights.get(n, 1.0) for n in self.workloads]
        return tuple(w / sum(each) for w in each) if len(set(each)) > 1 else ()

    def core(self) -> ConvexCore:
        """The convex core: names and structure."""
        limits = tuple((x.metric, x.sense) for x in self.limits)
        free = tuple(f.name for f in self.free)
        return ConvexCore(free, tuple(self.workloads), limits, self.goal, self.streams, self.own, self.shares)

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Achievable fractions of baseline and designs, by workload: the study's own, or those due to the phase."""
        name, chip = self.calibration_name, self.baseline.chip.name
        return {n: calibration(name) if name else calibration_for(chip, w) for n, (w, _) in self.workloads.items()}

    @property
    def calibration_names(self) -> tuple[str, ...]:
        """Names of the calibrations in use, each once."""
        return tuple(dict.fromkeys(c.name for c in self.calibrations.values()))

    @property
    def cooled_W(self) -> float | None:
        """Power that no operator may exceed: the least upper limit on the hottest; None without one."""
        return min((x.value for x in self.limits if (x.metric, x.sense) == (HOTTEST, "at_most")), default=None)

    @property
    def power_cap_W(self) -> float:
        """Power to which a design throttles: the least upper limit; infinite without one."""
        return min((x.value for x in self.limits if x.caps_power), default=float("inf"))

    def at_size(self, n_chips: int, name: str = "") -> System:
        """The baseline's chip at another size: in its own fabric, or in that of the system `name`."""
        return preset_system(name or self.baseline.name, n_chips, self.baseline.chip)

    @property
    def system_names(self) -> tuple[str, ...]:
        """Systems that a design may sit in, each once; empty for the baseline's."""
        return tuple(dict.fromkeys(c.system for c in self.choices))


def load_study(path: str | Path) -> Study:
    """The study in a TOML file.

    Args:
        path: file, or the bare name of a shipped one; `dse schema study` has every key.

    Returns:
        The study in canonical units.

    Raises:
        SpecError: missing file, malformed TOML, unknown or missing keys (all of them, with near spellings), a
            wrong unit, a bound out of order; the message names file, key, value and what is allowed.
    """
    path = shipped(path)
    raw = read_toml(path)
    check_kind(raw, "study", path)
    try:
        return study_from(raw, path.parent)
    except DseError as error:
        raise SpecError(f"{path}: {error}") from error


def study_from(raw: dict[str, Any], folder: Path = Path(), own: Own = ()) -> Study:
    """The study in a mapping of the same form as the TOML file, a portfolio beside it; raises as `load_study`.

    Args:
        raw: tables.
        folder: where the file of a portfolio is looked for.
        own: metrics of the user's own, which goal and limits may name.
    """
    check_own(own)
    names = (*METRICS, *(name for name, _ in own))
    try:
        spec = StudyFile.model_validate(raw)
    except pydantic.ValidationError as error:
        raise SpecError(complaints(error, KEYS)) from error
    baseline = _baseline(spec.study)
    package(spec.study.package)
    goal = spec.study.minimise
    goal = full_name(goal, names, "goal")
    if goal == "power_W":
        raise SpecError("study.minimise: power_W has one value per workload; limit it, or minimise full_load_fp8_W")
    services, served = _services(spec.portfolio, folder)
    workloads = {**{n: _workload(w, folder) for n, w in spec.workloads.items()}, **served}
    _check_workloads(spec, goal, workloads)
    if goal == SERVED and (spec.workloads or not services):
        raise SpecError("study.minimise: served_time needs a [portfolio] and no other workloads")
    built = built_state(spec.built.chip, spec.study.package) if spec.built else None
    limits = tuple(limit_of(x, i, baseline, built, names) for i, x in enumerate(spec.limits))
    asked = {goal, *(x.metric for x in limits)}
    free = tuple(free_of(k, lo, hi) for k, (lo, hi) in spec.free.items())
    choices = choices_of(spec.choices, built, [spec.study.system] if asked & set(OF_RACK) else [])
    check_multiples(free, choices)
    study = Study(
        name=spec.study.name,
        baseline=baseline,
        workloads=workloads,
        free=free,
        choices=choices,
        limits=limits,
        goal=goal,
        package=spec.study.package,
        scaleout_Bps=spec.study.scaleout_per_dir,
        owner=_owner(spec.study, bool(asked & set(OWNED)), bool(own) and not services),
        services=services,
        longest_s={n: s for n, w in spec.workloads.items() if (s := _longest_s(w)) is not None},
        weights={n: w.weight for n, w in spec.workloads.items() if w.weight != 1.0},
        calibration_name=spec.study.calibration or "",
        streams=spec.study.streams,
        built=spec.built.chip if spec.built else "",
        own=own,
        written=Written(raw, folder),
    )
    _check_sizes(study)
    return study


def _check_sizes(study: Study) -> None:
    """Every workload must fill or divide the domain of every system that a design may sit in."""
    for name, (_, n_chips) in study.workloads.items():
        for system in study.system_names:
            try:
                study.at_size(n_chips, system)
            except SpecError as error:
                raise SpecError(f"workloads.{name}: {error}") from error


def _baseline(spec: Head) -> System:
    """The chip of the system, or your own chip in the fabric of the system, called by the path of its file."""
    made_of = system_facts(spec.system).get("chip")
    if not spec.baseline.endswith(".toml"):
        preset_chip(spec.baseline)
    if spec.calibration is not None:
        calibration(spec.calibration)
    if spec.baseline.endswith(".toml"):
        if spec.calibration is None:
            base_name(spec.baseline)
        return preset_system(spec.system, inside=dataclasses.replace(preset_chip(spec.baseline), name=spec.baseline))
    if made_of is not None and made_of.value != spec.baseline:
        raise SpecError(f"study.baseline '{spec.baseline}' is not the chip of system '{spec.system}' ({made_of.value})")
    return chip_system(spec.baseline, within=spec.system)


def _services(spec: PortfolioTable | None, folder: Path) -> tuple[dict[str, Service], dict[str, tuple[Asked, int]]]:
    """Models in service by name, and the same as workloads."""
    if spec is None:
        return {}, {}
    services = {s.name: s for s in load_portfolio(folder / spec.file).services}
    return services, {name: (s.requests, spec.chips) for name, s in services.items()}


def _owner(head: Head, asked: bool, may_ask: bool) -> Owner | None:
    """Server and maker's margin of a design: the study's, or those of the baseline chip; None if nobody asks.

    A metric of the user's own may ask: it has an owner where the baseline has one.
    """
    if may_ask and not asked:
        try:
            return owner_of(head.baseline, head.host, head.margin)
        except DseError:
            return None
    if asked:
        return owner_of(head.baseline, head.host, head.margin)
    if head.host is not None or head.margin is not None:
        raise SpecError(f"study.host and study.margin serve {', '.join(OWNED)}; no goal or limit names one")
    return None


def owner_of(chip_name: str, host_name: str | None = None, margin: str | float | None = None) -> Owner:
    """The given host and margin, or those of a chip; SpecError where the chip's maker does not tell its margin."""
    name = host_name or default_host(chip_name)
    host(name)
    if margin is not None:
        return Owner(name, positive(margin, "", "study.margin"))
    _, usual = price_and_margin(chip_name)
    if usual is None:
        raise SpecError(f"study.margin: missing; {chip_name} is bought at a price, its maker's margin is unknown")
    return Owner(name, usual)


def _check_workloads(spec: StudyFile, goal: str, workloads: dict[str, Any]) -> None:
    """Refuse metrics that mean nothing without a workload."""
    limited = [n for x in spec.limits for n in METRICS if x.metric in (n, stem_of(n))]
    needing = [name for name in (goal, *limited) if name in OF_WORKLOADS]
    if needing and not workloads:
        raise SpecError(f"{needing[0]} needs at least one workload; without any, full_load_fp8 stands for power")


def _workload(spec: TrainingTable | DecodeTable | PrefillTable, folder: Path) -> tuple[Asked, int]:
    """A workload and its chips; a user's own model file lies beside the study, or is found from where one works."""
    given = {k: v for k, v in spec.model_dump().items() if k not in PLACED and v not in (None, 0)}
    sizes = {"batch" if k == "global_batch" else k: v for k, v in given.items()}
    beside = folder / spec.model
    own = spec.model.endswith(".json") and beside.exists()
    is_free = sizes.get("batch") == FREE_BATCH
    if is_free:
        del sizes["batch"]
    workload = workload_of(spec.phase, preset_model(beside if own else spec.model), spec.chips, sizes)
    return FreeBatch(workload) if is_free and not isinstance(workload, Training) else workload, spec.chips


PLACED = ("phase", "model", "chips", "weight", "tpot", "ttft")
"""Keys of a workload that are no sizes of its phase."""


def _longest_s(spec: TrainingTable | DecodeTable | PrefillTable) -> float | None:
    """Longest step that a workload may take: a token of a decode, a first token of a prefill; None for any."""
    return spec.tpot if isinstance(spec, DecodeTable) else spec.ttft if isinstance(spec, PrefillTable) else None
