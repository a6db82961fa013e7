"""Ranking of chips by cost per million served tokens, for given traffic and latency limits; gaps with a reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from ..core.errors import DseError
from ..economy.owning import Hour, hours, million_tokens_USD, range_USD
from ..hardware.system import System
from ..lowering.engines import Policy
from ..physics.calibration import measured_band
from ..workload.requests import Requests
from .curve import Curve, Promise, Serving, serving_curve
from .offer import broken_promise
from .portfolio import Service, sized


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One chip at its cheapest within the promise."""

    system: System
    """The chip in its largest engine."""
    hour: Hour
    engine: Serving | None
    """Engine with most tokens per chip within the promise; None where none keeps it."""
    n_chips: int | None
    """Chips that the traffic needs, in whole engines; of one engine where no traffic is given."""
    tokens_per_s: float | None
    """Tokens out of one chip: of those that stand there where traffic is given, busy or not."""
    curve: Curve | None
    """Every engine of the chip; None where nothing fits."""
    promise: Promise
    gap: str = ""

    @property
    def factor(self) -> float:
        """Factor either way that holds 80 % of unseen measurements; not a number for a prior."""
        factor = None if self.curve is None else measured_band(self.curve.calibration, trains=False)
        return math.nan if factor is None else factor[1]

    @property
    def million_tokens_USD(self) -> float | None:
        """Cost of a million tokens out; None without a price or an engine."""
        price = self.hour.chip_hour_USD
        return None if price is None or self.tokens_per_s is None else million_tokens_USD(self.tokens_per_s, price)

    @property
    def million_tokens_range_USD(self) -> tuple[float, float] | None:
        """Range of that cost by step times alone, that holds 80 % of unseen measurements; None without one."""
        return range_USD(self.million_tokens_USD, self.factor)

    @property
    def margins(self) -> dict[str, float]:
        """How far below each promised time the engine stays, as a share of it."""
        if self.engine is None:
            return {}
        limits = {"tpot": self.promise.tpot_s, "ttft": self.promise.ttft_s}
        times = {"tpot": self.engine.tpot_s, "ttft": float(self.engine.point.ttft_s)}
        return {k: 1.0 - times[k] / limit for k, limit in limits.items() if limit is not None}


def ranking(
    systems: Sequence[System],
    requests: Requests,
    promise: Promise,
    *,
    basis: str | None,
    rents_USD: Mapping[str, float],
    requests_per_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Ranked]:
    """Chips by dollars per million tokens within a promise, cheapest first; those with a gap last, and why."""
    found = []
    paid = hours([s.chip.name for s in systems], basis, rents_USD)
    for system, hour in zip(systems, paid, strict=True):
        tell(f"pricing every engine of {system.chip.name}")
        try:
            found.append(_ranked(serving_curve(system, requests, promise, Policy()), hour, requests_per_s))
        except DseError as error:
            found.append(Ranked(system, hour, None, None, None, None, promise, str(error)))
    return sorted(found, key=_order)


def _ranked(curve: Curve, hour: Hour, requests_per_s: float | None) -> Ranked:
    """The engine of a curve that serves at least cost."""
    best, p = curve.best, curve.promise
    if not best:
        return Ranked(curve.system, hour, None, None, None, curve, p, broken_promise(curve))
    # the curve runs from fast to full: the last one within the promise makes most of a chip
    engine = best[-1]
    n_chips, rate = engine.writer.shape.system.n_chips, engine.chip_tokens_per_s
    if requests_per_s is not None:
        fleet = sized(Service("", curve.requests, 1.0, p), curve, requests_per_s)
        assert fleet is not None  # some engine keeps the promise
        engine, n_chips = fleet.engine, fleet.n_chips
        # whole engines may have room to spare, which is paid for as well
        rate = requests_per_s * curve.requests.n_output / n_chips
    return Ranked(curve.system, hour, engine, n_chips, rate, curve, p, hour.gap)


def _order(r: Ranked) -> tuple[bool, float, float]:
    """Dollars, then tokens per joule where there is no price, then chips that do not serve."""
    cost = r.million_tokens_USD
    frugal = -float(r.engine.point.tokens_per_J) if r.engine is not None else 0.0
    return r.engine is None, math.inf if cost is None else cost, frugal
