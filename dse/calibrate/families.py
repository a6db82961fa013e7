"""Fits for every pair of chip family and software stack, leave-one-out, and the data file that ships them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ..core.errors import DseError, SpecError
from ..physics.calibration import (
    FAMILIES,
    KERNELS,
    SERVING,
    Calibration,
    calibration_receipts,
    family,
    prior_calibration,
    serving_name,
)
from .cases import Case, training_cases
from .fit import ALONE, EXPONENTS, FITTED, SERVED, Fit, fit
from .inference import inference_cases
from .kernels import collective_cases, kernel_cases
from .measurements import complete, read


def fit_all(cases: Sequence[Case], progress: Callable[[str], None] = lambda _: None) -> dict[tuple[str, str], Fit]:
    """One fit for every pair of family and stack that has measurements, with the best of the overlap exponents.

    Where several chips of a family serve, each has its own numbers as well, which start from the family's: hosts and
    wiring differ, and a request feels both. Their stack carries the chip's name.
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for c in (c for c in cases if c.calibrates):
        groups.setdefault((family(c.chip_name), c.stack), []).append(c)
    fits = {}
    for (chips, stack), mine in sorted(groups.items()):
        prior = prior_calibration(mine[0].chip_name)
        fits[(chips, stack)] = best = _best(mine, prior, prior, stack)
        progress(f"{best.calibration.name}: {len(mine)} measurements, loss {best.loss:.4f}")
        several = sorted({c.chip_name for c in mine})
        for chip in several if stack in SERVING and len(several) > 1 else []:
            alone = [c for c in mine if c.chip_name == chip]
            fits[(chips, f"{stack}-{chip}")] = _best(alone, best.calibration, prior, f"{stack}-{chip}")
    return fits


def _best(cases: Sequence[Case], start: Calibration, prior: Calibration, name: str) -> Fit:
    """The fit from `start` with the best overlap exponent; ranges are those of the named prior."""
    receipts = {r.name: r for r in calibration_receipts(prior.name)}
    stack = cases[0].stack
    names = ALONE if stack == KERNELS else SERVED if stack in SERVING else FITTED
    full = f"fit-{family(cases[0].chip_name)}-{name}"
    tried = [fit(cases, dataclasses.replace(start, overlap_p=p), receipts, full, names) for p in EXPONENTS]
    return min(tried, key=lambda f: f.loss)


def serve(fits: dict[tuple[str, str], Fit], chip_name: str, stack: str) -> Calibration:
    """The calibration that serves a chip and stack among `fits`, or the prior of the chip."""
    by_name = {f.calibration.name: f.calibration for f in fits.values()}
    name = serving_name(set(by_name), chip_name, stack)
    return by_name[name] if name else prior_calibration(chip_name)


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
        kept = {pair: f for pair, f in full.items() if (pair[0], pair[1].split("-")[0]) not in touched}
        fits = kept | fit_all(rest)
        progress(f"without {source}: {len(held)} points predicted")
        for c in held:
            serving[c.point_id] = serve(fits, c.chip_name, c.stack)
    return serving


def refit(progress: Callable[[str], None] = lambda _: None) -> dict[str, Fit]:
    """Fits of all families and stacks to the shipped measurements: steps, requests, operators and collectives alone.

    Raises:
        SpecError: nothing to fit.
    """
    steps, _ = training_cases(complete(read("training")))
    kernels, _ = kernel_cases(complete(read("kernels")))
    collectives, _ = collective_cases(complete(read("collectives")))
    requests, _ = inference_cases(complete(read("inference")))
    fits = fit_all([*steps, *requests, *kernels, *collectives], progress)
    if not fits:
        raise SpecError("dse calibrate: no measurement has a chip family with a prior")
    return {f.calibration.name: f for f in fits.values()}


def prior_of(fit_name: str) -> Calibration | None:
    """The prior that a fit, named `fit-FAMILY-STACK`, started from."""
    prefixes = next((p for f, p in FAMILIES if fit_name.startswith(f"fit-{f}-")), ())
    for prefix in prefixes:
        try:
            return prior_calibration(prefix)
        except DseError:
            continue
    return None


def numbers(f: Fit) -> list[dict[str, Any]]:
    """The fitted numbers of a family and stack: prior, fit, standard deviation and whether the data set it.

    `deviation` is in logarithms of times and logits of fractions; `deviation_in_unit` is that carried to the number's
    own unit, to first order. The overlap exponent is chosen among a few and has none.
    """
    prior = prior_of(f.calibration.name)
    rows = []
    for name in (*f.deviation, "overlap_p"):
        value = float(getattr(f.calibration, name))
        slope = value * (1 - value) if name.endswith("_frac") else value
        deviation = f.deviation.get(name)
        rows.append(
            {
                "name": name,
                "prior": None if prior is None else float(getattr(prior, name)),
                "fit": value,
                "deviation": deviation,
                "prior_deviation": f.prior_deviation.get(name),
                "deviation_in_unit": None if deviation is None else slope * deviation,
                "determined": bool(f.determined(name)),
            }
        )
    return rows


def fits_toml(fits: dict[str, Fit]) -> str:
    """The data file of `fits`: value, range of two standard deviations, and how many measurements each rests on."""
    lines = ["# Calibrations fitted by `dse calibrate` to the shipped measurements; do not edit by hand.", ""]
    for name, f in sorted(fits.items()):
        lines.append(f"[{name}]")
        for field in f.calibration.__dataclass_fields__:
            if field == "name":
                continue
            value = float(getattr(f.calibration, field))
            low, high = f.interval(field)
            said = f"{f.n_cases} measurements" if f.determined(field) else "prior, the measurements do not move it"
            kind = "measured" if f.determined(field) else "estimate"
            lines.append(
                f"{field} = {{ value = {value:.6g}, range = [{min(low, value):.6g}, {max(high, value):.6g}], "
                f'kind = "{kind}", source = "dse2026", where = "dse calibrate: {said}" }}'
            )
        lines.append("")
    return "\n".join(lines)
