"""What a chip family and its software reach, and overheads; where not measured, by its kin and a named prior."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.errors import UnknownNameError
from ..core.frames import AbstractShown
from ..core.provenance import Receipts, Sourced, load_receipts, number, worst_first
from ..core.types import Scalar, as_float
from ..hardware.presets import base_name, chip_names
from ..lowering.collective import Reference
from ..workload.transformer import Training
from .pooled import ALONE, FAMILIES, STEPS, Kin, band, effects, family, receipts

_DATA = Path(__file__).parent / "data"


@cache
def _priors() -> dict[str, Receipts]:
    """Named priors of vendors."""
    return load_receipts(_DATA / "priors.toml")


class Calibration(AbstractShown, eqx.Module):
    """What a software stack gets out of the hardware's peaks."""

    name: str = eqx.field(static=True)
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
    launch_s: Scalar = eqx.field(converter=as_float)
    host_s: Scalar = eqx.field(converter=as_float)
    """Host time to start one kernel; the device waits when it is faster than the host."""
    scaleup_hop_s: Scalar = eqx.field(converter=as_float)
    """Latency of a message inside the scale-up domain."""
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
    dp_overlap_frac: Scalar = eqx.field(converter=as_float)
    drawn_p: Scalar | None = None
    """Takes the place of `overlap_p` where that varies by sample, as an argument of one compiled program."""

    @property
    def exponent(self) -> float | Array:
        """Exponent of the overlap p-norm."""
        return self.overlap_p if self.drawn_p is None else jnp.asarray(self.drawn_p)


def as_argument(c: Calibration) -> Calibration:
    """The calibration without its name and with its exponent as an argument: one compiled program serves many."""
    return dataclasses.replace(c, name="", overlap_p=1.0, drawn_p=np.asarray(c.exponent))


FACTS = tuple(f for f in Calibration.__dataclass_fields__ if f not in ("name", "drawn_p"))
"""What receipts fill."""


def calibration_names() -> list[str]:
    """Names of all priors, and of the fits of all chips and of all stacks that were measured on one."""
    usual = [fit_name(c, usual_stack(c, serves)) for c in chip_names() for serves in (False, True)]
    measured = [f"{FIT}{c}-{s}" for pool in effects().values() for c, s in pool["measured"]]
    return [*_priors(), *dict.fromkeys([*measured, *usual])]


FIT = "fit-"
"""How names of fits begin: `fit-CHIP-STACK`."""


def fit_name(chip_name: str, stack: str) -> str:
    """Name of the pooled calibration of a chip and a software stack."""
    return f"{FIT}{chip_name}-{stack}"


@cache
def chip_and_stack(name: str) -> tuple[str, str]:
    """Chip and stack in the name of a fit, the longest stack that it ends with; "" for both in any other name."""
    ends = [s for s in STACKS if name.startswith(FIT) and name.endswith(f"-{s}")]
    stack = max(ends, key=len, default="")
    return (name[len(FIT) : -len(stack) - 1], stack) if stack else ("", "")


def _facts(name: str) -> Receipts:
    """Receipts of a prior or fit; UnknownNameError for neither."""
    chip_name, stack = chip_and_stack(name)
    if not chip_name:
        if name not in _priors():
            raise UnknownNameError("calibration", name, calibration_names())
        return _priors()[name]
    kin = kin_of(chip_name, stack)
    return receipts(effects()[ALONE if stack == KERNELS else STEPS], kin, _priors()[kin.vendor])


@cache
def calibration(name: str) -> Calibration:
    """The calibration `name`, a prior or `fit-CHIP-STACK` for any chip or family and stack; else UnknownNameError."""
    facts = _facts(name)
    return Calibration(name=name, drawn_p=None, **{f: number(facts, f) for f in FACTS})


def calibration_receipts(name: str) -> list[Sourced]:
    """Receipts of a calibration, guesses first."""
    return worst_first(list(_facts(name).values()))


AbstractShown.receipts_of[Calibration.__name__] = lambda c: calibration_receipts(c.name)


def kin_of(chip_name: str, stack: str) -> Kin:
    """What a chip, or a family named as one, and a software stack have in common with others."""
    prefixes = dict(FAMILIES).get(chip_name)
    if prefixes:
        return Kin(chip_name, chip_name, prior_name(prefixes[0]), stack)
    return Kin(chip_name, family(chip_name), prior_name(chip_name), stack)


SERVING = ("vllm", "neuronx", "trtllm", "fastertransformer", "sglang", "deepspeed", "jetstream")
"""Stacks that serve models; they never time a training step, nor the others a request."""
TRAINING = ("megatron", "megatron-deepspeed", "nanotron", "fsdp", "xla", "neuron")
KERNELS = "kernels"
"""Stack of single operators and collectives, timed alone; it never serves whole steps unless asked for."""
STACKS = (*TRAINING, *SERVING, KERNELS)

LIBRARY_ONLY = ("fastertransformer", "deepspeed")
"""Stacks whose all-reduces are those of a library unless asked otherwise: they have no direct exchange."""
FIXED_SHAPES = ("neuronx",)
"""Stacks that compile for one length: attention over all of it, padded prompts, shapes whatever experts are chosen."""

USUAL = {"prior-neuron": ("neuron", "neuronx"), "prior-tpu": ("xla", "jetstream")}
"""Stacks that usually train and serve on chips of a vendor; Megatron and vLLM elsewhere."""


def usual_stack(chip_name: str, serves: bool) -> str:
    """The stack that usually serves models on a chip, or trains them."""
    return USUAL.get(prior_name(chip_name), (TRAINING[0], SERVING[0]))[serves]


def default_calibration(chip_name: str, stack: str = "") -> Calibration:
    """The pooled calibration of a chip, or a name that begins as one, and a stack, by default the training one.

    UnknownNameError for a chip of no known vendor.
    """
    return calibration(fit_name(chip_name, stack or usual_stack(chip_name, serves=False)))


def calibration_for(chip_name: str, workload: object) -> Calibration:
    """The one rule where nobody names a stack: a chip takes its usual one, to train or to serve."""
    return default_calibration(chip_name, usual_stack(chip_name, serves=not isinstance(workload, Training)))


def measured_band(c: Calibration, trains: bool) -> tuple[str, float] | None:
    """What is new about a fit's chip and stack, and the factor either way that holds 80 % of unseen measurements.

    None for a prior; `trains` tells a training step from a request.
    """
    chip_name, stack = chip_and_stack(c.name)
    if not stack:
        return None
    novelty, width = band("training" if trains else "inference", kin_of(chip_name, stack))
    return novelty, math.exp(width)


def prior_calibration(chip_name: str) -> Calibration:
    """The named prior of a chip's vendor; there is no fallback for a vendor without one."""
    return calibration(prior_name(chip_name))


PRIORS = {
    "prior-neuron": ("trainium", "inferentia"),
    "prior-tpu": ("tpu",),
    "prior-cuda": (
        "a100", "a800", "a40", "l40", "rtx-pro", "h100", "b200", "h200", "h800", "h20", "gh200", "gb200", "gb300",
        "b300", "p100", "v100", "rubin",
    ),
    "prior-rocm": ("mi",),
    "prior-gaudi": ("gaudi",),
    "prior-guess": ("maia", "mtia"),
}  # fmt: skip
"""Prior of a vendor and the prefixes of its chips' names."""


def prior_name(chip_name: str) -> str:
    """Name of the prior of a chip's vendor; UnknownNameError for a chip of no known vendor."""
    named = base_name(chip_name)
    found = next((prior for prior, prefixes in PRIORS.items() if named.startswith(prefixes)), None)
    if found is None:
        raise UnknownNameError("calibration for chip", chip_name, list(_priors()))
    return found


def on_stack(ref: Reference, stack: str) -> Reference:
    """`ref` with what the software of `stack` does and lacks."""
    return dataclasses.replace(ref, has_direct=stack not in LIBRARY_ONLY, fixed_shapes=stack in FIXED_SHAPES)


def reference_speeds(c: Calibration, up_Bps: float, out_Bps: float) -> Reference:
    """Achievable link speeds of a chip with these peaks, for choosing collective algorithms, on the fit's stack."""
    speeds = Reference(
        up_Bps * float(c.scaleup_frac), out_Bps * float(c.scaleout_frac), float(c.scaleup_hop_s),
        float(c.scaleout_hop_s), float(c.collective_s), float(c.exchange_s),
    )  # fmt: skip
    return on_stack(speeds, chip_and_stack(c.name)[1])


BETTER_LOW = tuple(f for f in FACTS if f.endswith("_s"))
"""Numbers whose low end is the good one: all times."""


def extreme(name: str, good: bool) -> Calibration:
    """The calibration `name` with every number at the good or bad end of its receipt's range."""
    facts = _facts(name)
    ends = {f: facts[f].low if (f in BETTER_LOW) == good else facts[f].high for f in FACTS}
    return Calibration(name=f"{name} {'optimistic' if good else 'pessimistic'}", drawn_p=None, **ends)
