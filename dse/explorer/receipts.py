"""Receipts behind each number on the page, guesses first, and those of measurements."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from ..calibrate.measurements import read
from ..calibrate.published import preset_for
from ..core.bibliography import publications
from ..core.provenance import KINDS, worst_first
from ..core.text import label, quantity_text, span, unit_of
from ..economy.presets import rents
from ..explore.unknowns import scope_of
from ..hardware.own_chip import is_own
from ..study.basis import SHARED, Basis, basis_of, chip_basis, storage_basis, study_basis
from .subject import Subject

TOPICS = ("time", "power", "area", "money")
"""What numbers on the page are about."""
SPENT = ("J", "W", "V", "J_per_B", "J_per_B_per_mm", "W_per_B", "W_per_mm2", "W_per_stack", "per_V")
"""Units of facts about power."""
OF_MONEY = ("yield", "defect", "clustering", "margin", "price", "bond")
"""Words in names of facts about money that have another unit."""
TECHNOLOGY = {"node": "node", "memory": "hbm", "link": "link"}
"""Kinds of technology, each with the fact of a chip that names its own."""


def topic_of(b: Basis) -> str:
    """What a fact mostly decides: one of `TOPICS`."""
    unit, name = unit_of(b.fact.name), b.fact.name
    # defects of an area decide the yield, which is money
    if "USD" in name or any(w in name for w in OF_MONEY) or unit == "per_mm2":
        return "money"
    if b.thing in SHARED or b.thing.startswith(("calibration", "storage")):
        return "time"
    if unit in SPENT:
        return "power"
    if unit.startswith("mm"):
        return "area"
    return "time" if b.thing.startswith(("chip", "memory", "link")) else "area"


OF_POWER = {"W", "J", "V", "carbon"}
"""Words in names of metrics about power."""
OF_SILICON = ("sram_B",)
"""Metrics without an area in their name that are about silicon."""


def topic_of_metric(name: str) -> str:
    """Whose facts a metric mostly rests on: one of `TOPICS`."""
    words = set(name.split("_"))
    if "USD" in words:
        return "money"
    if words & OF_POWER:
        return "power"
    return "area" if "mm2" in words or name in OF_SILICON else "time"


def topic_of_row(label: str) -> str:
    """The same for a row of technology or memory, by its label."""
    return "time" if label.startswith(("memory", "read ahead")) else "area"


def receipts_of_chip(name: str) -> dict[str, Any]:
    """Every fact of a chip that exists or of one's own file, least reliable first, and the works they cite."""
    basis = chip_basis(name)
    return {"rows": rows_of(basis), "works": _works(basis)}


def receipts_of_choice(subject: Subject, choice: int) -> dict[str, Any]:
    """Every fact behind a design of one choice, by topic, least reliable first, and the works they cite."""
    return {"kinds": KINDS, **by_topic(study_basis(subject.study, subject.study.choices[choice]))}


def receipts_of_served(chip: str, system: str, calibration: str, *stored: str) -> dict[str, Any]:
    """Every fact behind the serving curve of a chip, by topic, and the works they cite; rents are about money.

    `stored`: how weights and cache are, as in `storage_basis`.
    """
    own = chip_basis(chip)
    made = {b.fact.name: str(b.fact.value) for b in own}
    parts = [f"{kind} {made[fact]}" for kind, fact in TECHNOLOGY.items() if fact in made]
    named = [f"system {system}"] if not is_own(system) else []
    facts = [b for thing in (*named, f"calibration {calibration}", *SHARED, *parts) for b in basis_of(thing)]
    paid = [Basis(f"rent of {chip}", f) for f in rents(chip).values()]
    return by_topic([*own, *facts, *storage_basis(*stored), *paid])


def receipts_of_unknowns(subject: Subject, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The facts that each unknown of a risk study stands for: one of every thing that shares its draw."""
    found: dict[str, list[Basis]] = {n: [] for n in names}
    for b in study_basis(subject.study, None):
        kind, _, thing = b.thing.partition(" ")
        drawn = f"{scope_of(kind, thing) if thing else kind}: {b.fact.name}"
        if drawn in found:
            found[drawn].append(b)
    return {n: {"rows": rows_of(basis), "works": _works(basis)} for n, basis in found.items()}


def by_topic(basis: list[Basis]) -> dict[str, Any]:
    """Facts by topic, least reliable first, and the works they cite."""
    each = {t: [b for b in basis if topic_of(b) == t] for t in TOPICS}
    return {"topics": {t: rows_of(some) for t, some in each.items()}, "works": _works(basis)}


def rows_of(basis: list[Basis]) -> list[dict[str, str]]:
    """Facts as a page shows them, least reliable first."""
    # by identity: two things may have equal facts
    order = {id(f): i for i, f in enumerate(worst_first([b.fact for b in basis]))}
    return [_row(b) for b in sorted(basis, key=lambda b: order[id(b.fact)])]


def _works(basis: list[Basis]) -> dict[str, str]:
    return {w.key: w.title for w in publications(sorted({b.fact.source for b in basis}))}


def _row(b: Basis) -> dict[str, str]:
    f = b.fact
    return {
        "thing": b.thing, "name": label(f.name), "value": quantity_text(f.name, f.value), "kind": f.kind,
        "range": span(f.name, f.low, f.high), "source": f.source, "where": f.where, "note": f.note,
    }  # fmt: skip


@cache
def receipts_of_measurements(kind: str) -> dict[str, Any]:
    """Shipped measurements of a kind as receipts, a row for each source and chip; UnknownNameError for another kind."""
    rows = read(kind)
    each = rows.groupby(["source", "chip", "source_url", "year"], sort=True).size()
    found = [_measured_row(str(s), str(c), str(url), int(year), int(n)) for (s, c, url, year), n in each.items()]  # type: ignore[misc]
    return {"rows": found, "works": {}}


def _measured_row(source: str, published: str, url: str, year: int, n: int) -> dict[str, str]:
    preset = preset_for(published)
    return {
        "thing": published, "name": f"{n:,} published {'value' if n == 1 else 'values'}", "value": str(year),
        "kind": "measured", "range": "", "source": source, "where": url, "note": "",
        "chip": preset[0] if preset else published,
    }  # fmt: skip
