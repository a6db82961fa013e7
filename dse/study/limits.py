"""Limits and free numbers of a study from what is written: names with or without units, values with theirs."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import SpecError, UnknownNameError
from ..core.free import Free
from ..core.text import stem_of, written_unit
from ..core.units import positive
from .budget import BUILT, built_limit
from .design import FREE
from .metrics import DELIVERED, METRICS, OF_WORKLOADS, Limit, State
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
    unit = written_unit(name)
    return Free(name, positive(lower, unit, f"free.{key}"), positive(upper, unit, f"free.{key}"))


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
        return Limit(name, sense, positive(value[:-1], "", place) * baseline_metric(name, now, place))
    return Limit(name, sense, positive(value, written_unit(name), place))


def baseline_metric(name: str, now: Callable[[], State], place: str) -> float:
    """Value of a metric on the baseline chip, for limits such as "6x"; SpecError for one of workloads or technology."""
    if name == DELIVERED:
        return 1.0
    if name in OF_WORKLOADS or name not in METRICS:
        raise SpecError(f"{place}: {name} depends on the workload; give it in its unit")
    value = METRICS[name](now())
    assert not isinstance(value, list)
    return float(value)
