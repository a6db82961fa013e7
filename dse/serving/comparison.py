"""`compare`: cost of two chips per training token and per served token, by four ways of paying, with ranges.

`rented`: public prices; `rented, market`: other lessors' price of the second chip; `owned`: each owner's cost; `at
cost`: packages at manufacturing cost. Served tokens are computed as in `dse compare`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.errors import SpecError
from ..core.frames import page, table_of
from ..core.provenance import number
from ..economy.curves import SEQUENCE
from ..economy.knobs import Turned, band, turned
from ..economy.owning import Deal, Hour, deal, hours
from ..economy.presets import observed, rents
from ..hardware.chip import native_precisions
from ..hardware.presets import chip as preset_chip
from ..hardware.presets import chip_system
from ..hardware.system import System
from ..workload.presets import model as preset_model
from ..workload.requests import Length, Requests
from ..workload.transformer import Model, Training
from .phases import Timed, timed
from .served import Asked, Served, served

if TYPE_CHECKING:
    import pandas as pd

MODEL = "llama-3.1-70b"
"""Default model for training and serving."""
TRAINING_CHIPS = 2304
"""Chips of the training job, a multiple of 8, 64 and 144 (scale-up domains); one sequence per chip and step."""
LENGTH = Length(2000, 300)
"""Default request: tokens of prompt and output."""
MARKET = "market"
"""Kind of price: lessors other than AWS."""
CLAIMS = "claims"
"""Name of the claimed price advantage in `economy/data/observed.toml`."""


Priced = Timed | Served
"""A workload on one chip, whose cost depends on the way of paying."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """Cost per million tokens on two chips, for one workload and one way of paying."""

    workload: str
    """"training" or "serving"."""
    paying: str
    """"rented", "rented, market", "owned" or "at cost"."""
    first_USD: float
    """Per million tokens on the first chip; NaN without a published price."""
    second_USD: float
    low: float
    """Lowest ratio of first to second over the ranges of its facts."""
    high: float
    """Highest ratio over the ranges of its facts."""
    leading: tuple[Turned, ...]
    """Facts by their effect on the ratio, widest first."""
    needed: str
    """What it takes for the first chip to be 40 % cheaper, or why there is no answer."""

    @property
    def ratio(self) -> float:
        """Cost on the first chip over cost on the second."""
        return self.first_USD / self.second_USD

    @property
    def verdict(self) -> str:
        """Whether the claimed 40 % holds over the range: "yes", "likely", "unlikely" or "no"; "unknown" without one."""
        if math.isnan(self.ratio):
            return "unknown"
        # the claim is about the ratio: 40 % cheaper is at most 0.6 of the other's cost
        goal = 1.0 - claimed_frac()
        if self.high <= goal:
            return "yes"
        if self.low > goal:
            return "no"
        # the range lies on both sides: the middle decides
        return "likely" if self.ratio <= goal else "unlikely"


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two chips compared: cost per million tokens by workload and way of paying."""

    first: str
    second: str
    precision: str
    """Precision of training, and default precision of serving."""
    answers: tuple[Answer, ...]

    def frame(self) -> pd.DataFrame:
        """One row per workload and way of paying: cost per million tokens, ratio and its range."""
        rows = [
            (a.workload, a.paying, a.first_USD, a.second_USD, a.ratio, a.low, a.high, a.needed) for a in self.answers
        ]
        columns = ["workload", "paying", "first_USD", "second_USD", "ratio", "low", "high", "needed"]
        return table_of(rows, columns)

    def _repr_html_(self) -> str:
        title = (
            f"USD per million tokens, {self.first} (first) against {self.second} (second), in {self.precision.upper()}"
        )
        return page(title, self.frame())


def claimed_frac() -> float:
    """Claimed price advantage of the first chip, as a fraction."""
    return number(observed(CLAIMS), "cheaper_frac")


def training(model: Model, precision: str) -> Training:
    """The training step to compare."""
    return Training(model, TRAINING_CHIPS, min(SEQUENCE, model.max_context), precision)


def usual(precision: str) -> Asked:
    """Default requests: one model, weights and KV cache stored in `precision`."""
    return Asked(Requests(preset_model(MODEL), (LENGTH,), precision, precision))


def common_precision(*chip_names: str) -> str:
    """FP8 if all chips have it natively, else BF16."""
    return "fp8" if all("fp8" in native_precisions(preset_chip(name)) for name in chip_names) else "bf16"


def speeds(a: Priced, b: Priced) -> list[Turned]:
    """Effect of the two chips' calibration errors on a cost ratio."""
    # the second chip stands below the line of the ratio, so that its slow end is the ratio's low one
    (a_low, a_high), (b_low, b_high) = a.speed, b.speed
    return [
        Turned(f"calibration of {a.chip}", a_low, a_high),
        Turned(f"calibration of {b.chip}", 1.0 / b_high, 1.0 / b_low),
    ]


def _rented(
    a: Priced, b: Priced, deals: tuple[Deal, Deal], name: str, paid: tuple[Hour, Hour], paying: str
) -> Answer:  # fmt: skip
    # NaN goes through all arithmetic below, and is told as "not known"
    asked = [math.nan if h.chip_hour_USD is None else h.chip_hour_USD for h in paid]
    dollars = [t.rented_USD(d, h) for t, d, h in zip((a, b), deals, asked, strict=True)]
    # dollars are in proportion to the rent, so that its break-even is a ratio
    most = (1.0 - claimed_frac()) * dollars[1] / a.rented_USD(deals[0], 1.0)
    prices = [
        Turned(f"rent of {t.chip}", *(x / h for x in p.range_USD or (h, h)))
        for t, p, h in zip((a, b), paid, asked, strict=True)
    ]
    # the second chip is below the line: what makes it dearer makes the ratio smaller
    prices[1] = Turned(prices[1].label, 1.0 / prices[1].high, 1.0 / prices[1].low)
    parts = sorted([*speeds(a, b), *prices], key=lambda t: t.low / t.high)
    low, high = band(dollars[0] / dollars[1], parts)
    how = f"{paid[1].basis or 'no price'} of {b.chip}".replace("_", " ")
    against = f"at most {most:.3g} USD per chip-hour against {asked[1]:.3g} ({how})"
    needed = f"not known: {how}" if math.isnan(most) else f"{a.chip} {against}"
    return Answer(name, paying, dollars[0], dollars[1], low, high, tuple(parts), needed)


def _owned(a: Priced, b: Priced, deals: tuple[Deal, Deal], name: str, paying: str) -> Answer:
    dollars = [t.owned_USD(d) for t, d in zip((a, b), deals, strict=True)]
    ratio = dollars[0] / dollars[1]

    def answer(first: Deal, second: Deal) -> float:
        return a.owned_USD(first) / b.owned_USD(second)

    # facts that both share move both at once, so that what they have in common cancels
    parts = sorted([*turned(answer, *deals), *speeds(a, b)], key=lambda t: t.low / t.high)
    low, high = band(ratio, parts)
    factor = ratio / (1.0 - claimed_frac())
    needed = (
        f"holds with a factor {1 / factor:.2f} to spare in speed or dollars"
        if factor <= 1
        else f"{a.chip} must be {factor:.2f}x faster, or cost {factor:.2f}x less, than modelled"
    )
    return Answer(name, paying, dollars[0], dollars[1], low, high, tuple(parts), needed)


def compare(
    first: str,
    second: str,
    precision: str | None = None,
    asked: Asked | None = None,
    rents_USD: Mapping[str, float] | None = None,
) -> Compared:
    """Cost per million tokens on chip `first` against `second`, with ranges, for training and serving, owned or rented.

    Defaults: `precision` FP8 if both chips have it, `asked` Llama 3.1 70B, and public prices of chip-hours unless in
    `rents_USD`. UnknownNameError, ReceiptError: a chip unknown, or without price. SpecError: both the same.
    """
    if first == second:
        raise SpecError(f"--against {second}: name another chip to compare with")
    systems = [chip_system(name, TRAINING_CHIPS) for name in (first, second)]
    precision = precision or common_precision(first, second)
    asked, given = asked or usual(precision), rents_USD or {}
    step = training(asked.requests.model, precision)
    trained = (timed(systems[0], step), timed(systems[1], step))
    engines = served(first, second, asked, given)
    found = _answers(*trained, systems, "training", given)
    if isinstance(engines, str):
        found.append(Answer("serving", "rented", math.nan, math.nan, math.nan, math.nan, (), engines))
    else:
        found += _answers(*engines, systems, "serving", given)
    return Compared(first, second, precision, tuple(found))


def _answers(a: Priced, b: Priced, systems: list[System], name: str, given: Mapping[str, float]) -> list[Answer]:
    bought = (deal(systems[0]), deal(systems[1]))
    # both makers' margins left out, of a bought chip too
    made = (deal(systems[0], margin=1.0), deal(systems[1], margin=1.0))
    # on one kind of contract for both: a spot price against a list price would compare contracts
    own, other = hours([a.chip, b.chip], None, given)
    found = [_rented(a, b, bought, name, (own, other), "rented")]
    if MARKET in rents(b.chip) and b.chip not in given:
        fact = rents(b.chip)[MARKET]
        market = Hour(float(fact.value), MARKET, (fact.low, fact.high))
        found.append(_rented(a, b, bought, name, (own, market), "rented, market"))
    return [*found, _owned(a, b, bought, name, "owned"), _owned(a, b, made, name, "at cost")]
