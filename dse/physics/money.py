"""Manufacturing cost of a package: dies with yield, HBM, interposer, bonding and test. Cost, not price."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..core.frames import AbstractShown
from ..core.types import FloatLike, where
from ..hardware.chip import Chip
from ..technology.package import Package
from ..technology.presets import Technology
from .area import interposer_mm2


class Money(AbstractShown, eqx.Module):
    """Manufacturing cost of one package by part [USD]."""

    dies_USD: FloatLike
    hbm_USD: FloatLike
    package_USD: FloatLike
    """Interposer and substrate."""
    test_USD: FloatLike
    loss_USD: FloatLike
    """Parts scrapped by failed bonds."""


def inverse_yield(die_mm2: FloatLike, tech: Technology) -> FloatLike:
    """Dies started per good die (reciprocal yield), at least 1.

        1/Y = (1 + A c D0 / a)^a
    with A `die_mm2`, D0 the defect density, a the clustering and c the share of the die in which a defect kills.
    Source: [feng2022actuary] eq. 1 (negative binomial), with harvesting of spare cores folded into c.
    """
    a = tech.package.yield_clustering
    # the reciprocal is a posynomial of the area and keeps cost convex; 1 - Y or a sum over defects would not
    return (1.0 + die_mm2 * tech.package.critical_area_frac * tech.node.defect_density_per_mm2 / a) ** a


def die_cost_USD(die_mm2: FloatLike, tech: Technology) -> FloatLike:
    """Cost of one good die [USD].

        c = c_wafer A (1 + s) / (A_wafer Y)
    Source: [feng2022actuary] section 3; s stands for scribe lines and partial dies at the wafer's edge.
    """
    # dies per wafer as a ratio of areas: the exact count subtracts those at the edge (`yields.n_dies_per_wafer`)
    share = die_mm2 * (1.0 + tech.package.saw_loss_frac) / tech.package.wafer_usable_mm2
    return tech.node.wafer_price_USD * share * inverse_yield(die_mm2, tech)


def package_cost(chip: Chip, die_mm2: FloatLike, bond_loss: FloatLike, tech: Technology) -> Money:
    """Manufacturing cost of one package by part [USD]: a failed bond scraps all parts, cost / y^(dies + stacks).

    `die_mm2` per compute die; `bond_loss` = -ln y of one bond. Source: [feng2022actuary] section 3.2 (chip-last 2.5D).
    Memory on the board joins a package that works: it has no bond there and is not lost.
    """
    dies = chip.n_dies * die_cost_USD(die_mm2, tech)
    # stacks are bought by the byte: their number costs bonds and area
    hbm = chip.hbm_capacity_B * tech.memory.price_USD_per_B
    package = interposer_cost_USD(interposer_mm2(chip, die_mm2, tech), tech.package)
    test = tech.package.test_assembly_USD
    # a stack needs room on the interposer; memory without a footprint stands on the board
    inside = where(tech.memory.footprint_mm2 > 0, np.ones(()), np.zeros(()))
    # 1/y^n - 1 as expm1(n (-ln y)), exact near y = 1 and log-log convex in the counts
    lost = jnp.expm1(bond_loss * (chip.n_dies + inside * chip.n_stacks)) * (dies + inside * hbm + package)
    return Money(dies, hbm, package, jnp.asarray(test, dtype=float), lost)


def interposer_cost_USD(area_mm2: FloatLike, package: Package) -> FloatLike:
    """Interposer with its assembly, and the organic substrate below it [USD]."""
    return area_mm2 * (package.interposer_USD_per_mm2 + package.substrate_USD_per_mm2)


def bond_loss(tech: Technology) -> FloatLike:
    """-ln of the yield of bonding one die or stack."""
    # the sign makes it a positive coefficient: what is lost grows with what is bonded
    return -jnp.log(tech.package.bond_yield_frac)


def total_USD(money: Money) -> FloatLike:
    """Sum of all parts [USD]."""
    return sum(money.__dict__.values(), start=jnp.zeros(()))
