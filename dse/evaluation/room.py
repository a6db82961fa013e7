"""How many chips a model takes: one scale-up domain, or as many domains as hold it."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import RoomError
from ..hardware.system import System
from ..lowering.plan import Plan
from ..workload.transformer import Workload
from .breakdown import Finding, find

DOMAINS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Domains tried in turn, each a half or a third more than the last, so that an answer is at most that far from the
fewest; 64 servers of 8 chips hold the training state of the largest model that comes with the package."""


def find_room(
    system_at: Callable[[int], System], n_domain: int, workload_at: Callable[[int], Workload], plan: Plan | None
) -> tuple[Finding, str]:
    """As `find`, on the first number of `DOMAINS` that holds the model, and what was too few in words.

    Returns:
        The finding, and a sentence for the user: empty where one domain holds the model. A plan says itself how many
        chips it is for, so that one domain is all that is tried.

    Raises:
        RoomError: nothing tried holds it; of one domain, which says by how much.
        PlanError: as `evaluate`.
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
