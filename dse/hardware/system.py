"""`System`, identical chips in scale-up domains joined by a network, and `Fabric`, the topology of one domain."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx

from ..core.errors import SpecError
from ..core.frames import AbstractShown
from .chip import Chip


class Fabric(eqx.Module):
    """Topology of one scale-up domain. All fields are static structure, none is a free number."""

    kind: str = eqx.field(static=True)
    """"torus" or "switched"."""
    dims: tuple[int, ...] = eqx.field(static=True)
    """Chips per torus axis, innermost first; `(n,)` for a switched domain of n chips."""
    axis_share: tuple[float, ...] = eqx.field(static=True)
    """Share of a chip's scale-up bandwidth on each axis (both ring directions together); sums to 1."""
    in_network_reduction: bool = eqx.field(static=True, default=False)
    """Whether switches reduce (NVLink SHARP), so that an all-reduce moves each byte once."""
    n_leaf_chips: int = eqx.field(static=True, default=0)
    """Chips per group of first-level switches; 0 for one switch level."""
    upper_share: float = eqx.field(static=True, default=1.0)
    """Share of a chip's scale-up bandwidth through the second switch level; 1 if it is non-blocking."""
    upper_hop_s: float = eqx.field(static=True, default=0.0)
    """Extra latency of a message through the second switch level: two more switches and their links."""
    rank_s: float = eqx.field(static=True, default=0.0)
    """Measured latency per rank of a ring across domains, besides its bytes; 0 if not measured."""
    wait_s: float = eqx.field(static=True, default=0.0)
    """Measured host wait per rank before any collective; 0 if not measured."""
    n_ring_chips: int = eqx.field(static=True, default=1)
    """Chips along an axis from which it closes into a ring; a pod that says so is cut into slices, else 1."""

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


def fabric_for(fabric: Fabric, n_chips: int, what: str) -> Fabric:
    """The scale-up domain of `n_chips`: `fabric`, or as many ports of its switches where these hold them all.

    SpecError, which begins with `what`: chips that leave a domain partly empty where that has a shape, or next to full
    ones.
    """
    n = fabric.n_chips
    if n_chips >= 1 and not (n_chips % n and n % n_chips):
        return sliced(fabric, n_chips)
    # a switch has no shape: 64 chips of a rack of 72 are a smaller one
    if 1 <= n_chips < n and fabric.kind == "switched":
        return dataclasses.replace(fabric, dims=(n_chips,))
    fewer = "any number up to" if fabric.kind == "switched" else "a divisor of"
    raise SpecError(f"{what} = {n_chips}: expected a multiple of the domain of {n}, or {fewer} it")


def most_cubic(n: int, n_axes: int) -> tuple[int, ...]:
    """`n_axes` factors of `n`, ascending, with the smallest largest factor (512 in three: 8, 8, 8; 1024: 8, 8, 16)."""
    if n_axes == 1:
        return (n,)
    # the smallest factor is at most the root; every other one comes from what is left
    firsts = [d for d in range(1, n + 1) if n % d == 0 and d**n_axes <= n]
    found = [tuple(sorted((d, *most_cubic(n // d, n_axes - 1)))) for d in firsts]
    # nearest to a cube: the shortest longest ring, then the longest shortest one
    return min(found, key=lambda dims: (dims[-1], -dims[0]))


def sliced(fabric: Fabric, n_chips: int) -> Fabric:
    """A pod's slice of `n_chips`, as square as it gets; `fabric` itself where nothing is cut, or not into slices."""
    if fabric.n_ring_chips == 1 or n_chips >= fabric.n_chips:
        return fabric
    return dataclasses.replace(fabric, dims=most_cubic(n_chips, len(fabric.dims)))


def torus_slice(system: System, n_chips: int) -> System:
    """A slice of `n_chips`, or as many pods as they are. Source: [google2026tpuv5p]."""
    return dataclasses.replace(system, fabric=sliced(system.fabric, n_chips), n_chips=n_chips)
