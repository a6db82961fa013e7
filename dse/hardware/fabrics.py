"""Facts of systems by name or from a user's file: scale-up topology, switches, rack; `Fabric` records from them.

`data/systems.toml` holds products with their chips, `data/racks.toml` racks for chips that do not exist yet.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from ..core.errors import SpecError
from ..core.provenance import (
    OwnThing,
    Receipts,
    Sourced,
    load_receipts,
    number,
    number_or,
    own_thing,
    pick,
    text,
    worst_first,
)
from .checks import check_physical
from .own_chip import CHIPS, is_own
from .system import Fabric

SYSTEMS = CHIPS.with_name("systems.toml")
RACKS = CHIPS.with_name("racks.toml")


@cache
def _every() -> dict[str, Receipts]:
    return {**load_receipts(SYSTEMS), **load_receipts(RACKS)}


def fabric_names() -> tuple[str, ...]:
    """Names of all systems, products and racks, in file order."""
    return tuple(_every())


def system_facts(name: str) -> Receipts:
    """Facts of a system, a preset or the path of a user's file; UnknownNameError, or SpecError as `own_system`."""
    return own_system(Path(name)) if is_own(name) else pick(_every(), "system", name)


def system_receipts(name: str) -> list[Sourced]:
    """Receipts of a system's numbers, guesses first."""
    return worst_first(list(system_facts(name).values()))


def stated_facts(name: str) -> Receipts:
    """Facts that a user's system file states itself, without those of its base; none for a preset."""
    return dict(_own_thing(Path(name)).own) if is_own(name) else {}


def own_system(path: Path) -> Receipts:
    """Facts of the one system in a user's file, complete or with a preset as its `base`.

        [my-rack]
        base = "ualink-72"
        dims = "36"
        scaleup_switch_W_per_GBps = 0.2
    SpecError (with file and key): more than one table, an unknown key or base, a physically impossible fact.
    """
    thing = _own_thing(path)
    facts = {**thing.inherited, **thing.own}
    try:
        # for its errors alone, while the file's name is at hand
        build_fabric(thing.name, facts)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    return facts


def _own_thing(path: Path) -> OwnThing:
    every = {f: fact for facts in _every().values() for f, fact in facts.items()}
    return own_thing(path, lambda base: pick(_every(), "system", base), every, may_add=every)


def build_fabric(name: str, receipts: Receipts) -> Fabric:
    """Scale-up domain of a system from its facts; SpecError for impossible lengths, shares or switches."""
    check_physical(name, receipts)
    words = text(receipts, "dims").split("x")
    # not isdigit, which takes superscripts that int() refuses
    if not all(w.isdecimal() and int(w) > 0 for w in words):
        raise SpecError(f"{name}.dims = '{text(receipts, 'dims')}'; expected lengths such as '4x4x4'")
    even = 1.0 / len(words)  # where a user's file says nothing
    named = any(f.startswith("axis_share_") for f in receipts)
    shares = tuple(number(receipts, f"axis_share_{i}") if named else even for i in range(len(words)))
    if abs(sum(shares) - 1) > 1e-9:
        raise SpecError(f"{name}.axis_share = {shares}; expected a sum of 1, not {sum(shares):g}")
    reduces = number_or(receipts, "in_network_reduction", 0.0) > 0
    leaf, upper = number_or(receipts, "n_leaf_chips", 0.0), number_or(receipts, "upper_share", 1.0)
    if not (leaf >= 0 and leaf == int(leaf) and 0 < upper <= 1):
        raise SpecError(f"{name}: n_leaf_chips = {leaf:g} and upper_share = {upper:g}; expected whole, and 0 to 1")
    _check_ports(name, receipts, math.prod(int(w) for w in words), int(leaf))
    ring = number_or(receipts, "n_ring_chips", 1.0)
    if ring != int(ring):
        raise SpecError(f"{name}.n_ring_chips = {ring:g}; expected whole")
    dims, hop_s = tuple(int(w) for w in words), number_or(receipts, "upper_hop_s", 0.0)
    # latencies that were measured belong to rows of measurements, not to products
    return Fabric(text(receipts, "kind"), dims, shares, reduces, int(leaf), upper, hop_s, n_ring_chips=int(ring))


def most_scaleup_Bps(name: str) -> float:
    """Largest bandwidth that a system's scale-up switches accept from one chip, one direction; infinite if unstated."""
    return number_or(system_facts(name), MOST_SCALEUP, math.inf)


MOST_SCALEUP = "most_scaleup_per_dir_Bps"
"""Fact of a system: largest bandwidth that all switches of a rack accept from each of its chips."""


def _check_ports(name: str, receipts: Receipts, n_chips: int, n_leaf: int) -> None:
    """SpecError for more chips behind one level of switches than switch ports, since each chip links to each switch."""
    # of two levels only the lower one has chips at its ports
    ports, level = number_or(receipts, "n_switch_ports", math.inf), n_leaf or n_chips
    if text(receipts, "kind") == "switched" and level > ports:
        raise SpecError(
            f"{name}: {level} chips behind one level of switches with {ports:g} ports; "
            "give fewer chips (dims, n_leaf_chips), or switches with more (n_switch_ports)"
        )
