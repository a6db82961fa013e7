"""`Study`, a design problem (goal, limits, free numbers, discrete choices, workloads), in Python or from TOML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DseError, SpecError
from ..core.files import read_toml
from ..core.frames import page
from ..core.free import Free
from ..core.provenance import pick
from ..core.shipped import check_kind, shipped
from ..core.text import label
from ..hardware.fabrics import most_scaleup_Bps
from ..hardware.presets import system as preset_system
from ..hardware.system import System
from ..physics.calibration import Calibration, calibration, calibration_for
from ..serving.portfolio import Service
from ..technology.presets import node
from ..workload.requests import Asked
from .changes import (
    AnyLimit,
    Bound,
    Written,
    changed_tables,
    ends_of,
    entries_of,
    limit_tables,
    mapping,
    workload_tables,
)
from .convex import ConvexCore
from .design import Choice
from .metrics import DELIVERED, Limit, Metric, Own
from .resolved import Owner, fields_of
from .shown import choice_frame, free_frame, limit_frame, worded_free, worded_limits, workload_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, init=False)
class Study:
    """A design problem: goal, limits, workloads, free numbers with bounds, and discrete choices; canonical units.

        dse.Study(
            baseline="trainium3",
            workloads=[{"phase": "decode", "model": "llama-3.1-8b", "chips": 4, "batch": 64, "context": 4096}],
            free={"n_cores": (2, 64), "hbm_bandwidth": ("2 TBps", "20 TBps")},
            limits=["power <= 700 W", "hbm_capacity >= 1x"],
            minimise="delivered_time",
        )

    Keys, units and defaults are those of the TOML file. Records, as from `dataclasses.replace`, are used as given.
    SpecError: as `load_study`, or a malformed limit.

    Args:
        name: name of the study and of its results folder.
        baseline: chip preset or file, the reference of speed-ups.
        free: lower and upper bound of every free number, or a fixed value.
        workloads: phase, model and sizes by name; entries of a list are named by their phases.
        limits: "metric <= value" or "metric >= value", mappings as in the file, or `dse.Limit`.
        minimise: name of the goal.
        choices: options by kind; one alone needs no list, a missing kind has the baseline's.
        folder: folder of a portfolio file.
        metrics: your own, JAX functions of a `State` that return a positive number, for `minimise` and `limits`,
            named with their unit at the end. One that is not proved log-log convex makes the answer "local".
        asks: metrics that will be asked for besides, such as the axes of a front over what owning costs.
        more: other keys of `[study]`, such as `system` and `scaleout_per_dir`, and `portfolio`.
    """

    name: str
    baseline: System
    """System whose chip is the reference of speed-ups and of limits such as "6x"; designs use its fabric too."""
    workloads: dict[str, tuple[Asked, int]]
    free: tuple[Free, ...]
    choices: tuple[Choice, ...]
    limits: tuple[Limit, ...]
    goal: str
    """Metric to minimise, default `delivered_time`."""
    package: str
    scaleout_Bps: float
    """Scale-out bandwidth of a design's chip, one direction."""
    calibration_name: str = ""
    """Calibration of all workloads; empty: that of each workload's phase on the baseline's family."""
    owner: Owner | None = None
    """Server and margin of designs, for economic metrics; None if goal and limits need none."""
    services: dict[str, Service] = dataclasses.field(default_factory=dict)
    """Workloads that are served models, with their traffic and latency limits."""
    longest_s: dict[str, float] = dataclasses.field(default_factory=dict)
    """Upper limits on step times of single workloads, by name."""
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    """Weights of single workloads in means, by name; default 1."""
    streams: bool = False
    """Whether baseline and designs may use plans that prefetch weights into SRAM."""
    built: str = ""
    """Chip that was really built within the study's budgets (back-tests), preset or path of a file; else empty."""
    own: Own = ()
    """User-defined metrics for goal and limits; see the constructor."""
    written: Written | None = dataclasses.field(default=None, compare=False, repr=False)
    """The tables it was made from, for `changed`."""

    def __init__(
        self,
        name: str = "study",
        *,
        baseline: str | System,
        free: Mapping[str, Bound] | tuple[Free, ...],
        workloads: Mapping[str, Mapping[str, Any] | tuple[Any, int]] | Iterable[Mapping[str, Any]] = (),
        limits: Iterable[AnyLimit] | AnyLimit = (),
        minimise: str = DELIVERED,
        choices: Mapping[str, Any] | tuple[Choice, ...] | None = None,
        folder: str | Path = ".",
        metrics: Mapping[str, Metric] | None = None,
        asks: Iterable[str] = (),
        **more: Any,
    ):
        if isinstance(baseline, System):
            more |= {"name": name, "baseline": baseline, "free": free, "workloads": workloads, "limits": limits}
            vars(self).update(vars(recorded(choices=choices, **more)))  # frozen: no attribute can be set
            return
        raw: dict[str, Any] = {k: more.pop(k) for k in ("portfolio",) if k in more}
        raw |= {
            "study": {"name": name, "baseline": baseline, "minimise": minimise, **more},
            "choices": entries_of(mapping("choices", choices or {})),
            "free": {k: ends_of(k, v) for k, v in mapping("free", free).items()},
            "workloads": workload_tables(workloads),
            "limits": limit_tables(limits),
        }
        vars(self).update(vars(study_from(raw, Path(folder), tuple((metrics or {}).items()), tuple(asks))))

    def changed(self, *, metrics: Mapping[str, Metric] | None = None, **changes: Any) -> Study:
        """A copy with changes, checked like a new study.

            study.changed(name="hot", limits=["power <= 1500 W"], choices={"n_dies": 4}, without=["silicon"])
        `limits` replace those of the same metric and sense, or are added; `without` removes the limits of its metrics;
        `free`: new bounds, a fixed value, or None to remove a number; `choices`; `workloads` by name (None removes
        one); keys of `[study]`. SpecError: as `load_study`, or a study that was modified other than by this method.
        """
        if (old := self.written) is None or study_from(old.tables, old.folder, self.own, old.asks) != self:
            raise SpecError(f"{self.name}: changed since it was written; make it anew, then change that")
        own = tuple({**dict(self.own), **(metrics or {})}.items())
        return study_from(changed_tables(old.tables, **changes), old.folder, own, old.asks)

    def frame(self, of: str = "limits") -> pd.DataFrame:
        """A table in canonical units: "limits", "free", "choices" or "workloads"; UnknownNameError for another."""
        tables = {
            "limits": lambda: limit_frame(self.limits),
            "free": lambda: free_frame(self.free),
            "choices": lambda: choice_frame(self.choices),
            "workloads": lambda: workload_frame(self.workloads, self.weights, self.longest_s),
        }
        return pick(tables, "table of a study", of)()

    def _repr_html_(self) -> str:
        title = f"{self.name}: least {label(self.goal)}, {self.baseline.chip.name}, {len(self.choices):,} choices"
        return page(title, self.frame("workloads"), worded_limits(self.limits), worded_free(self.free))

    @property
    def deadlines_s(self) -> list[float]:
        """Upper limit on the step time of each workload: its own, or the promised TPOT; else infinite."""
        longest = {n: s.promise.tpot_s for n, s in self.services.items() if s.promise.tpot_s is not None}
        return [(longest | self.longest_s).get(n, float("inf")) for n in self.workloads]

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights of the workloads in geometric means, adding up to 1; empty for equal weights."""
        each = [self.weights.get(n, 1.0) for n in self.workloads]
        return tuple(w / sum(each) for w in each) if len(set(each)) > 1 else ()  # for equal ones, one program

    def core(self) -> ConvexCore:
        """The convex core of the study: names and structure, without numbers."""
        asked = tuple(f.name for f in self.free), tuple(self.workloads), tuple((x.metric, x.sense) for x in self.limits)
        capped = any(math.isfinite(most_scaleup_Bps(n or self.baseline.name)) for n in self.system_names)
        fed = float(self.baseline.chip.core.tensor.instruction_depth) > 0  # known for units fed from registers
        ends = {(float(n.minimum_V), float(n.maximum_V)) for n in map(node, {c.node for c in self.choices})}
        return ConvexCore(*asked, self.goal, self.streams, self.own, self.shares, capped, fed, len(ends) > 1)

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Calibration of baseline and designs by workload: the study's own, or the default of the phase."""
        name, chip = self.calibration_name, self.baseline.chip.name
        return {n: calibration(name) if name else calibration_for(chip, w) for n, (w, _) in self.workloads.items()}

    def at_size(self, n_chips: int, name: str = "") -> System:
        """A system of `n_chips` baseline chips, in the baseline's fabric or in that of the system `name`."""
        return preset_system(name or self.baseline.name, n_chips, self.baseline.chip)

    @property
    def system_names(self) -> tuple[str, ...]:
        """Systems that a design may choose, each once; an empty name is the baseline's."""
        return tuple(dict.fromkeys(c.system for c in self.choices))


def names_of_fits(study: Study) -> tuple[str, ...]:
    """Names of the calibrations in use, each once."""
    return tuple(dict.fromkeys(c.name for c in study.calibrations.values()))


def load_study(path: str | Path, asks: Iterable[str] = ()) -> Study:
    """The study in a TOML file, or a shipped study by its bare name; `dse schema study` lists every key.

    `asks`: metrics asked for besides goal and limits, as axes of a front; keys that nothing reads are refused.
    SpecError, which names file, key, value and what is allowed: a missing or malformed file, unknown or missing keys
    (with near matches), a wrong unit, bounds out of order.
    """
    raw = read_toml(path := shipped(path))
    check_kind(raw, "study", path)
    try:
        return study_from(raw, path.parent, asks=tuple(asks))
    except DseError as error:
        raise SpecError(f"{path}: {error}") from error


def study_from(raw: dict[str, Any], folder: Path = Path(), own: Own = (), asks: tuple[str, ...] = ()) -> Study:
    """The study in a mapping of the form of the TOML file, a portfolio file in `folder`; else as `load_study`."""
    study = recorded(**fields_of(raw, folder, own, asks))
    for (name, (_, n_chips)), system in product(study.workloads.items(), study.system_names):
        try:
            study.at_size(n_chips, system)  # fills or divides its domain
        except SpecError as error:
            raise SpecError(f"workloads.{name}: {error}") from error
    return study


def recorded(**fields: Any) -> Study:
    """A study from its fields, with defaults for missing ones; TypeError for an unknown field or one without value."""
    each = dataclasses.fields(Study)
    usual = {f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory() for f in each}
    wrong = [*(fields.keys() - usual.keys()), *(n for n, x in (usual | fields).items() if x is dataclasses.MISSING)]
    if wrong:
        raise TypeError(f"Study: fields {sorted(wrong)} are unknown or have no value")
    made = object.__new__(Study)
    vars(made).update(usual | fields)
    return made
