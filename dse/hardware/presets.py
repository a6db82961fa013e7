"""Look-up of chips and systems by name or file: `chip`, `system`, their names and the receipts of their numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from functools import cache
from operator import attrgetter
from pathlib import Path

import equinox as eqx

from ..core.counts import check_whole
from ..core.errors import DseError, SpecError, UnknownNameError
from ..core.files import is_there
from ..core.frames import AbstractShown, Facts
from ..core.provenance import Receipts, Sourced, load_receipts, number, pick, text, text_or, worst_first
from ..core.text import quantity_text
from ..core.types import as_float
from ..technology.node import PRECISIONS, ByPrecision
from ..technology.presets import usual_package
from .checks import check_physical, check_stated, check_together
from .chip import OPTIONAL, Chip, Core, TensorEngine, peak_FLOPps
from .fabrics import MOST_SCALEUP, SYSTEMS, build_fabric, fabric_names, most_scaleup_Bps, system_facts
from .own_chip import CHIPS, facts_of, is_own, own_chip, preset_receipts
from .system import System, fabric_for

REWIRED = ("scaleup_bandwidth_per_dir_Bps", "scaleout_bandwidth_per_dir_Bps")
"""Facts of a system that override the chip's: products may connect the same chip differently."""
MOST_CHIPS = 2**22
"""Largest number of chips of a system: at 1 kW each 4 GW, more than any site has."""


def build_chip(name: str, receipts: Receipts) -> Chip:
    """`Chip` from one fact per field; ReceiptError for a missing fact, SpecError as `check_physical`."""
    check_physical(name, receipts)

    def by_precision(stem: str) -> ByPrecision:
        return ByPrecision(**{p: number(receipts, f"{stem}_{p}") for p in PRECISIONS})  # type: ignore[arg-type]

    def numbers(record: type[eqx.Module], but: tuple[str, ...]) -> dict[str, float]:
        # an optional fact that nobody states falls to the record's default; others are missed by `number`
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
    named["package"] = text_or(receipts, "package", "") or usual_package(named["hbm"])
    return Chip(name=name, core=core, **named, **numbers(Chip, but=("name", "core", *named)))  # type: ignore[arg-type]


def chip(name_or_path: str | Path) -> Chip:
    """The chip preset of this name, or the chip in your own TOML file (path ending in `.toml`; `dse new chip`).

    >>> h100 = chip("h100")
    >>> h100.node, float(h100.hbm_bandwidth_Bps)
    ('N4', 3350000000000.0)

    UnknownNameError (with near matches): no such preset. DseError: a malformed file, an impossible or unsourced fact.
    """
    name = str(name_or_path)
    return chip_file(Path(name)) if name.endswith(".toml") else _preset(name)


@cache
def _preset(name: str) -> Chip:
    return build_chip(name, preset_receipts(name))


def chip_file(path: Path) -> Chip:
    """The one chip in a TOML file, complete or with a preset as its `base`; raises as `own_chip`."""
    thing = own_chip(path)
    try:
        made = build_chip(thing.name, facts_of(thing))
        check_together(made)
        check_stated(made, thing.own)
        return made
    except DseError as error:
        more = "" if thing.base else '; a base, such as base = "trainium3", brings what is left out'
        raise SpecError(f"{path}: {error}{more}") from error


def base_name(chip_name: str) -> str:
    """Preset that a chip is based on: itself, its file's base, or the chip of its system; else SpecError."""
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
    """Receipts (value, range, kind, source) of a chip preset, or of a TOML file by its path; guesses first."""
    facts = facts_of(own_chip(Path(name))) if is_own(name) else preset_receipts(name)
    return Facts(worst_first(list(facts.values())))


AbstractShown.receipts_of[Chip.__name__] = lambda chip: _known_receipts(chip.name)  # core knows no chips


def _known_receipts(name: str) -> list[Sourced]:
    """Receipts of a chip by its name; none for a design, which has no file."""
    try:
        return chip_receipts(name)
    except DseError:
        return []


def vendor_disagreement(name: str) -> list[tuple[str, float, float, float]]:
    """Precision, `peak_FLOPps`, the vendor's printed peak [FLOP/s] and their ratio - 1, for each printed peak."""
    receipts = {f.name: f for f in chip_receipts(name)}
    rows: list[tuple[str, float, float, float]] = []
    for precision in PRECISIONS:
        key = f"vendor_{precision}_FLOPps"
        if key in receipts:
            product, vendor = float(peak_FLOPps(chip(name), precision)), number(receipts, key)
            rows.append((precision, product, vendor, vendor / product - 1))
    return rows


def system(name: str, n_chips: int | None = None, inside: Chip | None = None) -> System:
    """The system preset of this name, or the system in your own TOML file (path ending in `.toml`).

    >>> rack = system("dgx-h100", 16)
    >>> rack.n_chips, rack.chip.name
    (16, 'h100')

    `n_chips`: default one scale-up domain. `inside`: chip to put into it, default the system's own. UnknownNameError
    (with near matches): no such system. SpecError: `n_chips` is no whole number, neither a multiple of the domain nor
    a part of it (of a torus a divisor), or exceeds `MOST_CHIPS`; or no `inside` for a rack without a chip of its own.
    """
    if n_chips is not None:
        check_whole(f"{name}: n_chips", n_chips)
    # past the cache: a chip's arrays have no hash, and a user's file may change between calls
    if inside is not None or is_own(name):
        return _placed(name, n_chips, inside)
    return _preset_system(name, n_chips)


@cache
def _preset_system(name: str, n_chips: int | None) -> System:
    return _placed(name, n_chips)


def _placed(name: str, n_chips: int | None, inside: Chip | None = None) -> System:
    """A chip, by default the system's own, in a system of `n_chips`."""
    receipts = system_facts(name)
    if inside is None:
        if "chip" not in receipts:
            raise SpecError(
                f"system '{name}' is a rack without a chip of its own; a study may choose it, a chip sit in it"
            )
        # only the system's own chip: one that is put in has its links already
        inside = _wired(chip(text(receipts, "chip")), receipts)
    fabric = build_fabric(name, receipts)
    n = fabric.n_chips if n_chips is None else n_chips
    if n > MOST_CHIPS:
        raise SpecError(f"{name}: n_chips = {n:,}; more than the {MOST_CHIPS:,} that any system here may have")
    return System(name, inside, fabric_for(fabric, n, f"{name}: n_chips"), n)


def _wired(inside: Chip, receipts: Receipts, but: Collection[str] = ()) -> Chip:
    """The chip with the link bandwidths that the system's facts give it, except for the facts in `but`."""
    # a share of the chip's links first: a bandwidth that the system states in full replaces it
    if "usable_scaleup_frac" in receipts and REWIRED[0] not in but:
        usable = as_float(inside.scaleup_bandwidth_per_dir_Bps * number(receipts, "usable_scaleup_frac"))
        inside = eqx.tree_at(lambda c: c.scaleup_bandwidth_per_dir_Bps, inside, usable)
    for fact in REWIRED:
        if fact in receipts and fact not in but:
            inside = eqx.tree_at(attrgetter(fact), inside, as_float(number(receipts, fact)))
    return inside


def usual_system(chip_name: str) -> str:
    """System named in a user's chip file, or the largest system preset of the chip or of its base."""
    named = str(own_chip(Path(chip_name)).settings.get("system", "")) if is_own(chip_name) else ""
    # beside the chip's file, as one file of a folder means another
    if is_own(named) and not is_there(Path(named)):
        return str(Path(chip_name).parent / named)
    if named and not is_own(named) and named not in fabric_names():
        raise SpecError(f"{chip_name}: {UnknownNameError('system', named, fabric_names())}")
    return named or default_system(base_name(chip_name))


def seat(chip_name: str, system_name: str) -> dict[str, str]:
    """What a file of a chip that was made from another says of it: base, for its calibration, and system."""
    # absolute, since a relative path is looked for beside the file that names it
    where = str(Path(system_name).resolve()) if is_own(system_name) else system_name
    try:
        return {"base": base_name(chip_name), "system": where}
    except SpecError:  # a study may name a calibration instead
        return {"system": where}


def chip_system(chip_name: str, n_chips: int | None = None, within: str | None = None) -> System:
    """A chip, preset or path of a file, in its usual system or `within` another; a chip from a file is named by path.

    UnknownNameError: no such chip or system. SpecError: `within` holds another preset, or as `own_chip`.
    """
    name = within or usual_system(chip_name)
    facts = system_facts(name)
    if is_own(chip_name):
        thing, inside = own_chip(Path(chip_name)), chip_file(Path(chip_name))
        # links that the file states are its own; those of its base give way to the system's
        # by its path, by which receipts, prices and calibration are found again
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
    """System preset of `chip_name` with the largest scale-up domain."""
    # for its error: an unknown chip is another mistake than one without a system
    pick(load_receipts(CHIPS), "chip", chip_name)
    sizes = {s: system(s).fabric.n_chips for s in system_names() if system(s).chip.name == chip_name}
    if not sizes:
        raise UnknownNameError("system of chip", chip_name, system_names())
    # the first of those in file order where several are as large
    return max(sizes, key=lambda s: sizes[s])
