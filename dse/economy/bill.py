"""Bill of materials of products with known dies and explicit harvesting, beside published ones; `chip_cost`.

Not part of the convex core, whose share of critical area (`Package.critical_area_frac`) it checks.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp

from ..core.provenance import Receipts, Sourced, load_receipts, number, pick, text
from ..core.types import FloatLike, Scalar, as_float
from ..hardware.presets import chip_system
from ..physics.money import Money, interposer_cost_USD
from ..physics.yields import Harvest, harvested_frac, n_dies_per_wafer
from ..technology.memory import MemoryGeneration
from ..technology.node import Node
from ..technology.package import Package
from ..technology.presets import memory, node, package
from .knobs import band, turned_alone
from .ownership import HOUR_s, break_even_s
from .owning import Deal, Purchase, capital_parts, deal, hour_USD, purchase
from .presets import rents

BILLS = Path(__file__).parent / "data" / "bills.toml"
WAFER = "wafer"
GROUPS = (("units", "n_units"), ("slices", "n_slices"), ("phys", "n_phys"))
"""Redundant blocks of a compute die: cores, cache slices, memory interfaces."""
PARTS = {"dies": "dies_USD", "hbm": "hbm_USD", "package": "package_USD", "test": "test_USD", "loss": "loss_USD"}


class Wafer(eqx.Module):
    """A round wafer and its saw."""

    radius_mm: Scalar = eqx.field(converter=as_float)
    edge_mm: Scalar = eqx.field(converter=as_float)
    """Rim of the wafer on which no die is printed."""
    scribe_mm: Scalar = eqx.field(converter=as_float)
    """Width lost to the saw between two dies."""


class Dies(eqx.Module):
    """Identical dies of one package."""

    node: Node
    die_mm2: Scalar = eqx.field(converter=as_float)
    n_dies: Scalar = eqx.field(converter=as_float)
    groups: tuple[Harvest, ...] = ()


class Product(eqx.Module):
    """What stands on the package of a product."""

    dies: tuple[Dies, ...]
    memory: MemoryGeneration
    package: Package
    hbm_capacity_B: Scalar = eqx.field(converter=as_float)
    n_stacks: Scalar = eqx.field(converter=as_float)
    n_bonds: Scalar = eqx.field(converter=as_float)
    """Placements on the interposer, each of which may fail."""


def _things() -> dict[str, Receipts]:
    return load_receipts(BILLS)


def bill_names() -> tuple[str, ...]:
    """Products with a published bill."""
    return tuple(n for n in _things() if n != WAFER)


def wafer() -> Wafer:
    """The wafer all dies are cut from."""
    facts = _things()[WAFER]
    return Wafer(*(number(facts, f) for f in ("radius_mm", "edge_mm", "scribe_mm")))  # type: ignore[arg-type]


@cache
def product(name: str) -> Product:
    """The product `name`; raises UnknownNameError with near matches, ReceiptError for a missing fact."""
    facts = pick(_things(), "bill of materials", name)
    groups = tuple(
        Harvest(number(facts, n), number(facts, f"n_spare_{block}"), number(facts, f"{block}_share_frac"))  # type: ignore[arg-type]
        for block, n in GROUPS  # a product without facts of spares sells none
        if n in facts
    )
    kinds = [k for k in ("a", "b") if f"node_{k}" in facts]
    dies = tuple(
        Dies(
            node(text(facts, f"node_{k}")),
            number(facts, f"die_{k}_mm2"),  # type: ignore[arg-type]
            number(facts, f"n_dies_{k}"),  # type: ignore[arg-type]
            # dies of kind "b" are bases below: what is published of spares is of compute dies
            groups if k == "a" else (),
        )
        for k in kinds
    )
    numbers = {f: number(facts, f) for f in ("hbm_capacity_B", "n_stacks", "n_bonds")}
    parts = memory(text(facts, "memory")), package(text(facts, "package"))
    return Product(dies, *parts, **numbers)  # type: ignore[arg-type]


def good_die_USD(dies: Dies, clustering: FloatLike, cut: Wafer, harvest: bool = True) -> FloatLike:
    """Cost of one die that can be sold; `harvest` counts dies with bad spare blocks as sold.

        c = c_wafer / (n Y)
    with `clustering` the alpha of the negative binomial. Source: [feng2022actuary] section 3.1.
    """
    groups = dies.groups if harvest else ()
    good = harvested_frac(clustering, dies.die_mm2, dies.node.defect_density_per_mm2, groups)
    # the count itself, which the convex core replaces by a ratio of areas
    per_wafer = n_dies_per_wafer(dies.die_mm2, cut.radius_mm, cut.edge_mm, cut.scribe_mm)
    return dies.node.wafer_price_USD / (per_wafer * good)


def bill(p: Product, cut: Wafer, harvest: bool = True) -> Money:
    """Package cost by part [USD], bad spares sold if `harvest`. Source: [feng2022actuary] 3.1, 3.2 (chip-last 2.5D)."""
    clustering = p.package.yield_clustering
    dies = sum((d.n_dies * good_die_USD(d, clustering, cut, harvest) for d in p.dies), start=jnp.zeros(()))
    hbm = p.hbm_capacity_B * p.memory.price_USD_per_B
    silicon = sum((d.n_dies * d.die_mm2 for d in p.dies[-1:]), start=jnp.zeros(()))  # compute dies stand on base dies
    on_it = silicon + p.n_stacks * p.memory.footprint_mm2
    interposer = interposer_cost_USD(p.package.interposer_margin * on_it, p.package)
    # chip-last: each failed bond takes along all that stands there already
    lost = (p.package.bond_yield_frac ** (-p.n_bonds) - 1.0) * (dies + hbm + interposer)
    return Money(dies, hbm, interposer, jnp.asarray(p.package.test_assembly_USD, dtype=float), lost)


def published(name: str) -> dict[str, Sourced]:
    """The published lines of a product by part: dies, hbm, package, test, total, and loss where it is counted."""
    facts = pick(_things(), "bill of materials", name)
    marks = [n for n in facts if n.startswith("published_")]
    return {n.removeprefix("published_").removesuffix("_USD"): facts[n] for n in marks}


def counts_loss(name: str) -> bool:
    """Whether the published bill of a product counts parts lost in assembly."""
    return number(pick(_things(), "bill of materials", name), "counts_loss") > 0


@dataclasses.dataclass(frozen=True)
class BillLine:
    """One line of a product's bill of materials."""

    part: str
    harvested_USD: float
    """Cost if dies with defective spare blocks are sold."""
    whole_USD: float
    """Cost if only perfect dies are sold."""
    published: Sourced | None


@dataclasses.dataclass(frozen=True)
class ChipCost:
    """Cost of a chip: capital in its rack, cost per hour, rents, and its bill of materials beside the published one."""

    chip_name: str
    deal: Deal
    purchase: Purchase
    capital_parts_USD: dict[str, float]
    hour_parts_USD: dict[str, float]
    hour_USD: float
    hour_range_USD: tuple[float, float]
    rents: dict[str, Sourced]
    break_even_s: dict[str, float]
    """Time of use after which buying is cheaper than renting, by kind of contract."""
    bill: tuple[BillLine, ...]
    """Its package line by line; empty where no bill is published."""

    @property
    def capital_shares_frac(self) -> dict[str, float]:
        """Share of the capital by part."""
        return {n: v / float(self.purchase.capital_USD) for n, v in self.capital_parts_USD.items()}

    @property
    def break_even_days(self) -> dict[str, float]:
        """Days of use after which buying is cheaper than renting, by kind of contract."""
        return {k: s / (24 * HOUR_s) for k, s in self.break_even_s.items()}


def chip_cost(chip_name: str) -> ChipCost:
    """Cost of a chip to its owner, in the largest system of it; UnknownNameError without economic facts of the chip."""
    d = deal(chip_system(chip_name))
    p, hour, rented = purchase(d), hour_USD(d), rents(chip_name)
    # rents are per hour, all else here per second
    paid = {k: jnp.asarray(float(f.value) / HOUR_s) for k, f in rented.items()}
    return ChipCost(
        chip_name, d, p, capital_parts(p),
        {k.removesuffix("_USD_per_s"): float(v) * HOUR_s for k, v in p.rate.__dict__.items()},
        hour, band(hour, turned_alone(hour_USD, d)), rented,
        {k: float(break_even_s(p.capital_USD, p.rate, rent)) for k, rent in paid.items()},
        bill_lines(chip_name) if chip_name in bill_names() else (),
    )  # fmt: skip


def bill_lines(name: str) -> tuple[BillLine, ...]:
    """Bill of a product's package by line and in total, beside the published one."""
    with_, without = (bill(product(name), wafer(), harvest) for harvest in (True, False))
    # a published bill without losses is compared with ours without them
    said, parts = published(name), {n: f for n, f in PARTS.items() if n != "loss" or counts_loss(name)}
    rows = [(n, float(getattr(with_, f)), float(getattr(without, f))) for n, f in parts.items()]
    # of the lines that the published total has as well
    total = ("total", sum(r[1] for r in rows), sum(r[2] for r in rows))
    return tuple(BillLine(n, a, b, said.get(n)) for n, a, b in (*rows, total))
