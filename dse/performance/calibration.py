"""Achievable fractions and overheads of a chip family and its software: at most a dozen numbers, never literals.

Uncalibrated families inherit a *named* prior, and every report says so.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import equinox as eqx

from ..core.errors import UnknownNameError
from ..core.provenance import Sourced, load_receipts, number, pick, worst_first
from ..core.types import Scalar, as_float
from .collective import Reference

_FILE = Path(__file__).parent / "data" / "priors.toml"


class Calibration(eqx.Module):
    """What a software stack gets out of the hardware's peaks."""

    name: str = eqx.field(static=True)
    """Name of the prior or fit."""
    overlap_p: float = eqx.field(static=True)
    """Exponent that joins compute, memory, vector and DMA time of one operator: 1 is no overlap."""
    matmul_frac: Scalar = eqx.field(converter=as_float)
    """Large matrix products, over the peak."""
    hbm_frac: Scalar = eqx.field(converter=as_float)
    """Sustained memory bandwidth, over the peak."""
    vector_frac: Scalar = eqx.field(converter=as_float)
    """Sustained element rate, over the peak."""
    tile_memory_frac: Scalar = eqx.field(converter=as_float)
    """Tile memory that holds one operand set; the rest double-buffers."""
    scaleup_frac: Scalar = eqx.field(converter=as_float)
    """Sustained scale-up speed, over one direction's peak."""
    scaleout_frac: Scalar = eqx.field(converter=as_float)
    """Sustained network speed, over one direction's peak."""
    launch_s: Scalar = eqx.field(converter=as_float)
    """Start of one kernel that nothing hides."""
    scaleup_hop_s: Scalar = eqx.field(converter=as_float)
    """One scale-up message."""
    scaleout_hop_s: Scalar = eqx.field(converter=as_float)
    """One network message."""
    tp_overlap_frac: Scalar = eqx.field(converter=as_float)
    """Tensor-parallel traffic that can run beside matrix products."""
    dp_overlap_frac: Scalar = eqx.field(converter=as_float)
    """Data-parallel traffic that can run beside the last backward pass."""


def calibration_names() -> list[str]:
    """Names of all priors and fits."""
    return list(load_receipts(_FILE))


@cache
def calibration(name: str) -> Calibration:
    """The calibration called `name`.

    Raises:
        UnknownNameError: no such calibration; offers near matches.
    """
    facts = pick(load_receipts(_FILE), "calibration", name)
    values = {f: number(facts, f) for f in Calibration.__dataclass_fields__ if f != "name"}
    return Calibration(name=name, **values)


def calibration_receipts(name: str) -> list[Sourced]:
    """Receipts of a calibration, guesses first."""
    return worst_first(list(pick(load_receipts(_FILE), "calibration", name).values()))


def default_calibration(chip_name: str) -> Calibration:
    """The named prior of a chip's family; there is no fallback for a family without one."""
    for prefix, prior in {
        "trainium": "prior-neuron", "inferentia": "prior-neuron", "tpu": "prior-tpu",
        "a100": "prior-cuda", "h100": "prior-cuda", "b200": "prior-cuda",
        "h20": "prior-cuda", "h800": "prior-cuda", "gh200": "prior-cuda",
        "b300": "prior-cuda", "gb200": "prior-cuda", "gb300": "prior-cuda",
        "mi": "prior-rocm", "gaudi": "prior-gaudi", "maia": "prior-guess", "mtia": "prior-guess",
    }.items():  # fmt: skip
        if chip_name.startswith(prefix):
            return calibration(prior)
    raise UnknownNameError("calibration for chip", chip_name, calibration_names())


def reference_speeds(calibration_: Calibration, up_Bps: float, out_Bps: float) -> Reference:
    """Achievable link speeds of a chip with these peaks, for choosing collective algorithms."""
    c = calibration_
    return Reference(
        up_Bps * float(c.scaleup_frac),
        out_Bps * float(c.scaleout_frac),
        float(c.scaleup_hop_s),
        float(c.scaleout_hop_s),
    )


BETTER_LOW = ("launch_s", "scaleup_hop_s", "scaleout_hop_s")
"""Numbers whose low end is the good one."""


def extreme(name: str, good: bool) -> Calibration:
    """The calibration `name` with every number at the good or bad end of its receipt's range."""
    facts = pick(load_receipts(_FILE), "calibration", name)
    ends = {}
    for field in Calibration.__dataclass_fields__:
        if field != "name":
            low_is_wanted = (field in BETTER_LOW) == good
            ends[field] = facts[field].low if low_is_wanted else facts[field].high
    return Calibration(name=f"{name} {'optimistic' if good else 'pessimistic'}", **ends)
