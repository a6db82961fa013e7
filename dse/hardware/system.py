"""A system: chips, the scale-up domain they share and the network beyond."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx

from ..core.frames import AbstractShown
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
    n_leaf_chips: int = eqx.field(static=True, default=0)
    """Chips behind one group of first-level switches; 0 where one level joins all."""
    upper_share: float = eqx.field(static=True, default=1.0)
    """Share of a chip's scale-up bandwidth that the second level of switches carries; 1 where it does not block."""
    upper_hop_s: float = eqx.field(static=True, default=0.0)
    """What a message takes longer through the second level: two more switches and the links to them."""
    rank_s: float = eqx.field(static=True, default=0.0)
    """What each rank adds to a ring between domains beside its bytes, where a run timed that; 0 elsewhere."""
    wait_s: float = eqx.field(static=True, default=0.0)
    """What the host waits for each rank before any collective, where a run timed that; 0 elsewhere."""

    @property
    def n_chips(self) -> int:
        """Chips in one scale-up domain."""
        return math.prod(self.dims)


class System(AbstractShown, eqx.Module):
    """Identical chips in scale-up domains joined by a scale-out network."""

    name: str = eqx.field(static=True)
    chip: Chip
    fabric: Fabric
    n_chips: int = eqx.field(static=True)


def most_cubic(n: int, n_axes: int) -> tuple[int, ...]:
    """Factors of `n`, ascending, one per axis, whose longest is least (512 in three: 8, 8, 8; 1024: 8, 8, 16)."""
    if n_axes == 1:
        return (n,)
    firsts = [d for d in range(1, n + 1) if n % d == 0 and d**n_axes <= n]
    found = [(d, *most_cubic(n // d, n_axes - 1)) for d in firsts]
    return min(found, key=lambda dims: (dims[-1], -dims[0]))


def torus_slice(system: System, n_chips: int) -> System:
    """`n_chips` of a torus that optical switches connect: a torus as cubic as can be. Source: [google2026tpuv5p]."""
    fabric = system.fabric
    if fabric.kind != "torus" or n_chips > fabric.n_chips:
        return dataclasses.replace(system, n_chips=n_chips)
    dims = most_cubic(n_chips, len(fabric.dims))
    return dataclasses.replace(system, fabric=dataclasses.replace(fabric, dims=dims), n_chips=n_chips)
