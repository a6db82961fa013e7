"""Die yield: clustered defects (negative binomial), harvesting of spare units, dies per wafer.

The convex core uses the negative binomial's reciprocal (`money.inverse_yield`); harvesting serves known dies.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import betainc

from ..core.types import FloatLike, Scalar, as_float


def good_frac(area_mm2: FloatLike, defects_per_mm2: FloatLike, clustering: FloatLike) -> FloatLike:
    """Share of dies (or of blocks) without a killer defect, where defects come in clusters.

        Y = (1 + A D / a)^-a
    with A the area, D the defects, a `clustering`: small for strong clusters; exp(-A D), independent ones, as it grows.
    Source: [stapper1983], a Gamma mixture of Poisson laws; [feng2022actuary] eq. 1 with a = 10.
    """
    # falls with the area: its reciprocal, not this, is the posynomial that costs are made of
    return (1.0 + area_mm2 * defects_per_mm2 / clustering) ** (-clustering)


def tail_frac(unit_frac: FloatLike, n_units: FloatLike, n_spare: FloatLike) -> FloatLike:
    """Share of dies on which at most `n_spare` of `n_units` are bad.

        P[Binomial(N, 1 - y) <= s] = I_y(N - s, s + 1)
    with y the yield of one of N >= 1 units, 0 <= s < N, and I the regularised incomplete beta function, smooth in s.
    Source: identity of the binomial tail, [abramowitz1964] 26.5.24.
    Assumes: units fail independently; clustering makes good dies a little more common.
    """
    n, s, y = (jnp.asarray(x, dtype=float) for x in (n_units, n_spare, unit_frac))
    return betainc(n - s, s + 1.0, y)


class Harvest(eqx.Module):
    """Blocks of one die of which some may fail."""

    n_units: Scalar = eqx.field(converter=as_float)
    n_spare: Scalar = eqx.field(converter=as_float)
    """Blocks that the product can do without."""
    area_share_frac: Scalar = eqx.field(converter=as_float)
    """Area of all of them over the die's."""


def harvested_frac(
    clustering: FloatLike, die_mm2: FloatLike, defects_per_mm2: FloatLike, groups: tuple[Harvest, ...]
) -> FloatLike:
    """Share of dies that can be sold when spare blocks may be bad; no `groups` gives the plain yield.

        Y = Y(A_fixed) prod_g P[at most s_g of N_g bad],  y_g = Y(A_g / N_g)
    Source: [feng2022actuary] eq. 1 for every block; spare blocks by the binomial tail.
    Assumes: the rest of the die has no redundancy; groups are independent.
    """
    # what has no spare: a defect there kills whatever else works
    fixed = 1.0 - sum((g.area_share_frac for g in groups), start=jnp.zeros(()))
    # groups and the rest fail independently: shares multiply
    good = good_frac(die_mm2 * fixed, defects_per_mm2, clustering)
    for g in groups:
        unit = good_frac(die_mm2 * g.area_share_frac / g.n_units, defects_per_mm2, clustering)
        good = good * tail_frac(unit, g.n_units, g.n_spare)
    return good


def n_dies_per_wafer(die_mm2: FloatLike, radius_mm: FloatLike, edge_mm: FloatLike, scribe_mm: FloatLike) -> FloatLike:
    """Whole dies on a round wafer, not rounded.

        n = pi (R - e)^2 / A' - pi (2R - 2e) / sqrt(2 A'),  A' = A + 2 s sqrt(A) + s^2
    with A the die, R the radius, e the unusable rim and s the saw street. Source: [feng2022actuary] section 3.1.
    Valid for: dies well below the wafer; a difference, so outside the convex core, which uses `money.die_cost_USD`.
    """
    site = die_mm2 + 2.0 * scribe_mm * jnp.sqrt(die_mm2) + jnp.square(scribe_mm)
    # the second term below takes off dies that the rim cuts: its length over the diagonal of a die
    usable = radius_mm - edge_mm
    return jnp.pi * jnp.square(usable) / site - jnp.pi * 2.0 * usable / jnp.sqrt(2.0 * site)
