"""Is one chip cheaper than another? Dollars per training and per served token, by several ways of paying, with ranges.

`rented` takes public prices of instances, of one kind where both are offered, and `rented, market` what other lessors
ask for the second chip; `owned` what each owner pays (a bought chip's price, an in-house chip's
cost and its maker's margin); `at cost` what both packages cost to make, so that no margin speaks.
"""

from __future__ import annotations

import dataclasses

from ..core.errors import SpecError
from ..core.provenance import number
from ..core.types import as_float
from ..evaluation.assembly import band_s, evaluate
from ..hardware.chip import native_precisions
from ..hardware.presets import chip_system
from ..hardware.system import System
from ..physics.calibration import calibration_for
from ..workload.presets import model as preset_model
from ..workload.transformer import Decode, Training, Workload
from .job import Job, job_of
from .knobs import Turned, band, turned
from .ownership import HOUR_s
from .owning import Deal, deal, rented_token_USD, token_upkeep
from .presets import contracts, observed, rents

MODEL = "llama-3.1-70b"
"""What is trained and served."""
TRAINING_CHIPS, SEQUENCE = 2304, 8192
"""Chips at work, which both 8-GPU servers and domains of 64 and 144 divide; one sequence per chip and step."""
SERVING_CHIPS, BATCH, CONTEXT = 16, 256, 8192
"""Chips of one serving group, sequences at once and tokens in each cache."""
MARKET = "market"
"""What lessors other than AWS ask."""
CLAIMS = "claims"
"""What is claimed of price, in `economy/data/observed.toml`."""


@dataclasses.dataclass(frozen=True)
class Timed:
    """One workload on one chip."""

    chip: str
    workload: Workload
    """What runs on the chip."""
    n_chips: int
    """Chips at work together."""
    step_s: float
    """Step time without failures."""
    band_s: tuple[float, float]
    """Step time with the calibration at its good and its bad end."""
    power_W: float
    """Mean chip power."""

    def job(self, d: Deal) -> Job:
        """What it asks of a fleet that recovers as `d` says."""
        return job_of(self.workload, self.n_chips, d.economy.reliability)


@dataclasses.dataclass(frozen=True)
class Answer:
    """Dollars per million tokens on two chips, one workload and one way of paying."""

    workload: str
    """"training" or "serving"."""
    paying: str
    """"rented", "rented, market", "owned" or "at cost"."""
    first_USD: float
    """Per million tokens, first chip; not a number where no price is published."""
    second_USD: float
    """Per million tokens, second chip."""
    low: float
    """Least ratio of first to second over the ranges."""
    high: float
    """Largest ratio over the ways of paying."""
    leading: tuple[Turned, ...]
    """What moves the ratio most, widest first."""
    needed: str
    """What must hold for the first to be 40 % cheaper."""

    @property
    def ratio(self) -> float:
        """Dollars on the first chip over dollars on the second."""
        return self.first_USD / self.second_USD

    @property
    def verdict(self) -> str:
        """Whether the claimed 40 % holds over the range: "yes", "likely", "unlikely" or "no"."""
        goal = 1.0 - claimed_frac()
        if self.high <= goal:
            return "yes"
        if self.low > goal:
            return "no"
        return "likely" if self.ratio <= goal else "unlikely"


def claimed_frac() -> float:
    """How much cheaper the first chip is claimed to be."""
    return number(observed(CLAIMS), "cheaper_frac")


def workloads(precision: str) -> dict[str, Workload]:
    """What is asked of both chips: a training step and a decode step at one precision."""
    model = preset_model(MODEL)
    return {
        "training": Training(model, TRAINING_CHIPS, SEQUENCE, precision),
        "serving": Decode(model, BATCH, CONTEXT, precision, precision),
    }


def common_precision(first: System, second: System) -> str:
    """FP8 where both chips multiply in it, else BF16."""
    return "fp8" if all("fp8" in native_precisions(s.chip) for s in (first, second)) else "bf16"


def timed(system: System, workload: Workload) -> Timed:
    """`workload` on `system` under its fastest plan, with the range of its calibration."""
    plan, e = evaluate(system, workload)
    band = band_s(system, workload, plan, calibration_for(system.chip.name, workload))
    return Timed(system.chip.name, workload, system.n_chips, float(e.step_s), band, float(e.power_W))


def _owned_USD(t: Timed, d: Deal) -> float:
    """Per million tokens, to the owner of `d`."""
    return 1e6 * float(token_upkeep(d, t.job(d), as_float(t.step_s), as_float(t.power_W)).cost_per_token_USD)


def _rented_USD(t: Timed, d: Deal, hour_USD: float) -> float:
    """Per million tokens, at a rent."""
    wall = token_upkeep(d, t.job(d), as_float(t.step_s), as_float(t.power_W)).wall_step_s
    return 1e6 * float(rented_token_USD(t.job(d), wall, as_float(hour_USD / HOUR_s)))


def speeds(a: Timed, b: Timed) -> list[Turned]:
    """What the calibrations of the two chips do to a ratio of dollars."""
    own = Turned(f"calibration of {a.chip}", a.band_s[0] / a.step_s, a.band_s[1] / a.step_s)
    other = Turned(f"calibration of {b.chip}", b.step_s / b.band_s[1], b.step_s / b.band_s[0])
    return [own, other]


def _rented(
    a: Timed, b: Timed, deals: tuple[Deal, Deal], name: str, kinds: tuple[str, ...], paying: str
) -> Answer:  # fmt: skip
    hours = [float(rents(t.chip)[k].value) if k else float("nan") for t, k in zip((a, b), kinds, strict=True)]
    dollars = [_rented_USD(t, d, h) for t, d, h in zip((a, b), deals, hours, strict=True)]
    goal = 1.0 - claimed_frac()
    most = goal * dollars[1] / (_rented_USD(a, deals[0], 1.0))
    prices = [
        Turned(f"rent of {t.chip}", *sorted((rents(t.chip)[k].low / h, rents(t.chip)[k].high / h)))
        for t, k, h in zip((a, b), kinds, hours, strict=True)
        if k
    ]
    prices[1:] = [Turned(p.label, 1.0 / p.high, 1.0 / p.low) for p in prices[1:]]
    parts = sorted([*speeds(a, b), *prices], key=lambda t: t.low / t.high)
    low, high = band(dollars[0] / dollars[1], parts)
    paid = f"{kinds[1] or 'no price'} of {b.chip}".replace("_", " ")
    needed = f"{a.chip} at most {most:.3g} USD per chip-hour against {hours[1]:.3g} ({paid})"
    return Answer(name, paying, dollars[0], dollars[1], low, high, tuple(parts), needed)


def _owned(a: Timed, b: Timed, deals: tuple[Deal, Deal], name: str, paying: str) -> Answer:
    dollars = [_owned_USD(t, d) for t, d in zip((a, b), deals, strict=True)]
    ratio = dollars[0] / dollars[1]

    def answer(first: Deal, second: Deal) -> float:
        return _owned_USD(a, first) / _owned_USD(b, second)

    parts = sorted([*turned(answer, *deals), *speeds(a, b)], key=lambda t: t.low / t.high)
    low, high = band(ratio, parts)
    factor = ratio / (1.0 - claimed_frac())
    needed = (
        f"holds with a factor {1 / factor:.2f} to spare in speed or dollars"
        if factor <= 1
        else f"{a.chip} must be {factor:.2f}x faster, or cost {factor:.2f}x less, than modelled"
    )
    return Answer(name, paying, dollars[0], dollars[1], low, high, tuple(parts), needed)


def compare(first: str, second: str, precision: str | None = None) -> tuple[str, list[Answer]]:
    """Dollars per million tokens on `first` against `second`: training and serving, each way of paying.

    Args:
        first: chip preset, such as "trainium2".
        second: chip preset it is compared with.
        precision: of weights and products; by default FP8 where both have it.

    Returns:
        The precision, and an answer with its range for every workload and way of paying.

    Raises:
        UnknownNameError: a chip that does not exist or cannot be owned; the message offers near matches.
        SpecError: a chip compared with itself.
    """
    if first == second:
        raise SpecError(f"--against {second}: name another chip to compare with")
    systems = [chip_system(name, TRAINING_CHIPS) for name in (first, second)]
    precision = precision or common_precision(*systems)
    bought = (deal(systems[0]), deal(systems[1]))
    made = (deal(systems[0], margin=1.0), deal(systems[1], margin=1.0))
    answers = []
    for name, workload in workloads(precision).items():
        n = TRAINING_CHIPS if name == "training" else SERVING_CHIPS
        a, b = (timed(chip_system(c, n), workload) for c in (first, second))
        kinds = contracts(first, second)
        answers.append(_rented(a, b, bought, name, kinds, "rented"))
        if MARKET in rents(second):
            answers.append(_rented(a, b, bought, name, (kinds[0], MARKET), "rented, market"))
        answers += [_owned(a, b, bought, name, "owned"), _owned(a, b, made, name, "at cost")]
    return precision, answers
