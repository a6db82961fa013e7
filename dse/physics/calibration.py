"""Achievable fractions and overheads of a chip family and its software: at most a dozen numbers, never literals.

Uncalibrated families inherit a *named* prior, and every report says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import equinox as eqx

from ..core.errors import UnknownNameError
from ..core.provenance import Receipts, Sourced, load_receipts, number, pick, worst_first
from ..core.types import Scalar, as_float
from ..lowering.collective import Reference
from ..workload.transformer import Training

_DATA = Path(__file__).parent / "data"


@cache
def _all() -> dict[str, Receipts]:
    """Priors and fits."""
    return {**load_receipts(_DATA / "priors.toml"), **load_receipts(_DATA / "fits.toml")}


class Calibration(eqx.Module):
    """What a software stack gets out of the hardware's peaks."""

    name: str = eqx.field(static=True)
    """Name of the prior or fit."""
    overlap_p: float = eqx.field(static=True)
    """Exponent that joins compute, memory, vector and DMA time of one operator: 1 is no overlap."""
    matmul_frac: Scalar = eqx.field(converter=as_float)
    """Large matrix products, over the peak."""
    narrow_frac: Scalar = eqx.field(converter=as_float)
    """Large matrix products in 8 bit and narrower, over their peak."""
    attention_frac: Scalar = eqx.field(converter=as_float)
    """Products of fused attention, over the 16-bit peak."""
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
    """Gap between two kernels on the device."""
    host_s: Scalar = eqx.field(converter=as_float)
    """Host time to start one kernel; the device waits when it is faster than the host."""
    scaleup_hop_s: Scalar = eqx.field(converter=as_float)
    """Latency of a message inside the scale-up domain."""
    sync_hop_s: Scalar = eqx.field(converter=as_float)
    """One ring step of tensor ranks that a pipeline keeps from being queued ahead."""
    scaleout_hop_s: Scalar = eqx.field(converter=as_float)
    """Latency of a message over the scale-out network."""
    collective_s: Scalar = eqx.field(converter=as_float)
    """Start of a library's all-reduce in a scale-up domain, before its first hop."""
    exchange_s: Scalar = eqx.field(converter=as_float)
    """One direct exchange of all ranks behind a switch (a one-shot all-reduce is one)."""
    call_s: Scalar = eqx.field(converter=as_float)
    """What a serving loop spends per pass beside the device's work: schedule, start, sample, hand out."""
    request_s: Scalar = eqx.field(converter=as_float)
    """What a serving loop spends before the first token of a request beside its passes."""
    tp_overlap_frac: Scalar = eqx.field(converter=as_float)
    """Tensor-parallel traffic that can run beside matrix products."""
    dp_overlap_frac: Scalar = eqx.field(converter=as_float)
    """Data-parallel traffic that can run beside the last backward pass."""


def calibration_names() -> list[str]:
    """Names of all priors and fits."""
    return list(_all())


@cache
def calibration(name: str) -> Calibration:
    """The calibration called `name`.

    Raises:
        UnknownNameError: no such calibration; offers near matches.
    """
    facts = pick(_all(), "calibration", name)
    values = {f: number(facts, f) for f in Calibration.__dataclass_fields__ if f != "name"}
    return Calibration(name=name, **values)


def calibration_receipts(name: str) -> list[Sourced]:
    """Receipts of a calibration, guesses first."""
    return worst_first(list(pick(_all(), "calibration", name).values()))


FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ampere", ("a100",)),
    ("hopper", ("h100", "h200", "h800", "h20", "gh200")),
    ("blackwell", ("b200", "gb200", "b300", "gb300")),
    ("cdna", ("mi",)),
    ("trainium1", ("trainium1", "inferentia2")),
    ("tpu", ("tpu",)),
    ("gaudi", ("gaudi",)),
)
"""Family and the prefixes of its chips' names: chips that share a core design and a compiler generation."""

USUAL = "megatron"
"""Stack whose fit serves a stack without measurements on the same family."""


def family(chip_name: str) -> str:
    """Family of a chip; a chip of no family is its own."""
    return next((f for f, prefixes in FAMILIES if chip_name.startswith(prefixes)), chip_name)


SERVING = ("vllm", "neuronx", "trtllm", "fastertransformer", "sglang", "deepspeed", "jetstream")
"""Stacks that serve models, the usual ones first; they never time a training step, nor the others a request."""


def serving_name(names: Iterable[str], chip_name: str, stack: str) -> str | None:
    """Which of the fits `names` serves a chip and stack: their own, the family's usual stack, any of it, or None.

    A chip's own numbers on the stack come before its family's. Stacks that train and stacks that serve do not stand in
    for each other.
    """
    start, serves = f"fit-{family(chip_name)}-", stack in SERVING
    mine = sorted(n for n in names if n.startswith(start) and (n.removeprefix(start) in SERVING) == serves)
    mine = [n for n in mine if not n.endswith(f"-{KERNELS}")]
    usual = [start + s for s in (SERVING if serves else (USUAL,))]
    for name in (f"{start}{stack}-{chip_name}", start + stack, *usual, *mine):
        if name in names:
            return name
    return None


KERNELS = "kernels"
"""Stack of single operators and collectives, timed alone; it never serves whole steps unless asked for."""


def default_calibration(chip_name: str, stack: str = USUAL) -> Calibration:
    """The fit that serves a chip and software stack, or the named prior of the chip's family if nothing is fitted."""
    fitted = serving_name(set(calibration_names()), chip_name, stack)
    return calibration(fitted) if fitted else prior_calibration(chip_name)


def calibration_for(chip_name: str, workload: object) -> Calibration:
    """The one rule: a chip that trains takes the usual training stack, a chip that serves the usual serving stack.

    Prefill, decode and a model in service all serve.

    What a user names, or a measurement says it ran on, takes precedence and is no matter of this rule.
    """
    return default_calibration(chip_name, USUAL if isinstance(workload, Training) else SERVING[0])


def prior_calibration(chip_name: str) -> Calibration:
    """The named prior of a chip's family; there is no fallback for a family without one."""
    for prefix, prior in {
        "trainium": "prior-neuron", "inferentia": "prior-neuron", "tpu": "prior-tpu",
        "a100": "prior-cuda", "h100": "prior-cuda", "b200": "prior-cuda",
        "h200": "prior-cuda", "h800": "prior-cuda", "h20": "prior-cuda", "gh200": "prior-cuda",
        "gb200": "prior-cuda", "gb300": "prior-cuda", "b300": "prior-cuda",
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
        float(c.collective_s),
        float(c.exchange_s),
    )


BETTER_LOW = (
    "launch_s", "host_s", "sync_hop_s", "scaleup_hop_s", "scaleout_hop_s", "collective_s", "exchange_s", "call_s",
    "request_s",
)  # fmt: skip
"""Numbers whose low end is the good one."""


def extreme(name: str, good: bool) -> Calibration:
    """The calibration `name` with every number at the good or bad end of its receipt's range."""
    facts = pick(_all(), "calibration", name)
    ends = {}
    for field in Calibration.__dataclass_fields__:
        if field != "name":
            low_is_wanted = (field in BETTER_LOW) == good
            ends[field] = facts[field].low if low_is_wanted else facts[field].high
    return Calibration(name=f"{name} {'optimistic' if good else 'pessimistic'}", **ends)
