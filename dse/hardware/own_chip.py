"""Chip files of users: allowed keys, inheritance from a base, plausibility checks; and writing such a file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..core.errors import DseError, SpecError
from ..core.files import is_there, read_toml
from ..core.provenance import OwnThing, Receipts, Sourced, load_receipts, number, own_thing, pick
from ..core.shipped import check_kind
from ..core.text import quantity_text, spelled, unit_of
from ..technology.node import ByPrecision
from ..technology.presets import STACKED, link, memory, node, node_names, package, usual_package
from .chip import OPTIONAL, Chip, shares_pool

CHIPS = Path(__file__).parent / "data" / "chips.toml"
OWN_SETTINGS = ("system", "host", "price", "margin", "rent")
"""Keys of a chip file that are not facts of the chip: system, server, package price or maker's margin, rent."""
FAR, FAR_COUNT = 100.0, 10.0
"""Largest factor between a number and every preset, for quantities and for counts; a wrong prefix exceeds it."""
WHOLE = ("n_", "rows", "cols", "cores_per_pool")
"""Prefixes of facts that are counts."""
NAMED: dict[str, Callable[[str], object]] = {"node": node, "hbm": memory, "link": link, "package": package}
"""Facts that name a technology, with the function that looks it up."""
OF_A_PRODUCT = ("die_area_mm2", "vendor_")
"""Prefixes of facts published for a product, which do not hold for a chip derived from it."""


def preset_receipts(name: str) -> Receipts:
    """Facts of a chip preset; raises UnknownNameError with near matches."""
    return pick(load_receipts(CHIPS), "chip", name)


def is_own(name: str | Path) -> bool:
    """Whether a chip's name is the path of a user's file."""
    return str(name).endswith(".toml")


def short_name(name: str) -> str:
    """Chip name usable inside a file name: a preset's name, or the stem of a user's file."""
    return Path(name).stem if is_own(name) else name


def allowed_facts() -> Receipts:
    """Every fact that a chip file may state, with the value of some preset or the default where no preset states it."""
    unsaid = {n: Sourced(n, value, value, value, "derived", "dse2026", "") for n, value in OPTIONAL.items()}
    unsaid["package"] = Sourced("package", STACKED, math.nan, math.nan, "derived", "dse2026", "")
    return unsaid | {f: fact for facts in load_receipts(CHIPS).values() for f, fact in facts.items()}


def own_chip(path: Path) -> OwnThing:
    """The chip in a user's file; SpecError as `own_thing`, or for a number more than `FAR` from every preset."""
    every = allowed_facts()
    try:
        thing = own_thing(path, preset_receipts, every, OWN_SETTINGS, every)  # what its base lacks, it may have
    except SpecError:
        # a file of another kind is told so, not which of its keys is the first unknown one
        check_kind(read_toml(path), "chip", path)
        raise
    thing = dataclasses.replace(thing, own={n: _beside(path, fact) for n, fact in thing.own.items()})
    for fact in thing.own.values():
        _check_built(path, thing.written[fact.name], fact)
        if not isinstance(fact.value, str):
            check_usual(f"{path}: {thing.written[fact.name]}", fact.name, fact.value)
        if fact.name in NAMED:
            _check_named(path, fact)
    return thing


def _beside(path: Path, fact: Sourced) -> Sourced:
    """A fact that names a file of technology, found from where the command runs or else beside the chip's file."""
    named = str(fact.value)
    if fact.name not in NAMED or not is_own(named) or is_there(Path(named)):
        return fact
    return dataclasses.replace(fact, value=str(path.parent / named))


OFF_DIE = ("n_stacks", "hbm_bandwidth_Bps", "hbm_capacity_B")
"""Facts of the memory off the dies, which no modelled chip is without."""


def _check_built(path: Path, key: str, fact: Sourced) -> None:
    """SpecError for kinds of chips that no fact describes: all memory on the die, or a die beyond the reticle."""
    said = f"{path}: {key} = {quantity_text(fact.name, fact.value) if fact.value else 0}"
    if (fact.name in OFF_DIE and fact.value == 0) or (fact.name == "hbm" and str(fact.value).lower() == "none"):
        raise SpecError(
            f"{said}; a chip without memory off its dies is not modelled: a step reads weights and KV there"
        )
    # the scanner's field, the same for every package
    reticle_mm2 = float(package(STACKED).reticle_mm2)
    if fact.name == "die_area_mm2" and isinstance(fact.value, float) and fact.value > reticle_mm2:
        most = quantity_text(fact.name, reticle_mm2)
        raise SpecError(
            f"{said}; one exposure prints {most}, so give the area of one of n_dies (a whole wafer is not modelled)"
        )


def _check_named(path: Path, fact: Sourced) -> None:
    """SpecError for an unknown process node, memory, link or package."""
    try:
        NAMED[fact.name](str(fact.value))
    except DseError as error:
        # the nearest name need not be the nearest node: N28 is 28 nm, N2 two
        known = f"; nodes are {', '.join(node_names())}" if fact.name == "node" else ""
        raise SpecError(f"{path}: {fact.name} = {spelled(fact.value)}: {error}{known}") from error


def check_usual(place: str, name: str, value: float) -> None:
    """SpecError that begins with `place`, for a fact or free number of a chip that is far from those of all presets."""
    others = [facts[name].value for facts in load_receipts(CHIPS).values() if name in facts]
    # zeros are of chips that lack the thing, and no measure of it
    sizes = [x for x in others if not isinstance(x, str) and x > 0]
    # whether a 0 may stand is asked of all facts together (`check_physical`)
    if not value or not sizes:
        return
    if name.startswith(WHOLE) and not float(value).is_integer():
        raise SpecError(f"{place} = {value:g}; give a whole number")
    far = FAR if unit_of(name) else FAR_COUNT  # a wrong prefix is a factor of 1,000; counts have none
    if not min(sizes) / far <= abs(value) <= far * max(sizes):
        low, high, mine = (quantity_text(name, x) for x in (min(sizes), max(sizes), value))
        raise SpecError(f"{place} = {mine}; chips have {low} to {high}, so check number and unit")


def facts_of(thing: OwnThing) -> Receipts:
    """All facts of a user's chip, without those published for its base as a product."""
    # own facts last: they hold against those of the base and what follows from the number of cores
    kept = {k: f for k, f in thing.inherited.items() if not k.startswith(OF_A_PRODUCT)}
    return {**kept, **_followed(thing), **thing.own}


def _followed(thing: OwnThing) -> Receipts:
    """Facts implied by the file's cores, stacks and array: shared tile memory, what stacks hold and carry, granules."""
    # a file without a base says all of it itself
    return {**_pool_of(thing), **_stacks_of(thing), **_granules_of(thing)} if thing.inherited else {}


def granule_growth(now: tuple[float, float], base: tuple[float, float]) -> tuple[float, float]:
    """By how much contraction and stationary granules of a systolic array grow with its rows and columns.

        rows / rows_0,  min(rows, cols) / min(rows_0, cols_0)
    An array wider than tall is square ones side by side, as in TPUs.
    """
    return now[0] / base[0], min(now) / min(base)


def _granules_of(thing: OwnThing) -> Receipts:
    """Granules of an array of another size than the base's; those of a GPU are its libraries' tiles, and stay."""
    if not {"rows", "cols"} & set(thing.own) or thing.inherited["lane_kind"].value == "simt":
        return {}
    both = {**thing.inherited, **thing.own}
    now, base = ((number(of, "rows"), number(of, "cols")) for of in (both, thing.inherited))
    deep, wide = granule_growth(now, base)
    growth = {n: deep for n in thing.inherited if n.startswith("granule_contract_")} | {"granule_stationary": wide}
    told = f"as {thing.base}, in proportion to its array"
    # no granule is less than an element
    sizes = {n: max(factor * number(thing.inherited, n), 1.0) for n, factor in growth.items()}
    return {n: Sourced(n, size, size, size, "derived", "dse2026", told) for n, size in sizes.items()}


def _pool_of(thing: OwnThing) -> Receipts:
    """Tile memory shared by all cores of the base stays shared by all."""
    if "n_cores" not in thing.own:
        return {}
    n_cores, pool, n_dies = (np.float64(number(thing.inherited, n)) for n in ("n_cores", "cores_per_pool", "n_dies"))
    if not shares_pool(pool, n_cores, n_dies):
        return {}
    # a share of the cores, not a number: a die with more of them has the same one memory
    now = float(pool / n_cores) * number(thing.own, "n_cores")
    told = f"as {thing.base}: {pool:g} of its {n_cores:g} cores share tile memory"
    return {"cores_per_pool": Sourced("cores_per_pool", now, now, now, "derived", "dse2026", told)}


def _stacks_of(thing: OwnThing) -> Receipts:
    """As many bytes per stack as the base has, and as fast: each stack has ports of its own."""
    found: dict[str, Sourced] = {}
    for name in ("hbm_capacity_B", "hbm_bandwidth_Bps") if "n_stacks" in thing.own else ():
        each = number(thing.inherited, name) / number(thing.inherited, "n_stacks")
        now = each * number(thing.own, "n_stacks")
        told = f"as {thing.base}: {quantity_text(name, each)} in each stack"
        found[name] = Sourced(name, now, now, now, "derived", "dse2026", told)
    return found


_BY_PRECISION = {"macs_per_cycle": "macs"}
"""Fields with one number per precision whose facts have another name."""


def chip_facts(chip: Chip, defaults: bool = False) -> dict[str, float | str]:
    """Facts of a chip by their names in a chip file, without its name; `defaults`: those too that a file may lack."""
    facts: dict[str, float | str] = {}
    for record in (chip, chip.core, chip.core.tensor):
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if isinstance(value, ByPrecision):
                stem = _BY_PRECISION.get(field.name, field.name)
                facts |= {f"{stem}_{p.name}": float(getattr(value, p.name)) for p in dataclasses.fields(value)}
            elif isinstance(value, str):
                facts[field.name] = value
            # records inside have their turn in the outer loop
            elif not dataclasses.is_dataclass(value):
                facts[field.name] = float(value)
    facts.pop("name")
    usual = {**OPTIONAL, "package": usual_package(chip.hbm)}
    return {n: v for n, v in facts.items() if defaults or usual.get(n) != v}


def chip_toml(chip: Chip, where: str, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """The text of a chip file for `chip`, every fact derived by this package; `settings`: its base, system and host."""
    # letters of TOML's bare keys
    table = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in chip.name)
    receipt = f'kind = "derived", source = "dse2026", where = {json.dumps(where)}'
    facts = chip_facts(chip, defaults="base" in settings)  # else they would be those of the base
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    lines += [f"{name} = {{ value = {json.dumps(value)}, {receipt} }}" for name, value in facts.items()]
    head = "# A chip file: each number in canonical units, with its kind and source. Written by `dse optimize`."
    return "\n".join([head, "", f"[{table}]", *lines, ""])
