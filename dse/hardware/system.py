"""A system: chips, the scale-up domain they share and the network beyond."""

from __future__ import annotations

import equinox as eqx
import numpy as np

from .chip import Chip


class Fabric(eqx.Module):
    """How the chips of one scale-up domain are joined. All fields are structure, none is free."""

    kind: str = eqx.field(static=True)
    """"torus" or "switched"."""
    dims: tuple[int, ...] = eqx.field(static=True)
    """Torus lengths per axis, innermost first; `(n,)` for a switched domain."""
    axis_share: tuple[float, ...] = eqx.field(static=True)
    """Share of a chip's scale-up bandwidth on each axis (both directions of a ring); sums to 1."""
    in_network_reduction: bool = eqx.field(static=True, default=False)
    """Whether switches add up (NVLink SHARP): an all-reduce then moves each byte once."""

    @property
    def n_chips(self) -> int:
        """Chips in one scale-up domain."""
        return int(np.prod(self.dims))


class System(eqx.Module):
    """Identical chips in scale-up domains joined by a scale-out network."""

    name: str = eqx.field(static=True)
    """Preset name, such as "trn2-ultraserver"."""
    chip: Chip
    """The chip."""
    fabric: Fabric
    """The scale-up domain."""
    n_chips: int = eqx.field(static=True)
    """Chips in the whole system."""
