"""Measurements as rows of one large fit: groups of each row, its log time and its derivatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array

from ..core.provenance import Receipts
from ..hardware.chip import Chip
from ..hardware.presets import base_name
from ..lowering.step_demand import StepDemand
from ..physics.calibration import calibration_receipts, kin_of, prior_name
from ..physics.coordinates import FOLLOW, LEAD, NUMBERS, centre_and_deviation, following, from_free, to_free
from ..physics.pooled import Kin
from ..physics.step import Request, request_s, step_time
from ..physics.throttle import at_clock
from .batch import batch, calibration_of
from .cases import Case
from .throttle import clocks_frac


def coordinates(u: Array, centre: Array, deviation: Array) -> Array:
    """Coordinates `centre + deviation u`, shape (numbers,); narrow products and attention move with matrix products."""
    # so that what makes matrix products slow makes their narrow kin slow too, unless these were measured otherwise
    x = centre + deviation * u
    return x.at[jnp.asarray(FOLLOW)].add(jnp.stack(following(centre)) * deviation[LEAD] * u[LEAD])


def _log_time(u: Array, centre: Array, deviation: Array, d: StepDemand | Request, chip: Chip) -> Array:
    """Log of the time of one row at `u` prior deviations from its prior."""
    x = coordinates(u, centre, deviation)
    c = calibration_of({n: from_free(n, x[i]) for i, n in enumerate(NUMBERS)})
    # errors are ratios, so log time: its slopes are elasticities, of order one whatever the unit
    return jnp.log(jnp.asarray(request_s(d, chip, c) if isinstance(d, Request) else step_time(d, chip, c).total_s))


@jax.jit
def _value_and_slope(u: Array, centre: Array, deviation: Array, demands, chips) -> tuple[Array, Array]:
    def one(*row):
        return _log_time(*row), jax.jacfwd(_log_time)(*row)

    return jax.vmap(one)(u, centre, deviation, demands, chips)


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows of one kind, all alike in shape."""

    frame: pd.DataFrame
    """A row per measurement: point_id, source, chip, stack, alike, cell, calibrates, counts, kind, measured log_s."""
    kin: list[Kin]
    """What each row has in common with others."""
    centre: np.ndarray
    """Coordinates of each row's prior, shape (rows, numbers)."""
    deviation: np.ndarray
    stacked: tuple[StepDemand | Request, Chip]

    def evaluate(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log times and their slopes at prior deviations `u` of shape (rows, numbers)."""
        arrays = (jnp.asarray(a) for a in (u, self.centre, self.deviation))
        value, slope = _value_and_slope(*arrays, *self.stacked)
        return np.asarray(value), np.asarray(slope)

    def at_exponents(self, exponents: np.ndarray) -> Block:
        """The same rows with overlap exponents that stay put."""
        centre, deviation = self.centre.copy(), self.deviation.copy()
        centre[:, EXPONENT] = [to_free(NUMBERS[EXPONENT], p) for p in exponents]
        deviation[:, EXPONENT] = 0.0
        return dataclasses.replace(self, centre=centre, deviation=deviation)


EXPONENT = NUMBERS.index("overlap_p")


def block(cases: Sequence[Case], kind: str) -> Block:
    """Cases of a kind as rows."""
    priors = {c: centre_and_deviation(prior_facts(c)) for c in {c.chip_name for c in cases}}
    centre, deviation = (np.asarray([priors[c.chip_name][i] for c in cases]) for i in (0, 1))
    fields = ("point_id", "source", "stack", "alike", "calibrates", "counts")
    frame = pd.DataFrame({n: [getattr(c, n) for c in cases] for n in fields}).assign(
        chip=[c.chip_name for c in cases],
        # rows of one source about one thing err alike: they share an offset, and are not evidence row by row
        cell=[f"{kind} {getattr(c, 'metric', '')} {c.alike}" for c in cases],
        kind=kind,
        log_s=np.log([c.measured_s for c in cases]),
    )
    return Block(frame, [kin_of(c.chip_name, c.stack) for c in cases], centre, deviation, batch(cases))


def prior_facts(chip_name: str) -> Receipts:
    """Receipts of the named prior of a chip's vendor, at the clock that the chip's power limit allows."""
    prior = {r.name: r for r in calibration_receipts(prior_name(chip_name))}
    # computed, not read with the effects: a fit must not rest on the file that it writes
    return at_clock(prior, clocks_frac().get(base_name(chip_name), {}))


@dataclasses.dataclass(frozen=True)
class Design:
    """Rows of all blocks and the columns of effects that they share."""

    blocks: tuple[Block, ...]
    levels: tuple[str, ...]
    """Names of the levels, for their spreads."""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All rows, block after block."""
        return pd.concat([b.frame for b in self.blocks], ignore_index=True)

    @cached_property
    def kin(self) -> list[Kin]:
        """Whose effects each row takes."""
        return [k for b in self.blocks for k in b.kin]

    @cached_property
    def units(self) -> tuple[np.ndarray, list[str]]:
        """Index of each row's units, shape (rows, levels), and the names of all units."""
        index, names = pd.factorize(np.asarray([k.units for k in self.kin]).ravel())
        return index.reshape(len(self.frame), -1), [str(n) for n in names]

    @cached_property
    def cells(self) -> list[np.ndarray]:
        """Rows that share all units and offsets, which add to the same entries of the normal matrix."""
        # few distinct columns: the normal matrix is summed per cell instead of per row
        key = self.frame.source + "|" + self.frame.chip + "|" + self.frame["stack"] + "|" + self.frame.cell
        return [g.to_numpy() for _, g in pd.Series(self.frame.index).groupby(key.to_numpy())]

    def evaluate(self, effects: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log times and slopes of all rows at `effects` of shape (units, numbers); zeros in blocks without `wanted`."""
        u, at = effects[self.units[0]].sum(axis=1), 0
        values, slopes = [], []
        for b in self.blocks:
            rows = slice(at, at := at + len(b.frame))  # a block without wanted rows is not run: it weighs nothing
            found = b.evaluate(u[rows]) if wanted[rows].any() else (np.zeros(len(b.frame)), np.zeros_like(u[rows]))
            values.append(found[0])
            slopes.append(found[1])
        return np.concatenate(values), np.concatenate(slopes)
