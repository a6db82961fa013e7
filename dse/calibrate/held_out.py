"""Out-of-sample predictions (by source or chip generation left out), and error bands from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from ..core.errors import SpecError
from ..physics.calibration import Calibration
from ..physics.pooled import ALONE, CLOCK, NOVELTIES, STEPS, Kin, novelty_of
from .cases import Case
from .families import KINDS, Tell, calibration_from, pool_design, pool_json, pool_of, refit_pool
from .pooled import Pooled, Posterior
from .throttle import clocks_frac

COVERED = 0.8
"""Share of measurements that a band should hold."""

GENERATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("blackwell", ("b200", "gb200", "b300", "gb300")),
    ("cdna4", ("mi350x", "mi355x")),
    ("tpu v6 and later", ("tpu-v6e", "tpu-v7")),
    ("trainium2 and later", ("trainium2", "trainium3")),
)
"""Generations that are predicted from those before: name and chips."""


HOLDERS: dict[str, Callable[[pd.DataFrame], list[tuple[str, np.ndarray]]]] = {
    "source": lambda f: [(s, (f.source == s).to_numpy()) for s in sorted(set(f.source))],
    "generation": lambda f: [(g, f.chip.isin(chips).to_numpy()) for g, chips in GENERATIONS],
}
"""What can be left out: the name of each group, and its rows."""


def without(
    pooled: Pooled, held: str, tell: Tell, wanted: np.ndarray, start: Posterior | None = None
) -> Iterator[tuple[np.ndarray, Posterior, set[str]]]:
    """For each group left out that has `wanted` rows: those, the fit without the group, and the units that the fit saw.

    Fits start from the priors unless told: of several optima nearly as good, the one next to the fit of all rows knows
    those left out.
    """
    kins = pooled.design.kin
    for name, away in HOLDERS[held](pooled.design.frame):
        if (away & wanted).any():
            tell(f"without {name}: {int(away.sum())} measurements")
            seen = {u for i in np.flatnonzero(~away & pooled.learnt) for u in kins[i].units}
            yield away & wanted, pooled.fit(mask=~away, start=start), seen


def _errors(pooled: Pooled, left: np.ndarray, posterior: Posterior, seen: set[str]) -> pd.DataFrame:
    """Log of predicted over measured time of the rows in `left`, with how new chip and stack were to the fit."""
    f, kins = pooled.design.frame, pooled.design.kin
    t, _ = pooled.design.evaluate(posterior.effects(pooled.n_units), left)
    novelty = [novelty_of(kins[i], seen) for i in np.flatnonzero(left)]
    part = f.loc[left, ["point_id", "source", "chip", "kind", "counts"]]
    # where nothing is new, sources are what differs
    named = zip(np.flatnonzero(left), novelty, part.source, strict=True)
    new = [kins[i].units[NEW_UNIT[n]] if n in NEW_UNIT else source for i, n, source in named]
    return part.assign(error=(t - f.log_s.to_numpy())[left], novelty=novelty, new=new)


NEW_UNIT = {"stack": 5, "family": 2, "vendor": 1}
"""Which of the units of a chip and stack is new, by novelty, as `novelty_of` asks for them."""


SHRINK = {STEPS: 1.0, ALONE: 0.5}
"""How a source's weight in a band falls per row, by pool: n rows weigh as n^(1 - shrink_frac).

A source of steps is mostly one sweep of a model, so all weigh the same; operators weigh by their root, as in the fits.
"""


def half_width(errors: pd.DataFrame, shrink_frac: float = 1.0) -> float:
    """Half width in log time that held `COVERED` of left-out measurements.

    A row weighs n^-shrink_frac, with n the rows of its source: at 1 every source weighs the same.
    Source: [vovk2005] chapter 2 for quantiles of held-out errors as bands, without its correction for few examples,
    which asks for the largest error of all; `student_over_normal_frac` is in its place.
    """
    weight = errors.groupby("source").error.transform("size").to_numpy() ** -shrink_frac
    size = errors.error.abs().to_numpy()
    order = np.argsort(size)
    # the first error at which the weights so far reach the share: a quantile of rows that weigh unlike
    at = np.searchsorted(np.cumsum(weight[order]) / weight.sum(), COVERED - 1e-9)
    return float(size[order][min(at, len(size) - 1)])


def student_over_normal_frac(n_draws: int) -> float:
    """How much wider than the quantile of `n_draws` independent errors the band of the next one is.

        t_n / z,  quantiles of Student's distribution with n degrees of freedom and of the normal one
    whose two tails leave `COVERED` between them: n draws tell the spread of all only to 1 / sqrt(2 n), so that the next
    one, in units of the spread that they tell, has Student's law and not a normal one.
    Source: [student1908] for the law. Assumes: errors have no mean, else it would take a degree of freedom.
    """
    tail = (1.0 + COVERED) / 2.0
    return float(stdtrit(n_draws, tail) / ndtri(tail))


def bands_of(errors: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Half widths by kind and novelty, never narrower for what is newer; of all that is newer where few sources are.

    Draws are sources, or what was new to the fit where that is fewer: all rows of one new family have its error.
    """
    found: dict[str, dict[str, float]] = {}
    for kind, rows in errors[errors.counts].groupby("kind"):
        width, least = {}, 0.0
        for i, novelty in enumerate(NOVELTIES):
            mine: Any = rows[rows.novelty == novelty]
            if mine.source.nunique() < FEWEST:
                newer: Any = rows[rows.novelty.isin(NOVELTIES[i:])]
                mine = newer if newer.source.nunique() >= FEWEST else rows
            # what is newer is known less well, whatever few lucky sources of it say
            wider = student_over_normal_frac(min(mine.source.nunique(), mine.new.nunique()))
            least = max(least, wider * half_width(mine, SHRINK[pool_of(str(kind))]))
            width[novelty] = round(least, 4)
        found[str(kind)] = width
    return found


FEWEST = 3
"""Fewest sources from which a band is learnt."""


def pool_bands(pooled: Pooled, tell: Tell) -> dict[str, dict[str, float]]:
    """Bands of a pool, from leaving out each source and each generation."""
    every = np.ones(len(pooled.design.frame), bool)
    left = [_errors(pooled, *found) for held in HOLDERS for found in without(pooled, held, tell, every)]
    return bands_of(pd.concat(left, ignore_index=True))


def refit(tell: Tell = lambda _: None) -> dict[str, Any]:
    """What `effects.json` holds: clocks of chips under load, effects and bands of both pools, fitted to what ships."""
    found: dict[str, Any] = {CLOCK: clocks_frac()}
    for pool in KINDS:
        r = refit_pool(pool, tell)
        found[pool] = {**pool_json(r), "bands": pool_bands(r.free, tell)}
    return found


def served_without(
    kind: str, cases: Sequence[Case], held: str, tell: Tell
) -> tuple[dict[str, Calibration], dict[str, tuple[str, float]]]:
    """For every point left out, by "source" or "generation", the calibration fitted without its group, and its band.

    Bands, (novelty, half width in log time), come from errors of the other groups alone, so their coverage is honest.
    """
    if not cases:
        return {}, {}
    asked = pd.DataFrame({"source": [c.source for c in cases], "chip": [c.chip_name for c in cases]})
    if not any(away.any() for _, away in HOLDERS[held](asked)):
        raise SpecError(f"no measurement is of a {held} that can be left out; score them without")
    pooled = Pooled(pool_design(pool_of(kind), {kind: cases}))
    # without one source the optimum seldom is another, and a start next to it takes a third of the time
    start = pooled.fit() if held == "source" else None
    f, kins, names = pooled.design.frame, pooled.design.kin, pooled.design.units[1]
    served: dict[str, Calibration] = {}
    parts = []
    for left, posterior, seen in without(pooled, held, tell, (f.kind == kind).to_numpy(), start):
        z = posterior.effects(pooled.n_units)
        # a unit that only left-out rows have was moved by nothing but its prior: it must not be served
        shown = [n if n in seen else "" for n in names]
        made: dict[Kin, Calibration] = {}
        for i in np.flatnonzero(left):
            kin = kins[i]
            if kin not in made:
                made[kin] = calibration_from(z, shown, kin, f"without {held}: {kin.family}, {kin.stack}")
            served[f.point_id[i]] = made[kin]
        parts.append(_errors(pooled, left, posterior, seen))
    errors = pd.concat(parts, ignore_index=True)
    return served, _bands_of_others(errors, kind)


def _bands_of_others(errors: pd.DataFrame, kind: str) -> dict[str, tuple[str, float]]:
    """Novelty and half width of every point, learnt from the sources of other points."""
    found: dict[str, tuple[str, float]] = {}
    # where no row may count, a band of those that may not is wider than one of nothing
    errors = errors if errors.counts.any() else errors.assign(counts=True)
    for source, rows in errors.groupby("source"):
        others: Any = errors[errors.source != source]
        width = bands_of(others if others.counts.any() else errors)[kind]
        found |= {p: (n, width[n]) for p, n in zip(rows.point_id, rows.novelty, strict=True)}
    return found
