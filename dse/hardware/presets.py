"""Chips and systems by name, each number with its receipt, from `data/chips.toml` and `data/systems.toml`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from functools import cache
from operator import attrgetter
from pathlib import Path

import equinox as eqx

from ..core.errors import DseError, SpecError, UnknownNameError
from ..core.files import is_there
from ..core.frames import AbstractShown, Facts
from ..core.provenance import Receipts, Sourced, load_receipts, number, pick, text, text_or, worst_first
from ..core.text import quantity_text
from ..core.types import as_float
from ..technology.node import PRECISIONS, ByPrecision
from .chip import OPTIONAL, Chip, Core, TensorEngine, peak_FLOPps
from .fabrics import MOST_SCALEUP, SYSTEMS, build_fabric, fabric_names, most_scaleup_Bps, system_facts
from .own_chip import CHIPS, check_physical, check_together, facts_of, is_own, own_chip, preset_receipts
from .system import System

REWIRED = ("scaleup_bandwidth_per_dir_Bps", "scaleout_bandwidth_per_dir_Bps")
"""Facts of a system that replace the chip's: a product may wire the same chip otherwise."""
MOST_CHIPS = 2**22
"""Chips of the largest system: at 1 kW each they draw 4 GW, more than any site has, so that more is a slip."""


def build_chip(name: str, receipts: Receipts) -> Chip:
    """The record of a chip from its facts, one per field; ReceiptError without one, SpecError as `check_physical`."""
    check_physical(name, receipts)

    def by_precision(stem: str) -> ByPrecision:
        return ByPrecision(**{p: number(receipts, f"{stem}_{p}") for p in PRECISIONS})  # type: ignore[arg-type]

    def numbers(record: type[eqx.Module], but: tuple[str, ...]) -> dict[str, float]:
        stated = (f for f in record.__annotations__ if f not in but and (f in receipts or f not in OPTIONAL))
        return {f: number(receipts, f) for f in stated}

    vectors = {"macs_per_cycle": by_precision("macs"), "granule_contract": by_precision("granule_contract")}
    # a chip file without the fact means what `macs_fp8` says: floats
    narrow = text_or(receipts, "narrow_products", "float")
    sizes = numbers(TensorEngine, but=(*vectors, "narrow_products"))
    tensor = TensorEngine(**vectors, **sizes, narrow_products=narrow)  # type: ignore[arg-type]
    core = Core(tensor=tensor, **numbers(Core, but=("tensor",)))  # type: ignore[arg-type]
    texts = ("node", "hbm", "link", "lane_kind", "sram_kind")
    named = {t: text(receipts, t) for t in texts}
    return Chip(name=name, core=core, **named, **numbers(Chip, but=("name", "core", *texts)))  # type: ignore[arg-type]


def chip(name_or_path: str | Path) -> Chip:
    """A chip by preset name, or from the path of your own TOML file with one table of the form in `data/chips.toml`.

    >>> h100 = chip("h100")
    >>> h100.node, float(h100.hbm_bandwidth_Bps)
    ('N4', 3350000000000.0)

    UnknownNameError offers near matches; DseError for a bad file, a fact without a receipt, or an impossible one.
    """
    name = str(name_or_path)
    return chip_file(Path(name)) if name.endswith(".toml") else _preset(name)


@cache
def _preset(name: str) -> Chip:
    return build_chip(name, preset_receipts(name))


def chip_file(path: Path) -> Chip:
    """The one chip in your own TOML file, whole or with a preset as its `base`; raises as `own_chip`."""
    thing = own_chip(path)
    try:
        made = build_chip(thing.name, facts_of(thing))
        check_together(made)
        return made
    except DseError as error:
        more = "" if thing.base else '; a base, such as base = "trainium3", brings what is left out'
        raise SpecError(f"{path}: {error}{more}") from error


def base_name(chip_name: str) -> str:
    """The preset that a chip is akin to: itself, its file's base, or the chip of its system; else SpecError."""
    if not is_own(chip_name):
        return chip_name
    thing = own_chip(Path(chip_name))
    if thing.base:
        return thing.base
    if "system" not in thing.settings:
        raise SpecError(f'{chip_name}: no base and no system; add one, such as base = "trainium3"')
    return system(usual_system(chip_name)).chip.name


def chip_names() -> tuple[str, ...]:
    """Names of all chip presets, in file order."""
    return tuple(load_receipts(CHIPS))


def chip_receipts(name: str) -> Facts:
    """The facts behind a chip preset, or your own TOML file where `name` is the path of one; guesses first."""
    facts = facts_of(own_chip(Path(name))) if is_own(name) else preset_receipts(name)
    return Facts(worst_first(list(facts.values())))


AbstractShown.receipts_of[Chip.__name__] = lambda chip: _known_receipts(chip.name)


def _known_receipts(name: str) -> list[Sourced]:
    """The facts behind a chip by its name; none for a design, which no file describes."""
    try:
        return chip_receipts(name)
    except DseError:
        return []


def vendor_disagreement(name: str) -> list[tuple[str, float, float, float]]:
    """Printed totals by precision: product of cores, array, rate and clock [FLOP/s], the vendor's, and ratio - 1."""
    receipts = {f.name: f for f in chip_receipts(name)}
    rows: list[tuple[str, float, float, float]] = []
    for precision in PRECISIONS:
        key = f"vendor_{precision}_FLOPps"
        if key in receipts:
            product, vendor = float(peak_FLOPps(chip(name), precision)), number(receipts, key)
            rows.append((precision, product, vendor, vendor / product - 1))
    return rows


def system(name: str, n_chips: int | None = None, inside: Chip | None = None) -> System:
    """The system preset `name`, or that of your own TOML file where `name` is the path of one.

    >>> rack = system("dgx-h100", 16)
    >>> rack.n_chips, rack.chip.name
    (16, 'h100')

    `n_chips` is one scale-up domain when left out; `inside` sits in it as it is, by default the chip it is made of.
    UnknownNameError: no such system, with near matches. SpecError: `n_chips` neither fills whole domains nor divides
    one, or is more than `MOST_CHIPS`; a system that no chip is made for yet: ask for one of your own chips in it.
    """
    if inside is not None or is_own(name):
        return _placed(name, n_chips, inside)
    return _preset_system(name, n_chips)


@cache
def _preset_system(name: str, n_chips: int | None) -> System:
    return _placed(name, n_chips)


def _placed(name: str, n_chips: int | None, inside: Chip | None = None) -> System:
    """A chip, by default the one that the system is made of, in a system of a size."""
    receipts = system_facts(name)
    if inside is None:
        if "chip" not in receipts:
            raise SpecError(
                f"system '{name}' is a rack without a chip of its own; a study may choose it, a chip sit in it"
            )
        inside = _wired(chip(text(receipts, "chip")), receipts)
    fabric = build_fabric(name, receipts)
    n = fabric.n_chips if n_chips is None else n_chips
    if n > MOST_CHIPS:
        raise SpecError(f"{name}: n_chips = {n:,}; more than the {MOST_CHIPS:,} that any system here may have")
    if n < 1 or (n % fabric.n_chips and fabric.n_chips % n):
        raise SpecError(f"{name}: n_chips = {n}; expected a multiple or a divisor of its domain of {fabric.n_chips}")
    return System(name, inside, fabric, n)


def _wired(inside: Chip, receipts: Receipts, but: Collection[str] = ()) -> Chip:
    """The chip as a system with these facts wires it; what a user's own file says of wires stays."""
    if "usable_scaleup_frac" in receipts:
        usable = as_float(inside.scaleup_bandwidth_per_dir_Bps * number(receipts, "usable_scaleup_frac"))
        inside = eqx.tree_at(lambda c: c.scaleup_bandwidth_per_dir_Bps, inside, usable)
    for fact in REWIRED:
        if fact in receipts and fact not in but:
            inside = eqx.tree_at(attrgetter(fact), inside, as_float(number(receipts, fact)))
    return inside


def usual_system(chip_name: str) -> str:
    """The system preset that a user's own file names, or the largest made of a chip or of the base of an own one."""
    named = str(own_chip(Path(chip_name)).settings.get("system", "")) if is_own(chip_name) else ""
    if is_own(named) and not is_there(Path(named)):
        return str(Path(chip_name).parent / named)
    if named and not is_own(named) and named not in fabric_names():
        raise SpecError(f"{chip_name}: {UnknownNameError('system', named, fabric_names())}")
    return named or default_system(base_name(chip_name))


def chip_system(chip_name: str, n_chips: int | None = None, within: str | None = None) -> System:
    """A chip, preset or the path of a user's own file, in its system; an own chip is called by its path.

    UnknownNameError: no such chip or system. SpecError: a preset not of `within`, or as of `own_chip`.
    """
    name = within or usual_system(chip_name)
    facts = system_facts(name)
    if is_own(chip_name):
        thing, inside = own_chip(Path(chip_name)), chip_file(Path(chip_name))
        wired = dataclasses.replace(_wired(inside, facts, tuple(thing.own)), name=chip_name)
    else:
        made_of = text_or(facts, "chip", chip_name)
        if made_of != chip_name:
            raise SpecError(f"--system {within} is made of {made_of}, not {chip_name}")
        wired = _wired(chip(chip_name), facts)
    most, sends = most_scaleup_Bps(name), float(wired.scaleup_bandwidth_per_dir_Bps)
    if sends > most:
        told = f"sends {quantity_text(MOST_SCALEUP, sends)} each way"
        raise SpecError(f"{chip_name}: {told}; switches of {name} take {quantity_text(MOST_SCALEUP, most)} from a chip")
    return system(name, n_chips, wired)


def system_names() -> tuple[str, ...]:
    """Names of all system presets, in file order."""
    return tuple(load_receipts(SYSTEMS))


@cache
def default_system(chip_name: str) -> str:
    """The system preset with the largest scale-up domain made of `chip_name`."""
    pick(load_receipts(CHIPS), "chip", chip_name)
    sizes = {s: system(s).fabric.n_chips for s in system_names() if system(s).chip.name == chip_name}
    if not sizes:
        raise UnknownNameError("system of chip", chip_name, system_names())
    return max(sizes, key=lambda s: sizes[s])
