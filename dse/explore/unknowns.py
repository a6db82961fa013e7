"""Unknowns of a study: every receipt with a range that its answer depends on, and correlated random draws of them.

A draw is a quantile (0 to 1) per unknown, shared by all chips, nodes, ... that have this fact.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from ..core.provenance import Sourced, load_receipts, number
from ..hardware.presets import chip_receipts
from ..lowering.headroom import headroom_receipts
from ..lowering.software import framework_receipts
from ..physics.calibration import calibration_receipts
from ..study.design import Choice
from ..study.study import Study, names_of_fits
from ..technology.presets import DIE_TO_DIE, Technology, receipts

CORRELATIONS = Path(__file__).parent / "data" / "correlations.toml"
CHAINED = ("node", "package")
"""Kinds whose things share one score per fact: their tables are chained from one base."""
LOWERED = ("rows", "cols", "macs_", "granule_", "tile_", "vendor_", "overlap_p")
"""Chip facts that operators are lowered with, by how their names begin: they stay at their values."""


@dataclasses.dataclass(frozen=True)
class Unknown:
    """One number that is drawn."""

    scope: str
    """Owner of the fact, such as "node", "memory HBM4" or "calibration prior-neuron"."""
    fact: str
    group: str = ""
    """Group of `correlations.toml` whose common factor it follows, or ""."""

    @property
    def name(self) -> str:
        """Label in tables."""
        return f"{self.scope}: {self.fact}"


@dataclasses.dataclass(frozen=True)
class Draw:
    """Scores of all unknowns, `n` times."""

    unknowns: tuple[Unknown, ...]
    scores: Float[np.ndarray, "n k"]
    """Position of each number within its receipt's range, as a probability."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.scores.shape[0]

    def values(self, scope: str, fact: Sourced) -> np.ndarray | None:
        """Drawn values of a fact, shape (n,); None if it is not drawn."""
        place = {(u.scope, u.fact): i for i, u in enumerate(self.unknowns)}.get((scope, fact.name))
        return None if place is None else at_score(fact, self.scores[:, place])

    def rows(self, keep: np.ndarray) -> Draw:
        """The draws in `keep`, indices or a mask."""
        return Draw(self.unknowns, self.scores[keep])


def at_score(fact: Sourced, score: np.ndarray) -> np.ndarray:
    """Quantile of a receipt: triangular from low over the likeliest value to high, on a log axis where low is positive.

    F(x) = (x - a)^2 / ((b - a)(c - a)) up to the value c, 1 - (b - x)^2 / ((b - a)(b - c)) above
    """
    logs = fact.low > 0
    low, value, high = (np.log(x) if logs else x for x in (fact.low, float(fact.value), fact.high))
    width = high - low
    middle = (value - low) / width if width else 0.0  # a number without a range is always itself
    # the two branches of F solved for x
    rising = low + np.sqrt(score * width * (value - low))
    falling = high - np.sqrt((1.0 - score) * width * (high - value))
    drawn = np.where(score < middle, rising, falling)
    return np.exp(drawn) if logs else drawn


def scope_of(kind: str, name: str) -> str:
    """Scope whose quantile a fact follows."""
    return kind if kind in CHAINED else f"{kind} {name}"


def decided(choice: Choice, tech: Technology) -> tuple[str, ...]:
    """Facts of its technology that a choice itself decides: a stack as sold, dies that are sold whole, a known die."""
    is_so = {
        "stack_capacity_B": choice.stack_capacity_B > 0,
        "critical_area_frac": choice.spare_cores == 0,
        "reticle_mm2": choice.reticle_mm2 >= float(tech.package.reticle_mm2),
    }
    return tuple(fact for fact, decides in is_so.items() if decides)


def study_facts(study: Study) -> Iterable[tuple[str, Sourced]]:
    """Every receipt that a study's model reads as a number, with its scope; texts and unused facts too."""
    chip = study.baseline.chip
    used = [
        ("node", {chip.node, *(c.node for c in study.choices)}),
        ("memory", {chip.hbm, *(c.hbm for c in study.choices)}),
        ("link", {chip.link, DIE_TO_DIE, *(c.link for c in study.choices)}),
        ("package", {study.package}),
    ]
    for kind, names in used:
        for name in sorted(names):
            yield from ((scope_of(kind, name), f) for f in receipts(kind, name))
    yield from ((f"chip {chip.name}", f) for f in chip_receipts(chip.name) if not f.name.startswith(LOWERED))
    for name in names_of_fits(study):
        yield from ((f"calibration {name}", f) for f in calibration_receipts(name))
    # blocks of a cache are lowered
    yield from (("headroom", f) for f in headroom_receipts() if f.name in ("usable_frac", "prefetch_frac"))
    if not all(map(measures_host, names_of_fits(study))):
        yield from (("framework", f) for f in framework_receipts() if f.name == STARTED)  # others are lowered


STARTED = "n_kernels_per_operator"
"""Fact: kernels launched by the host per operator, which affects times only and needs no new lowering."""


def measures_host(calibration: str) -> bool:
    """Whether measurements set a calibration's host time, which then holds the kernels it starts already."""
    return next(f for f in calibration_receipts(calibration) if f.name == "host_s").kind == "measured"


def unknowns(study: Study) -> tuple[Unknown, ...]:
    """Every fact of the study with a range, once per scope, in a fixed order."""
    # sorted below: the order of a set would change the draws from run to run
    drawn = {(s, f.name) for s, f in study_facts(study) if not isinstance(f.value, str) and f.low < f.high}
    groups = {fact: group for group, (facts, _) in correlations().items() for fact in facts}
    return tuple(Unknown(scope, fact, groups.get(fact, "")) for scope, fact in sorted(drawn))


@cache
def correlations() -> dict[str, tuple[tuple[str, ...], float]]:
    """Facts and correlation of every group."""
    raw = tomllib.loads(CORRELATIONS.read_text(encoding="utf-8"))
    things = load_receipts(CORRELATIONS)
    return {group: (tuple(raw[group]["facts"]), number(facts, "correlation")) for group, facts in things.items()}


def hypercube_frac(rng: np.random.Generator, n: int, k: int) -> Float[np.ndarray, "n k"]:
    """A Latin hypercube of `n` draws of `k` probabilities: each visits every n-th of its range once [mckay1979]."""
    return (rng.permuted(np.tile(np.arange(n)[:, None], (1, k)), axis=0) + rng.random((n, k))) / n


def draw(what: tuple[Unknown, ...], n: int, seed: int) -> Draw:
    """`n` draws of all unknowns by a Latin hypercube, with the correlations of `correlations.toml`.

        score = Phi(sqrt(r) g + sqrt(1 - r) e)
    with g the common factor of the unknown's group, e its own, both normal, and r the group's correlation.
    """
    rng = np.random.default_rng(seed)
    groups = list(correlations())
    # groups first: a new unknown then leaves their ranks as they were
    factors = ndtri(hypercube_frac(rng, n, len(groups) + len(what)))
    scores = np.empty((n, len(what)))
    for i, u in enumerate(what):
        # variances r and 1 - r add up to 1, so that scores stay uniform whatever the correlation
        r = correlations()[u.group][1] if u.group else 0.0
        common = factors[:, groups.index(u.group)] if u.group else 0.0
        scores[:, i] = ndtr(np.sqrt(r) * common + np.sqrt(1.0 - r) * factors[:, len(groups) + i])
    return Draw(what, scores)
