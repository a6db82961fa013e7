"""`METRICS`, all quantities that a goal or limit can name, as functions of a design's state; and `Limit`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import SpecError
from ..core.program import compiled, is_traced
from ..core.provenance import pick
from ..core.types import FloatLike, unnamed
from ..economy.job import Economy, Job, Upkeep, owned, upkeep
from ..hardware.chip import Chip, peak_FLOPps
from ..physics.area import Area, interposer_mm2
from ..physics.evaluate import Silicon, chip_technology, silicon
from ..physics.full_load import full_load_W
from ..physics.money import Money, inverse_yield, total_USD
from ..technology.presets import Technology
from .design import FREE

POWER = "power_W"
"""Mean package power, one value per workload."""
HOTTEST = "hottest_operator_W"
"""Package power during the operator with the highest power: what regulators and cooling must sustain."""
FULL_LOAD = "full_load_W"
"""Package power with all engines at full rate, in the precision with the highest power."""
HEAT = "heat_W_per_mm2"
"""`FULL_LOAD` over compute silicon area: the heat flux to the cold plate."""


class Load(eqx.Module):
    """Step time, power and tokens of one workload on the chip of a `State`."""

    step_s: FloatLike
    power_W: FloatLike
    baseline_s: FloatLike
    """Time of the baseline chip for the same number of tokens."""
    tokens: FloatLike
    """Tokens per step and chip."""
    traffic_frac: FloatLike
    """Share of the baseline's fleet, for a served model."""
    hottest_W: FloatLike
    """Package power during the operator with the highest power; NaN if it is not limited."""


class State(eqx.Module):
    """A design with everything that metrics read: chip, technology, area, cost, loads of the workloads, ownership."""

    chip: Chip
    tech: Technology
    area: Area
    money: Money
    die_mm2: FloatLike
    supply_V: FloatLike
    loads: list[Load]
    upkeeps: list[Upkeep]
    shares: tuple[float, ...] = eqx.field(static=True, default=())
    """Weights of the workloads in geometric means, adding up to 1; empty for equal weights."""


def chip_state(
    chip: Chip, tech: Technology | None = None, loads: Sequence[Load] = (), shares: tuple[float, ...] = ()
) -> State:
    """`State` of an existing chip, in its own technology unless another is given; `shares` as those of a study."""
    tech = chip_technology(chip) if tech is None else tech
    s = silicon_of(chip, tech)
    return State(chip, tech, s.area, s.money, s.die_mm2, s.supply_V, list(loads), [], shares)


def silicon_of(chip: Chip, tech: Technology) -> Silicon:
    """`silicon`, compiled once for all chips."""
    return _silicon(*unnamed((chip, tech)))


_silicon = compiled(silicon)


def geometric_mean(values: list[FloatLike], shares: Sequence[float] = ()) -> FloatLike:
    """Weighted geometric mean of positive numbers (a monomial); `shares` add up to 1, empty: equal weights."""
    powers = list(shares) or [1.0 / len(values)] * len(values)
    return math.prod((v**p for v, p in zip(values[1:], powers[1:], strict=True)), start=values[0] ** powers[0])


ECONOMIC = (
    "wall_step_s", "chip_hour_USD", "cost_per_token_USD", "energy_per_token_J", "carbon_per_token_kg",
    "rack_time_per_token_s", "megawatt_time_per_token_s",
)  # fmt: skip
"""Economic metrics, fields of `Upkeep`, which need an owner: server, capital, energy, failures, carbon."""

OF_RACK: dict[str, Callable[[Upkeep], FloatLike]] = {
    "rack_power_W": lambda u: u.rack_W,
    "rack_cost_USD": lambda u: u.rack_USD,
    "rack_scaleup_Bps": lambda u: u.rack_scaleup_Bps,
    "rack_scaleout_Bps": lambda u: u.rack_scaleout_Bps,
}
"""Metrics of a full rack, provisioned for the workload with the highest power."""
LOADED = ("bf16", "fp8", "fp4")
"""Precisions with peak and full-load metrics; where a chip lacks one, full load is that of the next wider."""

METRICS: dict[str, Callable[[State], FloatLike | list[FloatLike]]] = {
    # geometric, so that designs rank alike whatever the baseline; a fleet's times add up, so that its mean is of shares
    "delivered_time": lambda s: geometric_mean([w.step_s / w.baseline_s for w in s.loads], s.shares),
    "served_time": lambda s: sum((w.traffic_frac * w.step_s / w.baseline_s for w in s.loads), start=jnp.zeros(())),
    "chip_energy_per_token_J": lambda s: geometric_mean([w.power_W * w.step_s / w.tokens for w in s.loads], s.shares),
    POWER: lambda s: [w.power_W for w in s.loads],
    **{n: lambda s, n=n: [getattr(u, n) for u in s.upkeeps] for n in ECONOMIC},
    **{f"mean_{n}": lambda s, n=n: geometric_mean([getattr(u, n) for u in s.upkeeps], s.shares) for n in ECONOMIC},
    **{name: lambda s, of=of: of(s.upkeeps[0]) for name, of in OF_RACK.items()},
    HOTTEST: lambda s: reduce(jnp.maximum, [w.hottest_W for w in s.loads]),
    FULL_LOAD: lambda s: _most_loaded_W(s),
    **{f"full_load_{p}_W": lambda s, p=p: _full_load_W(s, p) for p in LOADED},
    # a cold plate takes what comes, in whatever precision: half-rate FP8 leaves BF16 the hotter one
    HEAT: lambda s: _most_loaded_W(s) / (s.chip.n_dies * s.die_mm2),
    "supply_V": lambda s: s.supply_V,
    "die_mm2": lambda s: s.die_mm2,
    "silicon_mm2": lambda s: s.chip.n_dies * s.die_mm2,
    "interposer_mm2": lambda s: interposer_mm2(s.chip, s.die_mm2, s.tech),
    "package_cost_USD": lambda s: total_USD(s.money),
    **{f"peak_{p}_FLOPps": lambda s, p=p: peak_FLOPps(s.chip, p) for p in LOADED},
    "sram_B": lambda s: s.chip.n_cores * s.chip.core.scratchpad_B,
    **{name: lambda s, place=place: place(s.chip) for name, place in FREE.items()},
    "scaleout_bandwidth_per_dir_Bps": lambda s: s.chip.scaleout_bandwidth_per_dir_Bps,
}
"""Metrics by canonical name, as functions of a `State`. `delivered_time` (step time over the baseline's),
`chip_energy_per_token_J` and those that begin with "mean" are weighted geometric means over the workloads."""
ON_A_DIE = (HEAT, "die_mm2", "silicon_mm2")
"""Metrics whose limits blank silicon can meet: at most a heat flux, at least an area."""
LOADS = (POWER, HOTTEST, *(f"full_load_{p}_W" for p in LOADED))
"""Package powers that a TDP may limit, from the mildest reading to the strictest."""
OWNED = (*ECONOMIC, *(f"mean_{name}" for name in ECONOMIC), *OF_RACK)
"""Metrics that need an owner: per workload, as means, or of a rack."""
PER_WORKLOAD = (POWER, *ECONOMIC)
"""Metrics with one value per workload: a limit holds for each, and a goal is their geometric mean."""
OF_WORKLOADS = ("delivered_time", "served_time", "chip_energy_per_token_J", POWER, HOTTEST, *OWNED)
"""Metrics that need a workload."""
DELIVERED = "delivered_time"
"""Metric whose inverse is the delivered speed-up."""


def upkeep_of(
    chip: Chip, tech: Technology, money: Money, die_mm2: FloatLike, economy: Economy | None, jobs: tuple[Job, ...],
    loads: list[Load], provisioned_W: FloatLike | None = None,
) -> list[Upkeep]:  # fmt: skip
    """`Upkeep` of each workload; racks are provisioned for `provisioned_W`, default the highest of the workloads."""
    if economy is None:
        return []
    sized = reduce(jnp.maximum, [w.power_W for w in loads]) if provisioned_W is None else provisioned_W
    silicon = chip.n_dies * die_mm2
    racked = owned(chip, total_USD(money), silicon, silicon * inverse_yield(die_mm2, tech), sized, economy)
    each = [(dataclasses.replace(j, tokens=w.tokens * j.n_chips), w) for j, w in zip(jobs, loads, strict=True)]
    return [upkeep(racked, chip, j, w.step_s, w.power_W, economy) for j, w in each]


SERVED = "served_time"
"""Goal: time per token over the baseline's, averaged with each model's share of the baseline's fleet."""
SPEEDUPS = (DELIVERED, SERVED)
"""Goals that are times relative to the baseline: their inverse is a speed-up."""


def mean_speedup(
    goal: str, speedups: Sequence[float], traffic_frac: Sequence[float], shares: Sequence[float] = ()
) -> float:  # fmt: skip
    """Mean speed-up of several workloads: of the fleet for `SERVED`, else the weighted geometric mean."""
    each = np.asarray(speedups)
    if goal == SERVED:
        # times of a fleet add up, so that its speed-ups have a harmonic mean
        return float(1.0 / np.sum(np.asarray(traffic_frac) / each))
    return float(np.exp(np.average(np.log(each), weights=list(shares) or None)))


def _most_loaded_W(s: State) -> FloatLike:
    return reduce(jnp.maximum, [_full_load_W(s, p) for p in LOADED])


def _full_load_W(s: State, precision: str) -> FloatLike:
    on = s.chip, s.tech, s.area, s.die_mm2, s.supply_V
    # what is traced has no value to convert, and is compiled with the program around it
    if is_traced(on):
        return full_load_W(s.chip, s.tech, precision, *on[2:])
    return _each_loaded_W(*jax.tree.map(np.asarray, unnamed(on)))[precision]


@compiled
def _each_loaded_W(chip: Chip, tech: Technology, *on: Any) -> dict[str, FloatLike]:
    # all at once: whoever asks for one load, a table or a limit, asks for the others next
    return {p: full_load_W(chip, tech, p, *on) for p in LOADED}


Metric: TypeAlias = Callable[[State], FloatLike | list[FloatLike]]
"""Function of a state that returns a metric; a user's own returns one positive number."""
Own: TypeAlias = tuple[tuple[str, Metric], ...]
"""User-defined metrics by name, which ends in the unit."""


def metric_of(own: Own, name: str) -> Metric:
    """The metric of this name: user-defined, or one of `METRICS`; UnknownNameError for none."""
    mine = dict(own).get(name)
    return pick(METRICS, "metric", name) if mine is None else partial(_read_own, name, mine)


def _read_own(name: str, read: Metric, s: State) -> FloatLike:
    """A user-defined metric at a state; SpecError with its name if the function fails or returns no single number."""
    try:
        value = jnp.asarray(read(s), dtype=float)
    except Exception as error:  # whatever a user's function raises, the user must learn which function it was
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise SpecError(f"metrics.{name}: the function fails: {why}") from error
    if value.shape:
        raise SpecError(f"metrics.{name}: expected one number, not {' x '.join(map(str, value.shape))} of them")
    return value


SENSES = ("at_most", "at_least")
"""What a limit may ask of its metric."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """One user limit (inequality constraint): a metric at most or at least a value.

    SpecError: another sense, or a value that is not positive and finite.
    """

    metric: str
    sense: str
    """"at_most" or "at_least"."""
    value: float
    """Limit in the canonical unit of the metric."""

    def __post_init__(self) -> None:
        # limits are logarithms in the solver; NaN and an unknown sense would bind nothing there, and silently
        if self.sense not in SENSES:
            raise SpecError(f"limit of {self.metric}: '{self.sense}' is not one of {', '.join(SENSES)}")
        if not 0 < self.value < math.inf:
            raise SpecError(f"limit of {self.metric}: {self.value:g} must be positive and finite")

    @property
    def name(self) -> str:
        """Label in tables, such as "power_W <= 1200"."""
        return f"{self.metric} {'<=' if self.sense == 'at_most' else '>='} {self.value:.6g}"
