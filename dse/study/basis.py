"""Receipts behind an answer: all facts that it uses, the guesses among them, and their sources."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable

from ..core.errors import DseError
from ..core.provenance import Sourced
from ..economy.presets import FILES, JOINS, OVERHEAD, SWITCH_W, around_receipts, receipts_of, standing_facts
from ..hardware.fabrics import system_receipts
from ..hardware.presets import chip_receipts
from ..lowering.activations import footprint_receipts
from ..lowering.headroom import headroom_receipts
from ..lowering.software import COMPILED, FUSED, framework_receipts, move_receipts
from ..physics.calibration import calibration_receipts
from ..technology.presets import DIE_TO_DIE, receipts
from ..workload.op import pass_receipts
from ..workload.requests import Asked, FreeBatch
from ..workload.storage import format_receipts, formats_of
from ..workload.transformer import Training
from .design import Choice
from .study import Study, names_of_fits

SHARED: dict[str, Callable[[], list[Sourced]]] = {
    "headroom": headroom_receipts,
    "kept in training": lambda: footprint_receipts(COMPILED),
    "kept in training on GPUs": lambda: footprint_receipts(FUSED),
    "moved in training": lambda: move_receipts(COMPILED),
    "moved in training on GPUs": lambda: move_receipts(FUSED),
    "element passes": pass_receipts,
    "framework": framework_receipts,
}
"""Facts that all chips share."""
KINDS: dict[str, Callable[[str], list[Sourced]]] = {
    "chip": chip_receipts,
    "system": system_receipts,
    "calibration": calibration_receipts,
    "storage": format_receipts,
}
"""Kinds of thing whose facts neither technology nor the economy keeps."""


@dataclasses.dataclass(frozen=True)
class Basis:
    """One fact and the thing it describes."""

    thing: str
    """Such as "node N2"."""
    fact: Sourced

    @property
    def spread(self) -> float:
        """Width of the range over the value, 0 for a text or a fact without a range."""
        f = self.fact
        if isinstance(f.value, str):
            return 0.0
        # of a fact of 0 the width itself
        return (f.high - f.low) / (abs(f.value) or 1.0)


def chip_basis(name: str) -> list[Basis]:
    """Facts of a chip preset, guesses first."""
    return [Basis(f"chip {name}", f) for f in chip_receipts(name)]


def calibration_basis(name: str) -> list[Basis]:
    """Facts of a calibration, and of the shares, passes and launches that all chips use."""
    shared = [Basis(thing, f) for thing, facts in SHARED.items() for f in facts()]
    return [*(Basis(f"calibration {name}", f) for f in calibration_receipts(name)), *shared]


def storage_basis(*specs: str) -> list[Basis]:
    """Facts of the formats that weights and caches are stored in, from texts such as `bf16,experts=mxfp4`."""
    return [Basis(f"storage {name}", f) for name in formats_of(*specs) for f in format_receipts(name)]


def _stored(workload: Asked) -> tuple[str, ...]:
    """How a workload stores weights and cache; training, whose states are as wide as its sources say, names none."""
    phase = workload.of if isinstance(workload, FreeBatch) else workload
    return () if isinstance(phase, Training) else (phase.weight_precision, phase.kv_precision)


def technology_basis(node: str, memory: str, link: str, package: str) -> list[Basis]:
    """Facts of everything a die, its memory, its links and its package are made with."""
    parts = (("node", node), ("memory", memory), ("link", link), ("link", DIE_TO_DIE), ("package", package))
    return [Basis(f"{kind} {name}", f) for kind, name in parts for f in receipts(kind, name)]


def around_basis(study: Study, choice: Choice) -> list[Basis]:
    """Facts of what surrounds a design: the system that it chooses, the server where an owner is asked for."""
    seated = [Basis(f"system {choice.system}", f) for f in system_receipts(choice.system)] if choice.system else []
    if study.owner is None:
        return seated
    # a chosen system comes with its own server, in place of the study's
    host = next((str(b.fact.value) for b in seated if b.fact.name == "host"), study.owner.host)
    if not choice.system:
        standing = standing_facts(study.baseline.name, host)
        seated = [Basis(f"system {study.baseline.name}", standing[f]) for f in OWNING if f in standing]
    return [*seated, *(Basis(thing, fact) for thing, fact in around_receipts(host, choice.node))]


OWNING = ("host", *JOINS, OVERHEAD, SWITCH_W)
"""Facts of a system that its cost of ownership rests on."""


def study_basis(study: Study, choice: Choice | None) -> list[Basis]:
    """Every fact behind a study's answer, once each; of all its choices when none was made."""
    chosen = study.choices if choice is None else (choice,)
    baseline = study.baseline.chip
    made = [b for c in chosen for b in technology_basis(c.node, c.hbm, c.link, study.package)]
    own = technology_basis(baseline.node, baseline.hbm, baseline.link, study.package)
    owned = [b for c in chosen for b in around_basis(study, c)]
    fits = [b for name in names_of_fits(study) for b in calibration_basis(name)]
    stored = storage_basis(*(spec for w, _ in study.workloads.values() for spec in _stored(w)))
    every = [*made, *fits, *stored, *chip_basis(baseline.name), *own, *owned]
    # chips of several choices share nodes and links
    return list({(b.thing, b.fact.name): b for b in every}.values())


def guesses(basis: Iterable[Basis]) -> list[Basis]:
    """The guesses among the facts, widest range first."""
    return sorted((b for b in basis if b.fact.kind == "guess"), key=lambda b: -b.spread)


def source_keys(basis: Iterable[Basis]) -> list[str]:
    """Keys of all works the facts cite, in notes too, sorted."""
    keys: set[str] = set()
    for b in basis:
        # a fact rests on its source and on what its words cite besides
        cited = re.findall(r"\[([a-z]+\d{4}[a-z0-9]*)\]", f"{b.fact.where} {b.fact.note}")
        keys |= {b.fact.source, *cited}
    return sorted(keys)


def basis_of(thing: str) -> list[Basis]:
    """The facts of a thing as `study_basis` names it, such as "node N2"; none where it is not known here."""
    kind, _, name = thing.partition(" ")
    try:
        if thing in SHARED:
            facts = SHARED[thing]()
        elif kind in KINDS:
            facts = KINDS[kind](name)
        else:
            facts = (receipts_of if kind in FILES else receipts)(kind, name)
        return [Basis(thing, f) for f in facts]
    except DseError:
        return []
