"""What a sweep's folder holds after a run, as plain data; apart from the views, which load no JAX."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..sweep.points import Sweep
from ..sweep.results import reasons
from ..sweep.settings import asked
from ..sweep.store import Failure, Store
from .evaluated import stand_in_text


def summary(store: Store, given_up: tuple[Failure, ...] = ()) -> dict[str, Any]:
    """What is in a results folder now, and which shards a run gave up, as plain data."""
    found = reasons(store.folder) if store.present() or store.merged.exists() else {}
    rows = sum(found.values())
    return {
        "sweep": store.sweep.name,
        "folder": str(store.folder),
        "points": store.sweep.size,
        "rows": rows,
        "failed": rows - found.pop("", 0),
        "reasons": found,
        "given_up": [dataclasses.asdict(f) for f in given_up],
        "notes": notes(store.sweep),
    }


def notes(sweep: Sweep) -> list[str]:
    """What products run in where a chip of the sweep lacks the precision that a workload asks for."""
    if sweep.of_studies:
        return []
    said = dict.fromkeys(stand_in_text(w, c) for c, w in asked(sweep.choices, sweep.folder))
    return [f"{x}." for x in said if x]
