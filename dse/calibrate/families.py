"""Chip families, software stacks and which calibration serves which; fits for all of them, and leave-one-out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ..performance.calibration import Calibration, calibration_receipts, default_calibration
from .cases import Case
from .fit import EXPONENTS, Fit, fit

FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ampere", ("a100",)),
    ("hopper", ("h100", "h200", "h800", "h20", "gh200")),
    ("blackwell", ("b200", "gb200", "b300", "gb300")),
    ("cdna", ("mi",)),
    ("trainium1", ("trainium1", "inferentia2")),
    ("tpu", ("tpu",)),
    ("gaudi", ("gaudi",)),
)
"""Family and the prefixes of its chips' names: chips that share a core design and a compiler generation."""

USUAL = "megatron"
"""Stack whose fit serves a stack without measurements on the same family."""


def family(chip_name: str) -> str:
    """Family of a chip; a chip of no family is its own."""
    return next((f for f, prefixes in FAMILIES if chip_name.startswith(prefixes)), chip_name)


def fit_all(cases: Sequence[Case], progress: Callable[[str], None] = lambda _: None) -> dict[tuple[str, str], Fit]:
    """One fit for every pair of family and stack that has measurements, with the best of the overlap exponents."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for c in cases:
        groups.setdefault((family(c.chip_name), c.stack), []).append(c)
    fits = {}
    for (chips, stack), mine in sorted(groups.items()):
        prior = default_calibration(mine[0].chip_name)
        receipts = {r.name: r for r in calibration_receipts(prior.name)}
        tried = [
            fit(mine, dataclasses.replace(prior, overlap_p=p), receipts, f"fit-{chips}-{stack}") for p in EXPONENTS
        ]
        best = min(tried, key=lambda f: f.loss)
        fits[(chips, stack)] = best
        progress(f"{best.calibration.name}: {len(mine)} measurements, loss {best.loss:.4f}")
    return fits


def serve(fits: dict[tuple[str, str], Fit], chip_name: str, stack: str) -> Calibration:
    """The calibration for a chip and stack: its own fit, the family's usual stack, any stack of it, or the prior."""
    chips = family(chip_name)
    for pair in ((chips, stack), (chips, USUAL), *sorted(p for p in fits if p[0] == chips)):
        if pair in fits:
            return fits[pair].calibration
    return default_calibration(chip_name)


def leave_one_out(cases: Sequence[Case], progress: Callable[[str], None] = lambda _: None) -> dict[str, Calibration]:
    """For every point the calibration fitted without its source, by point_id.

    A source that alone measures its stack is predicted with the family's usual stack, and one that alone measures
    its family with the named prior: what a user of new measurements would face.
    """
    serving: dict[str, Calibration] = {}
    full = fit_all(cases, progress)
    for source in sorted({c.source for c in cases}):
        held = [c for c in cases if c.source == source]
        touched = {(family(c.chip_name), c.stack) for c in held}
        rest = [c for c in cases if c.source != source and (family(c.chip_name), c.stack) in touched]
        fits = {pair: f for pair, f in full.items() if pair not in touched} | fit_all(rest)
        progress(f"without {source}: {len(held)} points predicted")
        for c in held:
            serving[c.point_id] = serve(fits, c.chip_name, c.stack)
    return serving
