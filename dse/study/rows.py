"""What the constraint ratios of the convex core mean: physical laws, technology, requirements of workloads, limits."""

from __future__ import annotations

import dataclasses
import enum


class Kind(enum.StrEnum):
    """Origin of a limit."""

    LAW = "law"
    TECHNOLOGY = "technology"
    WORKLOAD = "workload"
    USER = "user"
    BOUND = "bound"


@dataclasses.dataclass(frozen=True)
class Row:
    """Meaning of one constraint ratio of the convex core."""

    what: str
    """Physical law, technology limit, requirement of the workload, or metric of the user's limit."""
    kind: Kind
    workload: str = ""
    """Workload of the ratio, or ""."""
    limit: int | None = None
    """Position of the user's limit in the study."""

    @property
    def label(self) -> str:
        """Text in messages, such as "power_W:decode"."""
        return f"{self.what}:{self.workload}" if self.workload else self.what


PHYSICS = (
    Row("V-f law", Kind.LAW), Row("blocks on die", Kind.LAW), Row("shoreline", Kind.TECHNOLOGY),
    Row("reticle", Kind.TECHNOLOGY), Row("interposer", Kind.TECHNOLOGY), Row("stack bandwidth", Kind.TECHNOLOGY),
    Row("stack capacity", Kind.TECHNOLOGY),
)  # fmt: skip
"""Ratios of every study, in the order of `separate`."""
MEMORY = "memory"
"""What a workload fills, over what tensors may fill."""
SENT = Row("switches of the rack", Kind.TECHNOLOGY)
"""What a chip sends within its domain, over what the switches of its rack take; where some system has so many."""
FED = Row("register ports", Kind.TECHNOLOGY)
"""What matrix instructions read from registers, over what the lanes' ports deliver; where instructions feed units."""
SUPPLY = (Row("highest supply", Kind.TECHNOLOGY), Row("lowest supply", Kind.TECHNOLOGY))
"""Supply over what the node allows, and the reverse; where nodes to choose among differ in that, since the box is one
for all of them."""
AHEAD = "read ahead"
"""What a streamed plan holds in SRAM ahead of its use, over what may hold it."""
UNCAPPED_Bps = 1e18
"""More than any chip sends: a number, since a ratio of 0 has no logarithm."""
