"""Requests served on a chip as `dse compare` serves them, and what a token of theirs costs whoever pays by the hour."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from ..economy.owning import Deal, hour_USD, million_tokens_USD
from ..evaluation.assembly import band_s, evaluate
from ..hardware.presets import chip_system
from ..lowering.engines import decode_of
from ..workload.requests import Requests
from .curve import Promise
from .ranking import Ranked, ranking


@dataclasses.dataclass(frozen=True)
class Asked:
    """Requests to serve and the latency limits that are promised."""

    requests: Requests
    """Model, lengths and storage; its model is trained too."""
    promise: Promise = dataclasses.field(default_factory=Promise)
    """Limits on TTFT and TPOT."""
    requests_per_s: float | None = None
    """Traffic; None: chips are as busy as the promise allows."""
    n_chips: int | None = None
    """Chips of the largest engine tried; None: one scale-up domain."""


@dataclasses.dataclass(frozen=True)
class Served:
    """Requests served on one chip as in `serving.ranking`, paid per chip-hour, busy or not."""

    ranked: Ranked

    @property
    def chip(self) -> str:
        """Name of the chip."""
        return self.ranked.system.chip.name

    @property
    def speed(self) -> tuple[float, float]:
        """Fast and slow end of the error band of the decode pass, over its predicted time."""
        r = self.ranked
        if r.engine is None or r.curve is None:
            return math.nan, math.nan
        w, c = r.engine.writer, r.curve.calibration
        decode, plan = decode_of(r.curve.requests, w.shape, w.n_sequences, r.curve.requests.mean_context)
        step_s = float(evaluate(w.shape.system, decode, plan, calibration=c).result.step_s)
        low, high = band_s(w.shape.system, decode, plan, c)
        return low / step_s, high / step_s

    def owned_USD(self, d: Deal) -> float:
        """Cost per million tokens to the owner of `d`."""
        return self.rented_USD(d, hour_USD(d))

    def rented_USD(self, d: Deal, chip_hour_USD: float) -> float:
        """Cost per million tokens at a rent, without failures, which the lessor bears."""
        rate = self.ranked.tokens_per_s
        return math.nan if rate is None else million_tokens_USD(rate, chip_hour_USD)


def served(first: str, second: str, asked: Asked, rents_USD: Mapping[str, float]) -> tuple[Served, Served] | str:
    """Both chips as served by `dse compare`, in the given order; or the reason why one cannot serve."""
    systems = [chip_system(name, asked.n_chips) for name in (first, second)]
    how = {"basis": None, "rents_USD": rents_USD, "requests_per_s": asked.requests_per_s}
    # by name: the ranking sorts by cost, and the order given is wanted
    found = {r.system.chip.name: r for r in ranking(systems, asked.requests, asked.promise, **how)}  # type: ignore[arg-type]
    gap = "; ".join(r.gap for r in found.values() if r.engine is None)
    return gap or (Served(found[first]), Served(found[second]))
