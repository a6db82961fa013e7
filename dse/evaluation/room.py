"""How many chips a model takes: one scale-up domain, or as many domains as hold it."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import RoomError
from ..hardware.system import System
from ..lowering.plan import Plan
from ..workload.transformer import Workload
from .breakdown import Finding, find

DOMAINS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Domains tried in turn, each a half or a third more: an answer is at most that far from the fewest."""


def find_room(
    system_at: Callable[[int], System], n_domain: int, workload_at: Callable[[int], Workload], plan: Plan | None
) -> tuple[Finding, str]:
    """As `find`, on the first number of `DOMAINS` that holds the model (one with a plan), and what was too few.

    RoomError where nothing tried holds it (of one domain, by how much); PlanError as `evaluate`.
    """
    first: RoomError | None = None
    few = 0
    for n in (k * n_domain for k in (DOMAINS if plan is None else DOMAINS[:1])):
        try:
            found = find(system_at(n), workload_at(n), plan)
        except RoomError as error:
            first, few = first or error, n
            continue
        told = f"{few:,} x {found.system.chip.name} do not hold {found.workload.model.name}: it takes {n:,}, shown here"
        return found, told if few else ""
    assert first is not None
    raise first
