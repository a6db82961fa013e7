"""Packaging and die manufacturing: reticle, interposer, wafer, yield model, bonding, test, power delivery."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import numpy as np

from ..core.types import FloatLike, Scalar, as_float, where


class Package(eqx.Module):
    """A 2.5D package on a silicon or bridge interposer, chip-last."""

    name: str = eqx.field(static=True)
    reticle_mm2: Scalar = eqx.field(converter=as_float)
    """Largest die one exposure prints."""
    interposer_limit_mm2: Scalar = eqx.field(converter=as_float)
    """Largest interposer that can be made."""
    interposer_margin: Scalar = eqx.field(converter=as_float)
    """Interposer area over the sum of what stands on it."""
    interposer_USD_per_mm2: Scalar = eqx.field(converter=as_float)
    """Processed interposer with assembly, per area."""
    substrate_USD_per_mm2: Scalar = eqx.field(converter=as_float)
    """Organic substrate per interposer area."""
    bond_yield_frac: Scalar = eqx.field(converter=as_float)
    """Yield of placing one die or stack."""
    test_assembly_USD: Scalar = eqx.field(converter=as_float)
    """Final test and assembly per package."""
    wafer_usable_mm2: Scalar = eqx.field(converter=as_float)
    """Printable area of a 300 mm wafer after edge loss."""
    saw_loss_frac: Scalar = eqx.field(converter=as_float)
    """Area lost to scribe lines and partial dies of a large die."""
    yield_clustering: Scalar = eqx.field(converter=as_float)
    """Alpha of the negative binomial."""
    critical_area_frac: Scalar = eqx.field(converter=as_float)
    """Area in which a defect kills a die that has spare cores, over die area; see `harvested`."""
    shoreline_usable_frac: Scalar = eqx.field(converter=as_float)
    """Fraction of the die perimeter that can carry interfaces."""
    die_aspect: Scalar = eqx.field(converter=as_float)
    """Long over short side of a die."""
    noc_area_frac: Scalar = eqx.field(converter=as_float)
    """On-die network, over the rest of the die."""
    misc_area_frac: Scalar = eqx.field(converter=as_float)
    """Clocks, management, pads and the like, over the rest of the die."""
    noc_reach_frac: Scalar = eqx.field(converter=as_float)
    """Mean on-die distance of a byte between HBM and a core, over the die side."""
    constant_W: Scalar = eqx.field(converter=as_float)
    """Clocks, management and regulators that run at any load, per package."""
    voltage_loss_frac: Scalar = eqx.field(converter=as_float)
    """Power lost in on-package delivery, over delivered power."""


def harvested(package: Package, spare_frac: FloatLike) -> Package:
    """`package` with the critical area of dies with spare cores, or all of the die without (`spare_frac` 0)."""
    # without spares any defect kills; with some, only those in what a die cannot do without
    critical = where(spare_frac > 0, package.critical_area_frac, np.ones(()))  # NumPy's one: no program
    return dataclasses.replace(package, critical_area_frac=critical)
