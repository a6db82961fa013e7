"""Plans whose ranks are the (logical) cores of chips: lowered on devices, as measured rows are, and told per chip."""

from __future__ import annotations

import dataclasses
import math

from ..hardware.devices import core_counts, per_device
from ..hardware.system import System
from .collective import Reference
from .plan import Plan
from .step_demand import StepDemand, TrafficDemand

WHOLE_CHIP = (
    "linear_cycles", "narrow_cycles", "attention_cycles", "hbm_B", "reuse_half", "reuse_one", "vector_elements",
    "starting_B", "macs",
)  # fmt: skip
"""Work of an operator that is done once on every core at the same time; what it waits for is not."""
STREAMED = ("hbm_B", "reuse_half", "reuse_one", "ahead_B")


def ranks_of(plan: Plan, system: System) -> tuple[System, int]:
    """`system` as the ranks of `plan` see it, and how many of them a chip has: 1 unless they count its cores."""
    size = plan.tp * plan.cp * plan.pp * plan.dp
    for per_chip in core_counts(system.chip) if size > system.n_chips else ():
        if size == per_chip * system.n_chips:
            cut = per_device(system, per_chip, size)
            return dataclasses.replace(cut, name=f"{system.name} by cores"), per_chip
    return system, 1


def core_reference(ref: Reference, per_chip: int) -> Reference:
    """`ref` of a chip as one of its `per_chip` ranks has it: see `per_device`."""
    if per_chip == 1:
        return ref
    up_Bps, out_Bps = 2 * ref.up_Bps / per_chip, ref.out_Bps / per_chip
    return dataclasses.replace(ref, up_Bps=up_Bps, out_Bps=out_Bps, ranks_are_cores=True)


def on_chip(d: StepDemand, per_chip: int) -> StepDemand:
    """What `per_chip` ranks ask of the chip whose cores they are at once, each of which asks `d` of its own share.

    On the chip it takes as long as `d` on a device of `per_device`, whose rates are smaller by as much as this is more.
    """
    if per_chip == 1:
        return d
    k = float(per_chip)
    ops = dataclasses.replace(
        d.ops, **{f: getattr(d.ops, f) * k for f in WHOLE_CHIP},
        # it is over the root of the number of tile memories, of which a rank has but its own
        spread_B=d.ops.spread_B * math.sqrt(k),
    )  # fmt: skip
    stream = dataclasses.replace(d.stream, **{f: getattr(d.stream, f) * k for f in STREAMED})
    links = {name: _on_links(t, k) for name, (_, t) in d.traffics.items()}
    held = {f: getattr(d, f) * k for f in ("macs", "memory_B", "optimizer_B", "model_FLOP")}
    return dataclasses.replace(d, ops=ops, stream=stream, **links, **held)


def _on_links(t: TrafficDemand, k: float) -> TrafficDemand:
    # a device has twice its share of links: those inside the chip are an axis of their own
    return dataclasses.replace(t, up_B=t.up_B * (k / 2), out_B=t.out_B * k, sent_B=t.sent_B * k)
