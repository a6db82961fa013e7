"""Limits and free numbers of a study from their text; limits relative to the baseline or to a built chip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..core.errors import SpecError, UnknownNameError
from ..core.free import Free
from ..core.text import stem_of, unit_of, written_unit
from ..core.units import positive
from ..hardware.own_chip import check_usual
from ..hardware.presets import chip
from ..physics.evaluate import chip_technology
from .design import FREE
from .metrics import DELIVERED, HOTTEST, METRICS, OF_WORKLOADS, POWER, Limit, State, chip_state
from .written import LimitTable


def full_name(key: str, names: tuple[str, ...], what: str) -> str:
    """The canonical name that `key` means, with or without its unit; UnknownNameError with near matches."""
    matches = [n for n in names if key in (n, stem_of(n))]
    if len(matches) != 1:
        raise UnknownNameError(what, key, names)
    return matches[0]


def free_of(key: str, lower: str | float, upper: str | float) -> Free:
    """A free number from its written ends; raises for a name, unit or order that cannot be."""
    name = full_name(key, tuple(FREE), "free parameter")
    unit, place = written_unit(name), f"free.{key}"
    ends = positive(lower, unit, place), positive(upper, unit, place)
    for end in ends if unit else ():  # 5 for a clock is 5 Hz, at which nothing is found, for no reason that is told
        check_usual(place, name, end)
    return Free(name, *ends)


def limit_of(
    spec: LimitTable, index: int, now: Callable[[], State], built: State | None, names: tuple[str, ...]
) -> Limit:  # fmt: skip
    """A limit from what is written, at its place in the study; SpecError for anything else than one value."""
    name = full_name(spec.metric, names, "metric")
    place = f"limits.{index} ({spec.metric})"
    given = [(s, v) for s, v in (("at_most", spec.at_most), ("at_least", spec.at_least)) if v is not None]
    if len(given) != 1:
        raise SpecError(f"{place}: give either at_most or at_least")
    ((sense, value),) = given
    if value == BUILT:
        return built_limit(name, sense, built, place)
    if isinstance(value, str) and value.endswith("x"):
        # lazily: the baseline's state takes its own compile, and most limits are absolute
        own = baseline_metric(name, now, place)
        if own == 0.0:
            raise SpecError(f"{place}: the baseline has none of it, so that '{value}' says nothing; give a number")
        return Limit(name, sense, positive(value[:-1], "", place) * own)
    return Limit(name, sense, positive(value, unit_of(name), place))


def check_said_once(limits: Sequence[Limit]) -> None:
    """SpecError for a limit that is stated twice: its price would be shared between both, and neither's be true."""
    for k, x in enumerate(limits):
        first = next(i for i, y in enumerate(limits) if _is_same(x, y))
        if first != k:
            raise SpecError(f"limits.{k} ({stem_of(x.metric)}): says again what limits.{first} says; keep one")


def _is_same(x: Limit, y: Limit) -> bool:
    # two caps of other values are fine: the smaller one binds
    return (x.metric, x.sense) == (y.metric, y.sense) and math.isclose(x.value, y.value)


def baseline_metric(name: str, now: Callable[[], State], place: str) -> float:
    """Value of a metric on the baseline chip, for limits such as "6x"; SpecError for one of workloads or technology."""
    # the baseline takes its own time, once
    if name == DELIVERED:
        return 1.0
    if name in OF_WORKLOADS or name not in METRICS:
        raise SpecError(f"{place}: {name} depends on the workload; give it in its unit")
    value = METRICS[name](now())
    assert not isinstance(value, list)
    return float(value)


BUILT = "built"
"""Value of a limit that is what the chip in the table [built] has."""


def built_state(chip_name: str, package_name: str) -> State:
    """The chip that was built, preset or file, on a study's package, as a point that `METRICS` can read."""
    inside = chip(chip_name)
    return chip_state(inside, chip_technology(inside, package_name))


def built_limit(name: str, sense: str, built: State | None, place: str) -> Limit:
    """The limit of a metric to what the built chip has; SpecError without one, or for a metric it cannot say."""
    if built is None:
        raise SpecError(f"{place}: '{BUILT}' means the chip in a table [built], which the study does not have")
    if name in OF_WORKLOADS:
        raise SpecError(f"{place}: {name} depends on the workload; give it in its unit")
    rates = built.chip.core.tensor.macs_per_cycle
    lacking = next((p for p in ("fp8", "fp4") if f"_{p}_" in name and not float(rates.of(p)) > 0), None)
    if lacking:
        raise SpecError(f"{place}: {built.chip.name} has no {lacking} rate, so its {name} means nothing; limit another")
    value = METRICS[name](built)
    assert not isinstance(value, list)
    return Limit(name, sense, float(value))


def least_cap_W(limits: Sequence[Limit], metric: str = POWER) -> float:
    """Lowest upper limit on a power, by default the mean one, to which a design throttles; infinite without one."""
    return min((x.value for x in limits if (x.metric, x.sense) == (metric, "at_most")), default=math.inf)


def rated_W(limits: Sequence[Limit], drawn: Sequence[float], usual_W: float) -> float:
    """Power that the file of a design states: the cap on mean power, or the most drawn, so that it never throttles.

    `drawn` by each workload in the mean; an operator may draw as much as its own cap; `usual_W` where nothing is known.
    """
    most_W, hottest_W = least_cap_W(limits), least_cap_W(limits, HOTTEST)
    own = [hottest_W] if math.isfinite(hottest_W) else []
    return most_W if math.isfinite(most_W) else max([*drawn, *own], default=usual_W)
