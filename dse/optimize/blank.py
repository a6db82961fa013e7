"""Blank silicon of a design: die area beyond its blocks, needed by limits on heat flux or on least area."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import compiled
from ..core.types import FloatLike, Vector, unnamed
from ..hardware.chip import Chip
from ..physics.area import total_area_mm2
from ..study.convex import ConvexCore, Data, named_numbers
from ..study.design import with_free
from ..study.metrics import HEAT, METRICS, ON_A_DIE, State, chip_state
from ..study.study import Study
from ..technology.presets import Technology

SPREADS = 40
"""Rounds in which a die grows: wires across it burn a little, so that each leaves a part of the last, at most half."""
ROOM = 1e-9
"""Added beyond what is needed, so that rounding breaks no limit."""
Forms: TypeAlias = Sequence[tuple[str, str]]
"""Metric and sense of limits, in the order of their values."""


def study_blank_mm2(study: Study, chip: Chip, tech: Technology) -> float:
    """Blank silicon of a die of `chip` under the limits of a study; see `blank_mm2` [mm2]."""
    forms = tuple((x.metric, x.sense) for x in study.limits)
    return float(_compiled(forms, np.asarray([x.value for x in study.limits], dtype=float), *unnamed((chip, tech))))


def blank_mm2(forms: Forms, values: Vector, chip: Chip, tech: Technology) -> FloatLike:
    """Least blank silicon of a die, or 0, that meets limits on watts by area and on least areas; traced."""
    # blank silicon that it has already would be counted twice
    s = chip_state(dataclasses.replace(chip, blank_mm2=0.0), tech)
    die = spread_mm2(forms, values, s)
    # all that the blocks leave, white space that the edge asks for included: a chip's blank is measured from its blocks
    spare = jnp.maximum(die - total_area_mm2(s.area) / chip.n_dies, 0.0)
    return jnp.where(die > s.die_mm2, spare, 0.0)


def spread_mm2(forms: Forms, values: Vector, s: State) -> FloatLike:
    """The die of a state, or one as much larger as its limits on watts by area, and on area at least, ask [mm2]."""
    # heat falls with area, areas grow with it: of both, the side that more silicon helps
    asks_area = [m in ON_A_DIE and (sense == "at_most") == (m == HEAT) for m, sense in forms]
    held = [(m, jnp.asarray(values)[i]) for i, (m, _) in enumerate(forms) if asks_area[i]]
    if not held:
        return s.die_mm2

    def over(die: FloatLike) -> FloatLike:
        wider = dataclasses.replace(s, die_mm2=die)
        each = [(m, jnp.asarray(METRICS[m](wider)), v) for m, v in held]
        return jnp.max(jnp.stack([x / v if m == HEAT else v / x for m, x, v in each]))

    # W / A must come down to v: A' = A (W / v A). A larger die burns a little more in wires, so that it is done again
    def grown(_: FloatLike, die: Array) -> Array:
        return die * jnp.maximum(over(die), 1.0)

    first = jnp.asarray(s.die_mm2)
    die = jax.lax.fori_loop(0, SPREADS, grown, first)
    return jnp.where(die > first, die * (1.0 + ROOM), first)


@compiled
def _compiled(forms: Forms, values: Vector, chip: Chip, tech: Technology) -> FloatLike:
    return blank_mm2(forms, values, chip, tech)


@partial(jax.jit, static_argnums=0)
def blanks_mm2(core: ConvexCore, z: FloatLike, data: Data) -> FloatLike:
    """`blank_mm2` of designs at log coordinates `z`, shape (designs, n), and their coefficients [mm2]."""

    def of_one(at: FloatLike, one: Data) -> FloatLike:
        x = named_numbers(core, at)
        return blank_mm2(core.limits, one.limits, with_free(one.chip, {n: x[n] for n in core.free}), one.tech)

    return jax.vmap(of_one)(jnp.asarray(z), data)
