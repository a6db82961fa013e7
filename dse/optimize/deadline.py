"""Time limit of a search: one clock shared by all its parts, and a record of what was left undone.

It is checked between batches, so that an interrupted search returns a complete answer to a smaller problem.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

from ..core.errors import SpecError


@dataclasses.dataclass
class Deadline:
    """The time that a search has; it runs from the first question on, so that compiling is not counted."""

    limit_s: float = math.inf
    clock: Callable[[], float] = time.monotonic
    """Seconds of a clock that never goes back."""
    began_s: float | None = None
    """When the first question came."""
    undone: list[str] = dataclasses.field(default_factory=list)
    """What searches left out because time was up, in words."""

    def __post_init__(self) -> None:
        if not self.limit_s > 0:
            raise SpecError(f"seconds {self.limit_s:g}: must be positive")

    @property
    def spent_s(self) -> float:
        """Time since the first question; 0 before it."""
        return 0.0 if self.began_s is None else self.clock() - self.began_s

    def over(self, undone: str = "") -> bool:
        """Whether time is up. To be asked after a batch, when more is left: `undone` then says what that is."""
        # the clock starts with the first question: lowering and compiling come before it, and are no search
        if self.began_s is None:
            self.began_s = self.clock()
        if self.spent_s < self.limit_s:
            return False
        if undone and undone not in self.undone:
            self.undone.append(undone)
        return True


def check_stop(gap_frac: float, limit_s: float) -> None:
    """Refuse a gap or a time that no search could stop at."""
    if not (gap_frac > 0 and limit_s > 0):
        raise SpecError(f"gap {gap_frac:g}, seconds {limit_s:g}: both must be positive")
