"""Devices: what software counts as a rank where that is not a chip but one of its (logical) cores.

A device has its share of all that the chip has, and a system of devices is a system like any other.
"""

from __future__ import annotations

import dataclasses

from ..core.errors import DseError
from ..core.provenance import number
from .chip import Chip
from .presets import chip_receipts
from .system import System, torus_slice

LOGICAL = "n_logical_cores"
"""Fact of chips whose software counts cores as ranks: how many it shows, and at most at the end of its range."""


def core_counts(chip: Chip) -> tuple[int, ...]:
    """Ranks that software may see in each `chip` instead of one, its usual number first; none where it counts chips.

    Source: [aws2026lnc]: a logical core is one or two physical ones; the receipts of `LOGICAL` have each chip's.
    """
    try:
        facts = {f.name: f for f in chip_receipts(chip.name)}
    except DseError:  # a design has no file: nobody has said what its software counts
        return ()
    if LOGICAL not in facts:
        return ()
    # a chip made from another may have a number of cores that no longer divides
    settings = (number(facts, LOGICAL), facts[LOGICAL].high)
    return tuple(dict.fromkeys(int(n) for n in settings if float(chip.n_cores) % n == 0))


def per_device(system: System, per_chip: int, n_devices: int) -> System:
    """`system` cut into devices of 1/per_chip of a chip: the innermost axis, as fast as all links (a guess)."""
    if per_chip == 1:
        return torus_slice(system, n_devices)
    # of twice the links, shared in halves, the new axis has as much as all links had, and the old ones what they had
    c, k = system.chip, float(per_chip)
    chip = dataclasses.replace(
        c, n_cores=c.n_cores / k, n_stacks=c.n_stacks / k, hbm_bandwidth_Bps=c.hbm_bandwidth_Bps / k,
        hbm_capacity_B=c.hbm_capacity_B / k, scaleup_bandwidth_per_dir_Bps=2 * c.scaleup_bandwidth_per_dir_Bps / k,
        scaleout_bandwidth_per_dir_Bps=c.scaleout_bandwidth_per_dir_Bps / k,
    )  # fmt: skip
    fabric = system.fabric
    if fabric.kind == "switched":
        return System(system.name, chip, dataclasses.replace(fabric, dims=(fabric.n_chips * per_chip,)), n_devices)
    # where short axes have no links around they run at half speed; the one inside a chip is no axis of a pod
    inner = 0.5 if per_chip >= fabric.n_ring_chips else 1.0
    shares = (inner, *(0.5 * s for s in fabric.axis_share))
    cut = dataclasses.replace(fabric, dims=(per_chip, *fabric.dims), axis_share=shares)
    return System(system.name, chip, cut, n_devices)
