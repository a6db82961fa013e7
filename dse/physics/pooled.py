"""Calibrations by partial pooling: an unmeasured chip or stack takes the effects of its family, vendor and software.

Every number of a calibration is, in unbounded coordinates,
    x = x0 + s (z[software] + z[vendor] + z[family] + z[stack] + z[chip] + z[family and stack])
with x0 the value and s half the range of the vendor's prior, and z effects fitted to all measurements together
(`dse.calibrate.pooled`), zero where none exist. Source: [gelman2006hierarchical] for partial pooling.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from ..core.provenance import Receipts, Sourced
from ..hardware.presets import base_name
from .coordinates import FOLLOW, LEAD, NUMBERS, centre_and_deviation, following, number_at, to_free

EFFECTS = Path(__file__).parent / "data" / "effects.json"
"""File written by `dse calibrate`."""

STEPS, ALONE = "steps", "alone"
"""Pools: whole steps and requests; operators and collectives timed alone."""

CLOCK = "clock"
"""Entry of the effects with the clock of each preset under full load over its nominal one, by precision."""

LEVELS = ("software", "vendor", "family", "stack", "chip", "pair")
"""Levels of the groups that share an effect, from the widest to the narrowest."""

COMPILED = ("prior-neuron", "prior-tpu")
"""Vendors whose programs are compiled as a whole; others launch kernels one by one from a host."""


# narrower prefixes stand first ("tpu-v6" before "tpu"): the first that matches names the family
FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ampere", ("a100", "a800", "a40", "a10", "rtx-a6000")),
    ("hopper", ("h100", "h200", "h800", "h20", "gh200")),
    ("ada", ("l4", "rtx-4090")),
    ("blackwell", ("b200", "gb200", "b300", "gb300", "rtx-pro")),
    ("cdna2", ("mi2",)),
    ("cdna", ("mi3",)),
    ("trainium1", ("trainium1", "inferentia2")),
    ("tpu6", ("tpu-v6",)),
    ("tpu7", ("tpu-v7",)),
    ("tpu", ("tpu",)),
    ("gaudi", ("gaudi",)),
)
"""Family and the prefixes of its chips' names: chips that share a core design and a compiler generation."""


PRIORS = {
    "prior-neuron": ("trainium", "inferentia"),
    "prior-tpu": ("tpu",),
    "prior-cuda": (
        "a100", "a800", "a40", "a10", "l4", "rtx", "h100", "b200", "h200", "h800", "h20", "gh200", "gb200", "gb300",
        "b300", "p100", "v100", "rubin",
    ),
    "prior-rocm": ("mi",),
    "prior-gaudi": ("gaudi",),
    "prior-guess": ("maia", "mtia"),
}  # fmt: skip
"""Prior of a vendor and the prefixes of its chips' names."""


def family(chip_name: str) -> str:
    """Family of a chip, that of its base for a user's own; a chip of no family is its own."""
    named = base_name(chip_name)
    return next((f for f, prefixes in FAMILIES if named.startswith(prefixes)), named)


@dataclasses.dataclass(frozen=True)
class Kin:
    """Groups of a chip and a stack: family, vendor, software."""

    chip: str
    family: str
    """Core design and compiler generation."""
    vendor: str
    """Named prior of the vendor."""
    stack: str

    @property
    def units(self) -> tuple[str, ...]:
        """Name of the unit at each of `LEVELS`."""
        software = "compiled" if self.vendor in COMPILED else "hosted"
        named = (software, self.vendor, self.family, self.stack, self.chip, f"{self.family} {self.stack}")
        return tuple(f"{level}:{unit}" for level, unit in zip(LEVELS, named, strict=True))


@cache
def effects() -> dict[str, Any]:
    """The shipped effects by pool, and clocks under `CLOCK`."""
    return json.loads(EFFECTS.read_text(encoding="utf-8"))


Pool = dict[str, Any]
"""Effects of a pool: units, deviation, measured and bands, as `effects.json` holds them."""


NOVELTIES = ("pair", "stack", "family", "vendor")
"""What no measurement covers of a chip and stack: nothing, the stack on its family, the family, the vendor."""


def novelty_of(kin: Kin, seen: Iterable[str]) -> str:
    """The one of `NOVELTIES` for a chip and stack, if the units `seen` were measured."""
    # from the nearest kin to the furthest: the first that was measured tells how much is new
    known = set(seen)
    # three units and four answers: the last is left for a vendor of which nothing was measured
    for unit, novelty in zip((kin.units[5], kin.units[2], kin.units[1]), NOVELTIES, strict=False):
        if unit in known:
            return novelty
    return NOVELTIES[-1]


def band(kind: str, kin: Kin) -> tuple[str, float]:
    """Novelty of a chip and stack (one of `NOVELTIES`), and half width in log time of the 80 % band of a prediction.

    `kind` is "training", "inference", "kernels" or "collectives".
    """
    pool = ALONE if kind in ("kernels", "collectives") else STEPS
    novelty = novelty_of(kin, (u for u, x in effects()[pool]["units"].items() if x["measurements"] >= FEW))
    return novelty, effects()[pool]["bands"][kind][novelty]


FEW = 5
"""With fewer measurements a pair or family does not narrow a band: two rows of one model say little of another."""


def shift(pool: Pool, kin: Kin) -> list[float]:
    """Sum of the effects of a chip and stack, in prior deviations."""
    known = pool["units"]
    return [math.fsum(known[k]["shift"][i] for k in kin.units if k in known) for i in range(len(NUMBERS))]


def values(pool: Pool, kin: Kin, prior: Receipts) -> dict[str, float]:
    """The numbers of the pooled calibration."""
    # in units of the prior's range: an effect then means as much for a latency as for a fraction
    (x0, s), u = centre_and_deviation(prior), shift(pool, kin)
    x = [a + b * c for a, b, c in zip(x0, s, u, strict=True)]
    # their own effects say only how they differ from other matrix work on this stack
    for i, part in zip(FOLLOW, following(x0), strict=True):
        x[i] += float(part) * s[LEAD] * u[LEAD]
    found = {n: number_at(n, x[i]) for i, n in enumerate(NUMBERS)}
    return {**found, "overlap_p": power_of_two(found["overlap_p"])}


def power_of_two(x: float) -> float:
    """The nearest power of two, from 2 to 16: exponents of other kinds are several times slower to evaluate."""
    return float(2 ** min(max(round(math.log2(max(x, 1.0))), 1), 4))


def deviations(pool: Pool, kin: Kin) -> list[float]:
    """Posterior standard deviation of each number's coordinate, in prior standard deviations."""
    # a unit that no fit saw has the effect 0 and the spread of any new one
    spread, known = pool["deviation"], pool["units"]
    family = kin.family if kin.units[2] in known else "new"
    stack = kin.stack if kin.units[3] in known else "new"
    vendor = kin.vendor if kin.units[1] in known else "new"
    # the fit keeps deviations of combinations that occur; any other knows no more than one of a new vendor
    return spread.get(f"{vendor} {family} {stack}") or spread[f"new new {stack}"]


def rests_on(pool: Pool, kin: Kin) -> str:
    """How much was measured of a chip and stack, in words."""
    known = pool["units"].get(kin.units[5])
    if known is None:
        return "nothing of this pair was measured; its kin were"
    # rows of one model or one source agree by more than chance: their number alone would promise too much
    n = {k: known[k] for k in ("measurements", "models", "sources")}
    return ", ".join(f"{v} {k if v != 1 else k[:-1]}" for k, v in n.items())


def receipts(pool: Pool, kin: Kin, prior: Receipts) -> Receipts:
    """Value, range of two standard deviations and basis of every number of the pooled calibration."""
    (_, s), found, sd = centre_and_deviation(prior), values(pool, kin, prior), deviations(pool, kin)
    facts = dict(prior)
    for i, n in enumerate(NUMBERS):
        low, high = _around(n, found[n], 2 * sd[i] * s[i])
        said = f"dse calibrate: {rests_on(pool, kin)}"
        kind = "measured" if sd[i] < DETERMINED and kin.units[5] in pool["units"] else "estimate"
        # a fraction near 1 has no coordinate of its own: the range around the nearest one may miss it
        facts[n] = Sourced(n, found[n], min(low, found[n]), max(high, found[n]), kind, "dse2026", said)
    return facts


DETERMINED = 0.5
"""Measurements, rather than the prior, set a number if they at least halve its deviation."""


def _around(name: str, value: float, half: float) -> tuple[float, float]:
    if name == "overlap_p":
        # the exponent serves as a power of two: its neighbours are the next values it can take
        return power_of_two(value / 2), power_of_two(value * 2)
    x = to_free(name, value)
    return number_at(name, x - half), number_at(name, x + half)
