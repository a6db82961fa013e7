"""Which facts a number on the page rests on: receipts by subject, guesses first."""

from __future__ import annotations

from typing import Any

from ..core.bibliography import publications
from ..core.provenance import KINDS, worst_first
from ..core.text import label, quantity_text, span, unit_of
from ..study.basis import SHARED, Basis, chip_basis, study_basis
from .subject import Subject

TOPICS = ("time", "power", "area", "money")
"""What numbers on the page are about."""
SPENT = ("J", "W", "V", "J_per_B", "J_per_B_per_mm", "W_per_B", "W_per_mm2", "W_per_stack", "per_V")
"""Units of facts about power."""
OF_MONEY = ("yield", "defect", "clustering", "margin", "price", "bond")
"""Words in names of facts about money that have another unit."""


def topic_of(b: Basis) -> str:
    """What a fact mostly decides: one of `TOPICS`."""
    unit, name = unit_of(b.fact.name), b.fact.name
    if "USD" in name or any(w in name for w in OF_MONEY) or unit == "per_mm2":
        return "money"
    if b.thing in SHARED or b.thing.startswith("calibration"):
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
    return {"rows": [_row(b) for b in basis], "works": _works(basis)}


def receipts_of_choice(subject: Subject, choice: int) -> dict[str, Any]:
    """Every fact behind a design of one choice, by topic, least reliable first, and the works they cite."""
    basis = study_basis(subject.study, subject.study.choices[choice])
    found: dict[str, list[dict[str, str]]] = {t: [] for t in TOPICS}
    order = {id(f): i for i, f in enumerate(worst_first([b.fact for b in basis]))}
    for b in sorted(basis, key=lambda b: order[id(b.fact)]):
        found[topic_of(b)].append(_row(b))
    return {"kinds": KINDS, "topics": found, "works": _works(basis)}


def _works(basis: list[Basis]) -> dict[str, str]:
    """Titles of what facts cite, by key."""
    return {w.key: w.title for w in publications(sorted({b.fact.source for b in basis}))}


def _row(b: Basis) -> dict[str, str]:
    f = b.fact
    return {
        "thing": b.thing, "name": label(f.name), "value": quantity_text(f.name, f.value), "kind": f.kind,
        "range": span(f.name, f.low, f.high), "source": f.source, "where": f.where, "note": f.note,
    }  # fmt: skip
