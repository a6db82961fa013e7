"""`Technology`: process node, HBM, links and package by name, from `data/*.toml` or your own file, with receipts.

A field is read from the fact of its canonical name (by precision: `<stem>_<precision>_<unit>`); no fact is an error.
"""

from __future__ import annotations

import dataclasses
import typing
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import equinox as eqx

from ..core.errors import ReceiptError, UnknownNameError
from ..core.frames import AbstractShown
from ..core.provenance import Receipts, Sourced, load_receipts, number, own_receipts, pick
from .memory import LinkGeneration, MemoryGeneration
from .node import PRECISIONS, ByPrecision, Node
from .package import Package

Record = TypeVar("Record", bound=eqx.Module)

DATA = Path(__file__).parent / "data"
FILES = {"node": "nodes.toml", "memory": "memories.toml", "link": "links.toml", "package": "packages.toml"}
DIE_TO_DIE = "UCIe-A"
"""Links between compute dies unless told otherwise."""
STACKED, ON_BOARD = "CoWoS-L", "FCBGA"
"""Package unless told otherwise of dies beside stacks of memory, and of those whose memory stands on the board."""


class Technology(AbstractShown, eqx.Module):
    """Technology of a package: process node, HBM generation, link generations and packaging."""

    node: Node
    """Process node of the compute dies."""
    memory: MemoryGeneration
    link: LinkGeneration
    """Scale-up links between packages."""
    die_to_die: LinkGeneration
    """Links between compute dies of one package."""
    package: Package
    """Interposer, assembly and die manufacturing."""


def _things(kind: str) -> dict[str, Receipts]:
    if kind not in FILES:
        raise UnknownNameError("kind of technology", kind, FILES)
    return load_receipts(DATA / FILES[kind])


def _fact_names(field: str, by_precision: bool) -> list[str]:
    """Facts that fill a field: itself, or one per precision with the precision before the unit."""
    stem, _, unit = field.rpartition("_")
    # in this order: `ByPrecision` is filled by place
    return [f"{stem}_{p}_{unit}" for p in PRECISIONS] if by_precision else [field]


def build(cls: type[Record], facts: Receipts, name: str) -> Record:
    """A record of `cls` called `name` from its facts; ReceiptError names all fields without one."""
    hints = typing.get_type_hints(cls)  # annotations are texts in modules that postpone them
    fields = [f.name for f in dataclasses.fields(cls) if f.name != "name"]
    needs = {f: _fact_names(f, hints[f] is ByPrecision) for f in fields}
    missing = [n for wanted in needs.values() for n in wanted if n not in facts]
    if missing:
        raise ReceiptError(f"'{name}': no fact {', '.join(missing)}; add it with its receipt (a guess is welcome)")
    values = {f: [number(facts, n) for n in wanted] for f, wanted in needs.items()}
    parts: dict[str, typing.Any] = {f: ByPrecision(*v) if hints[f] is ByPrecision else v[0] for f, v in values.items()}
    return cls(**{"name": name, **parts})


def facts_of(kind: str, name: str) -> Receipts:
    """The facts of a preset, or of your own file where `name` is the path of one; raises as `own_receipts`."""
    if name.endswith(".toml"):
        return own_receipts(Path(name), lambda base: pick(_things(kind), kind, base))[1]
    return pick(_things(kind), kind, name)


@cache
def _preset(cls: type[Record], kind: str, name: str) -> Record:
    return build(cls, facts_of(kind, name), name)


def _record(cls: type[Record], kind: str, name: str) -> Record:
    """A preset once per process; your own file anew at every call, since it may be edited."""
    return build(cls, facts_of(kind, name), name) if name.endswith(".toml") else _preset(cls, kind, name)


def node(name: str) -> Node:
    """The process node `name`, such as "N3P", or your own TOML file; raises UnknownNameError with near matches."""
    return _record(Node, "node", name)


def memory(name: str) -> MemoryGeneration:
    """The memory generation `name`, such as "HBM3E"; raises UnknownNameError with near matches."""
    return _record(MemoryGeneration, "memory", name)


def link(name: str) -> LinkGeneration:
    """The link generation `name`, such as "PCIe6"; raises UnknownNameError with near matches."""
    return _record(LinkGeneration, "link", name)


def package(name: str) -> Package:
    """The package `name`, such as "CoWoS-L"; raises UnknownNameError with near matches."""
    return _record(Package, "package", name)


def usual_package(memory_name: str) -> str:
    """Package of a chip that names none: with bridges of silicon if its memory stands beside the dies, else without."""
    # a footprint is area on the interposer: memory on the board takes none
    return STACKED if float(memory(memory_name).footprint_mm2) > 0 else ON_BOARD


def technology(node: str, memory: str, link: str, die_to_die: str = DIE_TO_DIE, package: str = STACKED) -> Technology:
    """A technology from the names of its parts; raises UnknownNameError with near matches."""
    return Technology(
        node=_record(Node, "node", node),
        memory=_record(MemoryGeneration, "memory", memory),
        link=_record(LinkGeneration, "link", link),
        # of the same table: links between dies differ from those between packages in numbers alone
        die_to_die=_record(LinkGeneration, "link", die_to_die),
        package=_record(Package, "package", package),
    )


def names(kind: str) -> tuple[str, ...]:
    """Names of every "node", "memory", "link" or "package", in the order of its data file."""
    return tuple(_things(kind))


node_names = partial(names, "node")
memory_names = partial(names, "memory")
link_names = partial(names, "link")
package_names = partial(names, "package")


def receipts(kind: str, name: str) -> list[Sourced]:
    """The receipts behind one "node", "memory", "link" or "package", in the order of the data file."""
    return list(facts_of(kind, name).values())
