"""Pooled fits of all shipped measurements, the calibrations from them, and the data file that stores them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..physics.calibration import Calibration, calibration_receipts, chip_and_stack, fit_name, kin_of
from ..physics.coordinates import FOLLOW, LEAD, NUMBERS, centre_and_deviation, following, from_free, number_at
from ..physics.pooled import ALONE, DETERMINED, LEVELS, STEPS, Kin, deviations, power_of_two, values
from .batch import calibration_of
from .cases import Case, training_cases
from .design import EXPONENT, Block, Design, block, coordinates, prior_facts
from .inference import inference_cases
from .kernels import collective_cases, kernel_cases
from .measurements import complete, read
from .pooled import N, Pooled, Posterior

KINDS = {STEPS: ("training", "inference"), ALONE: ("kernels", "collectives")}
"""Kinds of measurement that share effects, by pool; what is timed alone informs whole steps through priors only."""

SCORERS = {
    "training": training_cases,
    "inference": inference_cases,
    "kernels": kernel_cases,
    "collectives": collective_cases,
}
"""Kind of measurement to what makes cases of its rows."""

DIGITS = 4
"""Decimals of an effect in the file: a ten-thousandth of a prior's range."""

Tell = Callable[[str], None]


def pool_of(kind: str) -> str:
    """Name of the pool that a kind of measurement belongs to."""
    return next(pool for pool, kinds in KINDS.items() if kind in kinds)


def pool_design(pool: str, own: dict[str, Sequence[Case]] | None = None) -> Design:
    """Rows of all kinds of a pool: `own` cases by kind, and the shipped ones of the kinds that it lacks."""
    found = {k: (own or {}).get(k) or SCORERS[k](complete(read(k)))[0] for k in KINDS[pool]}
    return Design(tuple(block(cases, k) for k, cases in found.items() if cases), LEVELS)


@dataclasses.dataclass(frozen=True)
class Refit:
    """The fit of a pool: its rows, and its effects before and after the exponents became powers of two."""

    free: Pooled
    """Rows with exponents that move."""
    first: Posterior
    pooled: Pooled
    """Rows with the exponents that serve."""
    second: Posterior

    @property
    def shifts(self) -> np.ndarray:
        """Effects that ship, of shape (units, numbers): those of the exponent from the first fit."""
        z = self.second.effects(self.pooled.n_units).copy()
        # held in the second fit, its effects there are the prior's zeros
        z[:, EXPONENT] = self.first.effects(self.free.n_units)[:, EXPONENT]
        return z


def refit_pool(pool: str, tell: Tell) -> Refit:
    """Both fits of a pool."""
    # twice: an exponent serves as a power of two, and the other numbers must fit beside what serves
    free = Pooled(pool_design(pool))
    tell(f"{pool}: {len(free.design.frame):,} measurements")
    first = free.fit()
    names = free.design.units[1]
    z = first.effects(free.n_units)
    blocks = tuple(_settled(b, names, z) for b in free.design.blocks)
    pooled = Pooled(Design(blocks, LEVELS))
    second = pooled.fit(start=first)
    tell(f"{pool}: {first.iterations} and {second.iterations} steps")
    return Refit(free, first, pooled, second)


def _settled(b: Block, names: list[str], z: np.ndarray) -> Block:
    """Rows of a block with the powers of two nearest to their exponents."""
    at = {n: i for i, n in enumerate(names)}
    # power of two in the sum of all effects: that is the exponent with which a chip is served
    u = np.asarray([sum(z[at[k], EXPONENT] for k in kin.units) for kin in b.kin])
    x = b.centre[:, EXPONENT] + b.deviation[:, EXPONENT] * u
    return b.at_exponents(np.asarray([power_of_two(number_at(NUMBERS[EXPONENT], v)) for v in x]))


def calibration_from(z: np.ndarray, names: Sequence[str], kin: Kin, name: str) -> Calibration:
    """The calibration of a chip and stack at effects `z` of units `names`, its exponent as it comes."""
    centre, deviation = centre_and_deviation(prior_facts(kin.chip))
    u = sum((z[list(names).index(k)] for k in kin.units if k in names), np.zeros(N))
    x = coordinates(jnp.asarray(u), jnp.asarray(centre), jnp.asarray(deviation))
    found = {n: float(from_free(n, x[i])) for i, n in enumerate(NUMBERS)}
    # in no array of `NUMBERS`, since no measurement tells it from the traffic that it causes: the prior's stays
    found["tile_memory_frac"] = float(prior_facts(kin.chip)["tile_memory_frac"].value)
    return dataclasses.replace(calibration_of(found), name=name)


def deviation_table(r: Refit) -> dict[str, list[float]]:
    """Deviations of the numbers of every vendor, family and stack, and of new ones, in prior deviations."""
    design, names = r.pooled.design, r.pooled.design.units[1]
    # Laplace: at the optimum the Gauss-Newton matrix is the inverse covariance
    covariance = np.linalg.inv(r.second.precision)
    # one chip stands for its family, as `physics.pooled.deviations` asks by family
    chips = {k.family: k.chip for k in design.kin}
    known = sorted({(k.vendor, k.family) for k in design.kin})
    places = [*known, *((v, "new") for v in sorted({v for v, _ in known})), ("new", "new")]
    table = {}
    for vendor, family in places:
        for stack in [*sorted({k.stack for k in design.kin}), "new"]:
            kin = Kin(chips.get(family, "new"), family, vendor, stack)
            found = _deviations(kin, names, covariance, r.pooled.settings.spread)
            table[f"{vendor} {family} {stack}"] = _rounded(found)
    return table


UNKNOWN = "prior-guess"
"""Prior of a vendor that no row has."""


def _deviations(kin: Kin, names: list[str], covariance: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Deviation of each number's sum of effects; narrow products and attention carry that of matrix products too."""
    at = [names.index(u) * N for u in kin.units if u in names]
    # units that no row has keep their prior: independent of all that was fitted, so variances add
    new = sum((k**2 for u, k in zip(kin.units, spread, strict=True) if u not in names), np.zeros(N))
    sums = np.zeros((N, N))
    for i in at:
        for j in at:
            sums += covariance[i : i + N, j : j + N]
    sums += np.diag(new)
    variance = np.diagonal(sums).copy()
    # a new vendor has no prior yet: it is looked at in the units of the one that knows least
    prior = calibration_receipts(kin.vendor if kin.vendor != "new" else UNKNOWN)
    centre, s = centre_and_deviation({r.name: r for r in prior})
    # narrow products move with matrix products as a whole: Var(a + w b), each in deviations of its own
    for i, part in zip(FOLLOW, following(centre), strict=True):
        w = float(part) * s[LEAD] / s[i]
        variance[i] += w**2 * sums[LEAD, LEAD] + 2 * w * sums[LEAD, i]
    return np.sqrt(np.maximum(variance, 0.0))


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), DIGITS) for v in values]


def pool_json(r: Refit) -> dict[str, Any]:
    """What ships of a pool: effects with how much each rests on, deviations, and the pairs that were measured."""
    f = r.pooled.design.frame[r.pooled.learnt]
    index, names = r.pooled.design.units
    units = {}
    for i, name in enumerate(names):
        rows: Any = f[(index[r.pooled.learnt] == i).any(axis=1)]
        n = {"measurements": len(rows), "models": rows.alike.nunique(), "sources": rows.source.nunique()}
        units[name] = {"shift": _rounded(r.shifts[i]), **n}
    pairs = sorted({(str(c), str(s)) for c, s in zip(f.chip, f["stack"], strict=True)})
    return {"units": units, "deviation": deviation_table(r), "measured": pairs}


def effects_text(found: dict[str, Any]) -> str:
    """The data file of `refit`, a unit a line."""
    lines = []
    for pool, parts in found.items():
        inner = []
        for part, table in parts.items():
            rows = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in table.items()] if isinstance(table, dict) else []
            body = "{\n" + ",\n".join(rows) + "\n }" if rows else json.dumps(table)
            inner.append(f" {json.dumps(part)}: {body}")
        lines.append(f"{json.dumps(pool)}: {{\n" + ",\n".join(inner) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def fits_of(found: dict[str, Any]) -> dict[str, Fit]:
    """The fits of all chips and stacks that were measured, from effects as `refit` makes or the file holds them."""
    pairs = [(found[pool], kin_of(chip, stack)) for pool in KINDS for chip, stack in found[pool]["measured"]]
    return dict(sorted((fit_name(kin.chip, kin.stack), _fit_of(parts, kin)) for parts, kin in pairs))


def _fit_of(parts: dict[str, Any], kin: Kin) -> Fit:
    unit, prior = parts["units"][kin.units[-1]], prior_facts(kin.chip)
    _, s = centre_and_deviation(prior)
    spread = {n: d * s[i] for i, (n, d) in enumerate(zip(NUMBERS, deviations(parts, kin), strict=True))}
    c = dataclasses.replace(calibration_of(values(parts, kin, prior)), name=fit_name(kin.chip, kin.stack))
    counts = (unit["measurements"], unit["models"], unit["sources"])
    return Fit(c, spread, dict(zip(NUMBERS, s, strict=True)), *counts)


def numbers(f: Fit) -> list[dict[str, Any]]:
    """The fitted numbers of a chip and stack: prior, fit, standard deviation and whether the data set it.

    `deviation` is in log or logit units, `of_prior_frac` that over the prior's, `deviation_in_unit` to first order.
    """
    chip, _ = chip_and_stack(f.calibration.name)
    prior = prior_facts(chip)
    rows = []
    for name in NUMBERS:
        value = float(getattr(f.calibration, name))
        # of the number by its coordinate: f (1 - f) of a logit, t of a log, p - 1 of the log of an excess over 1
        slope = value * (1 - value) if name.endswith("_frac") else value - (name == "overlap_p")
        rows.append(
            {
                "name": name,
                "prior": float(prior[name].value),
                "fit": value,
                "deviation": f.deviation[name],
                "prior_deviation": f.prior_deviation[name],
                "of_prior_frac": f.deviation[name] / f.prior_deviation[name],
                "deviation_in_unit": slope * f.deviation[name],
                "determined": bool(f.determined(name)),
            }
        )
    return rows


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted calibration and how much the data say about each number."""

    calibration: Calibration
    deviation: dict[str, float]
    """One standard deviation of each number in log or logit units, from the curvature of the fit."""
    prior_deviation: dict[str, float]
    """The same before any data; a number whose two deviations agree is not determined by the measurements."""
    n_measurements: int
    n_models: int
    n_sources: int

    def determined(self, name: str) -> bool:
        """Whether the measurements, rather than the prior, set a number: they at least halve its deviation."""
        return self.deviation.get(name, np.inf) < DETERMINED * self.prior_deviation.get(name, 0.0)
