"""Data for figures and tables of a solved study: area and power by part, operators, existing chips on front axes."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.errors import DseError
from ..evaluation.assembly import chip_reference, evaluate
from ..evaluation.breakdown import Operator, binding, operators, spent
from ..hardware.chip import Chip, peak_FLOPps
from ..hardware.own_chip import short_name
from ..hardware.presets import chip_system
from ..hardware.system import System
from ..lowering.plan_keys import ORDERS
from ..lowering.served import asked_demand, phase_under
from ..lowering.tiling import array_shape
from ..optimize.solution import Solution, WorkloadReport
from ..physics.evaluate import Silicon, chip_technology
from ..physics.full_load import full_load_power_W
from ..physics.power import power_W
from ..study.metrics import METRICS, OWNED, Load, chip_state, silicon_of
from ..study.study import Study
from ..workload.requests import Requests
from ..workload.transformer import Workload


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Operators of one workload on one chip."""

    chip: Chip
    operators: tuple[Operator, ...]


def chip_silicon(chip: Chip, package: str | None = None) -> Silicon:
    """Area, supply and cost of a chip, in its own package or another."""
    return silicon_of(chip, chip_technology(chip, package) if package else chip_technology(chip))


def rest_W(chip: Chip) -> float:
    """Package power of a chip that does nothing, delivery losses included [W]."""
    tech = chip_technology(chip)
    # no work in one second: static power alone
    return float(power_W(np.zeros(()), np.ones(()), chip_silicon(chip).static_W, tech))


def die_over_published_frac(chip: Chip, published_mm2: float) -> float:
    """Modelled area of a compute die over the published one."""
    return float(chip_silicon(chip).die_mm2) / published_mm2


FAR_OFF = 1.7
"""Ratio of modelled to published area beyond that of every chip that comes along."""


def is_far_off(ratio: float) -> bool:
    """Whether a chip's facts describe another die than the published one."""
    return not 1 / FAR_OFF <= ratio <= FAR_OFF


def balance_FLOP_per_B(chip: Chip) -> float:
    """FLOP in 16 bits (or in FP32 without) per byte of memory, above which products wait for arithmetic."""
    peaks = [float(peak_FLOPps(chip, p)) for p in ("bf16", "fp32")]
    return next(x for x in peaks if x > 0) / float(chip.hbm_bandwidth_Bps)


WHITE_SPACE = "white space"
"""Die bought beyond its blocks: for its edge, or so that heat spreads."""


def area_parts_mm2(chip: Chip, package: str) -> dict[str, float]:
    """Silicon of all dies by block, named as in `Area`, and blank silicon [mm2]."""
    made = chip_silicon(chip, package)
    found = {n.name: float(getattr(made.area, n.name)) for n in dataclasses.fields(made.area)}
    # a convex die may be a hair below its blocks
    return found | {WHITE_SPACE: max(float(chip.n_dies * made.die_mm2) - sum(found.values()), 0.0)}


def full_load_W(chip: Chip, package: str, precision: str) -> dict[str, float]:
    """Power by part with everything at full rate [W]."""
    tech, made = chip_technology(chip, package), chip_silicon(chip, package)
    watts = full_load_power_W(chip, tech, precision, made.area, made.die_mm2, made.supply_V)
    return {name: float(w) for name, w in watts.items()}


def chip_metrics(chip: Chip, package: str, names: tuple[str, ...]) -> dict[str, float]:
    """Metrics of a chip that ask for no workload, canonical units."""
    state = chip_state(chip, chip_technology(chip, package))
    values = {name: METRICS[name](state) for name in names}
    return {name: float(v) for name, v in values.items() if not isinstance(v, list)}


COUNTED = ("n_cores", "n_stacks")
"""Counts whose ratio to the baseline is shown."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """One number of a chip and of the one it is compared with."""

    before: float
    """Of the baseline, canonical unit."""
    after: float
    """Of the design."""

    @property
    def ratio(self) -> float | None:
        """The design's over the baseline's; None where the baseline has none of it."""
        return self.after / self.before if self.before > 0 else None


def compared(s: Solution, names: tuple[str, ...]) -> dict[str, Compared]:
    """Numbers of the baseline and of the design of a solved study, by metric; they ask for no workload."""
    assert s.chip is not None
    before, after = (chip_metrics(c, s.study.package, (*COUNTED, *names)) for c in (s.study.baseline.chip, s.chip))
    return {n: Compared(before[n], after[n]) for n in before}


def waits(s: Solution, w: WorkloadReport) -> list[tuple[str, float]]:
    """Bottlenecks of a workload on the design of a solved study, as shares of its step, largest first."""
    assert s.chip is not None
    workload, n_chips = s.study.workloads[w.name]
    # the design's chip in the study's fabric: its own file knows no other chips
    c, system = s.study.calibrations[w.name], _seated(s, n_chips)
    if isinstance(workload, Requests):
        d = asked_demand(workload, w.plan, system, chip_reference(s.chip, c), array_shape(s.chip.core.tensor))
        return list(spent(d, s.chip, c).items())
    return binding(w.evaluation, operators(system, phase_under(workload, w.plan), w.plan, w.evaluation, c))


def _seated(s: Solution, n_chips: int) -> System:
    assert s.chip is not None and s.choice is not None
    return dataclasses.replace(s.study.at_size(n_chips, s.choice.system), chip=s.chip)


def phases(s: Solution) -> dict[str, tuple[Workload, int]]:
    """Workloads that are one phase of a model, with operators of their own; a free batch is that of the design."""
    each = [(w.name, w.plan, *s.study.workloads[w.name]) for w in s.workloads]
    return {n: (phase_under(w, plan), chips) for n, plan, w, chips in each if not isinstance(w, Requests)}


def clouds(s: Solution, name: str) -> tuple[Cloud, Cloud]:
    """Operators of a workload on the baseline, one after another under its own best plan, and on the design."""
    assert s.chip is not None
    report = next(w for w in s.workloads if w.name == name)
    workload, n_chips = phases(s)[name]
    before = s.study.at_size(n_chips)
    after = _seated(s, n_chips)
    c = s.study.calibrations[name]
    # operators that overlap share their time: a cloud of single ones exists only in turn
    in_turn = dataclasses.replace(report.baseline_plan, order=ORDERS[0])
    asked = s.study.workloads[name][0]
    assert not isinstance(asked, Requests)
    own = phase_under(asked, in_turn)
    old = operators(before, own, in_turn, evaluate(before, own, in_turn, calibration=c).result, c)
    new = operators(after, workload, report.plan, report.evaluation, c)
    # without work or bytes an operator has no place on logarithmic axes
    old, new = (tuple(o for o in ops if o.run_FLOP > 0 and o.run_B > 0) for ops in (old, new))
    return Cloud(before.chip, old), Cloud(s.chip, new)


NAMED = ("trainium1", "trainium2", "trainium3", "h100", "b200", "tpu-v7")
"""Chips that are marked on a front where they can run the study's workloads."""


@dataclasses.dataclass(frozen=True)
class Named:
    """A chip that exists, on the axes of a front."""

    name: str
    """Preset, or the name of your own file."""
    values: tuple[float, ...]
    """Metrics, canonical units."""


def named_chips(
    study: Study, metrics: tuple[str, ...], baseline_s: list[float], names: tuple[str, ...] = NAMED
) -> list[Named]:
    """Chips that exist and can run all workloads of a study, each in its own largest system, by their best plans.

    The baseline runs as the study has it: at exactly 1. None on axes that need an owner, nor for models in service.
    """
    if any(m in OWNED for m in metrics) or not all(isinstance(w, Workload) for w, _ in study.workloads.values()):
        return []
    found: list[Named] = []
    own = study.baseline.chip.name
    for name in names:
        try:
            loads = [
                named_load(name, workload, n, base, len(study.workloads), study.streams and name == own)
                for (workload, n), base in zip(study.workloads.values(), baseline_s, strict=True)
                if isinstance(workload, Workload)
            ]
        except DseError:
            continue
        # one that lacks memory, precision or links for a workload is left out, not drawn as slow
        state = chip_state(chip_system(name).chip, loads=loads, shares=study.shares)
        values = [METRICS[m](state) for m in metrics]
        found.append(Named(short_name(name), tuple(float(max(v) if isinstance(v, list) else v) for v in values)))
    return found


def named_load(
    name: str, workload: Workload, n_chips: int, baseline_s: float, n_workloads: int, streams: bool = False
) -> Load:
    """`workload` on `n_chips` of the chip `name` by its best plan, streamed or not, beside the baseline's step time."""
    e = evaluate(chip_system(name, n_chips), workload, streams=streams).result
    share = np.float64(1.0 / n_workloads)
    return Load(e.step_s, e.power_W, np.float64(baseline_s), e.tokens_per_s * e.step_s / n_chips, share, e.hottest_W)
