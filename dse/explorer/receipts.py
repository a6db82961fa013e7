"""Which facts a number on the page rests on: receipts by subject, guesses first."""

from __future__ import annotations

from typing import Any

from ..core.bibliography import publications
from ..core.provenance import KINDS, worst_first
from ..core.text import label, quantity_text, span, unit_of
from ..study.basis import SHARED, Basis, study_basis
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


def receipts_of_choice(subject: Subject, choice: int) -> dict[str, Any]:
    """Every fact behind a design of one choice, by topic, least reliable first, and the works they cite."""
    basis = study_basis(subject.study, subject.study.choices[choice])
    found: dict[str, list[dict[str, str]]] = {t: [] for t in TOPICS}
    order = {id(f): i for i, f in enumerate(worst_first([b.fact for b in basis]))}
    for b in sorted(basis, key=lambda b: order[id(b.fact)]):
        found[topic_of(b)].append(_row(b))
    keys = sorted({b.fact.source for b in basis})
    return {"kinds": KINDS, "topics": found, "works": {w.key: w.title for w in publications(keys)}}


def _row(b: Basis) -> dict[str, str]:
    f = b.fact
    return {
        "thing": b.thing, "name": label(f.name), "value": quantity_text(f.name, f.value), "kind": f.kind,
        "range": span(f.name, f.low, f.high), "source": f.source, "where": f.where, "note": f.note,
    }  # fmt: skip
