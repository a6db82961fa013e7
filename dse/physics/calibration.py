"""`Calibration`: achievable fractions of peak rates and software overheads, fitted by chip and software stack."""

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
from .pooled import ALONE, CLOCK, FAMILIES, PRIORS, STEPS, Kin, band, effects, family, receipts
from .throttle import at_clock

_DATA = Path(__file__).parent / "data"


@cache
def _priors() -> dict[str, Receipts]:
    """Named priors of vendors."""
    return load_receipts(_DATA / "priors.toml")


class Calibration(AbstractShown, eqx.Module):
    """Achievable fractions of the hardware's peaks, latencies and overlaps of a software stack on a chip."""

    name: str = eqx.field(static=True)
    overlap_p: float = eqx.field(static=True)
    """Exponent of the p-norm of an operator's compute, memory, vector and DMA times: 1 is no overlap."""
    matmul_frac: Scalar = eqx.field(converter=as_float)
    """Rate of large matrix products over the peak."""
    narrow_frac: Scalar = eqx.field(converter=as_float)
    """Rate of large matrix products in 8 bit and narrower, over their peak."""
    attention_frac: Scalar = eqx.field(converter=as_float)
    """Rate of matrix products in fused attention over the 16-bit peak."""
    hbm_frac: Scalar = eqx.field(converter=as_float)
    """Sustained HBM bandwidth over the peak."""
    vector_frac: Scalar = eqx.field(converter=as_float)
    """Sustained element rate of the vector engines over the peak."""
    tile_memory_frac: Scalar = eqx.field(converter=as_float)
    """Share of tile memory for one set of operands; the rest is for double buffering."""
    scaleup_frac: Scalar = eqx.field(converter=as_float)
    """Sustained scale-up bandwidth over the peak of one direction."""
    scaleout_frac: Scalar = eqx.field(converter=as_float)
    launch_s: Scalar = eqx.field(converter=as_float)
    host_s: Scalar = eqx.field(converter=as_float)
    """Host time to launch one kernel; the device waits if it is faster than the host."""
    scaleup_hop_s: Scalar = eqx.field(converter=as_float)
    """Latency of a message inside the scale-up domain."""
    scaleout_hop_s: Scalar = eqx.field(converter=as_float)
    """Latency of a message over the scale-out network."""
    collective_s: Scalar = eqx.field(converter=as_float)
    """Start-up latency of a library's all-reduce in a scale-up domain, before its first hop."""
    exchange_s: Scalar = eqx.field(converter=as_float)
    """Latency of one direct exchange among all ranks behind a switch (a one-shot all-reduce is one)."""
    call_s: Scalar = eqx.field(converter=as_float)
    """Overhead of a serving loop per pass: scheduling, launch, sampling, output."""
    request_s: Scalar = eqx.field(converter=as_float)
    """Overhead of a serving loop per request before its first token, besides its passes."""
    tp_overlap_frac: Scalar = eqx.field(converter=as_float)
    dp_overlap_frac: Scalar = eqx.field(converter=as_float)
    drawn_p: Scalar | None = None
    """Replaces `overlap_p` if given: an array argument, so that one compiled program serves many exponents."""

    @property
    def exponent(self) -> float | Array:
        """Exponent of the overlap p-norm."""
        return self.overlap_p if self.drawn_p is None else jnp.asarray(self.drawn_p)


def as_argument(c: Calibration) -> Calibration:
    """The calibration without its name and with its exponent as an array, so that one compiled program serves all."""
    return dataclasses.replace(c, name="", overlap_p=1.0, drawn_p=np.asarray(c.exponent))  # static, so equal for all


FACTS = tuple(f for f in Calibration.__dataclass_fields__ if f not in ("name", "drawn_p"))
"""Fields that are read from receipts."""


def calibration_names() -> list[str]:
    """Names of all priors, and of the fits of all chips and of all stacks that were measured on one."""
    usual = [fit_name(c, usual_stack(c, serves)) for c in chip_names() for serves in (False, True)]
    measured = [f"{FIT}{c}-{s}" for pool in (STEPS, ALONE) for c, s in effects()[pool]["measured"]]
    return [*_priors(), *dict.fromkeys([*measured, *usual])]  # a measured pair may be the usual one


FIT = "fit-"
"""How names of fits begin: `fit-CHIP-STACK`."""


def fit_name(chip_name: str, stack: str) -> str:
    """Name of the pooled calibration of a chip and a software stack."""
    return f"{FIT}{chip_name}-{stack}"


@cache
def chip_and_stack(name: str) -> tuple[str, str]:
    """Chip and stack in the name of a fit, the longest stack that it ends with; "" for both in any other name."""
    ends = [s for s in STACKS if name.startswith(FIT) and name.endswith(f"-{s}")]
    # "deepspeed" is also the end of "megatron-deepspeed"
    stack = max(ends, key=len, default="")
    return (name[len(FIT) : -len(stack) - 1], stack) if stack else ("", "")


def _kin(name: str) -> Kin | None:
    """Groups of the chip and stack in the name of a fit; None for any other name."""
    return kin_of(*chip_and_stack(name)) if chip_and_stack(name)[1] else None


def _facts(name: str, kin: Kin | None) -> Receipts:
    """Receipts of a prior or fit; UnknownNameError for neither."""
    if kin is None:
        if name not in _priors():
            raise UnknownNameError("calibration", name, calibration_names())
        return _priors()[name]
    return receipts(effects()[ALONE if kin.stack == KERNELS else STEPS], kin, prior_of(kin))


def prior_of(kin: Kin) -> Receipts:
    """Receipts of the prior of a vendor at the clock that the power limit of the chip allows."""
    return at_clock(_priors()[kin.vendor], effects()[CLOCK].get(base_name(kin.chip), {}))


def calibration(name: str) -> Calibration:
    """The calibration `name`: a prior, or `fit-CHIP-STACK` of a chip (or family) and stack; else UnknownNameError."""
    return _made(name, _kin(name))


@cache  # by kin too: between two calls a user may edit the base in a chip file
def _made(name: str, kin: Kin | None) -> Calibration:
    facts = _facts(name, kin)
    return Calibration(name=name, drawn_p=None, **{f: number(facts, f) for f in FACTS})


def calibration_receipts(name: str) -> list[Sourced]:
    """Receipts of a calibration, guesses first."""
    return worst_first(list(_facts(name, _kin(name)).values()))


AbstractShown.receipts_of[Calibration.__name__] = lambda c: calibration_receipts(c.name)  # core knows no physics


def kin_of(chip_name: str, stack: str) -> Kin:
    """Groups (family, vendor, stack) of a chip, or of a chip family given by name, for partial pooling."""
    prefixes = dict(FAMILIES).get(chip_name)
    if prefixes:
        return Kin(chip_name, chip_name, prior_name(prefixes[0]), stack)
    return Kin(chip_name, family(chip_name), prior_name(chip_name), stack)


SERVING = ("vllm", "neuronx", "vllm-neuron", "trtllm", "fastertransformer", "sglang", "deepspeed", "jetstream")
"""Software stacks for serving; they apply to requests only, `TRAINING` stacks to training steps only."""
TRAINING = ("megatron", "megatron-deepspeed", "nanotron", "fsdp", "xla", "neuron")
KERNELS = "kernels"
"""Stack of operators and collectives timed alone; used for whole steps only if named."""
STACKS = (*TRAINING, *SERVING, KERNELS)

LIBRARY_ONLY = ("fastertransformer", "deepspeed")
"""Stacks whose all-reduces come from a library, without direct exchanges."""
FIXED_SHAPES = ("neuronx", "vllm-neuron")
"""Stacks compiled for fixed shapes: attention over the full length, padded prompts, all experts."""
USUAL = {"trainium1": ("neuron", "neuronx"), "prior-neuron": ("neuron", "vllm-neuron"),
         "prior-tpu": ("xla", "jetstream")}  # fmt: skip
"""Default training and serving stack by family (the first Trainium came before vLLM's plugin), else by vendor."""


def usual_stack(chip_name: str, serves: bool) -> str:
    """Default serving or training stack of a chip; vLLM and Megatron of a vendor without its own."""
    kin = (family(chip_name), prior_name(chip_name))
    return next((USUAL[k] for k in kin if k in USUAL), (TRAINING[0], SERVING[0]))[serves]


def default_calibration(chip_name: str, stack: str = "") -> Calibration:
    """Pooled calibration of a chip (or its family) and a stack, by default the training one; else UnknownNameError."""
    return calibration(fit_name(chip_name, stack or usual_stack(chip_name, serves=False)))


def calibration_for(chip_name: str, workload: object) -> Calibration:
    """Default calibration of a chip for a workload: its usual stack for training or for serving."""
    return default_calibration(chip_name, usual_stack(chip_name, serves=not isinstance(workload, Training)))


def measured_band(c: Calibration, trains: bool) -> tuple[str, float] | None:
    """What a fit has not seen (see `Finding.novelty`), and the factor up or down that covers 80 % of held-out data.

    None for a prior; `trains`: for training steps, else for requests.
    """
    chip_name, stack = chip_and_stack(c.name)
    if not stack:
        return None
    novelty, width = band("training" if trains else "inference", kin_of(chip_name, stack))
    return novelty, math.exp(width)  # bands are kept in log time, where errors are alike up and down


def prior_calibration(chip_name: str) -> Calibration:
    """Prior of a chip's vendor; UnknownNameError for a vendor without one."""
    return calibration(prior_name(chip_name))


def prior_name(chip_name: str) -> str:
    """Name of the prior of a chip's vendor; UnknownNameError for a chip of no known vendor."""
    named = base_name(chip_name)
    found = next((prior for prior, prefixes in PRIORS.items() if named.startswith(prefixes)), None)
    if found is None:
        raise UnknownNameError("calibration for chip", chip_name, list(_priors()))
    return found


def on_stack(ref: Reference, stack: str) -> Reference:
    """`ref` with the properties of the software `stack`."""
    return dataclasses.replace(ref, has_direct=stack not in LIBRARY_ONLY, fixed_shapes=stack in FIXED_SHAPES)


def reference_speeds(c: Calibration, up_Bps: float, out_Bps: float) -> Reference:
    """Achievable link speeds for peaks `up_Bps` and `out_Bps` (one direction), to choose collective algorithms."""
    # a fit learns from plans whose algorithms were chosen at the prior, and holds for these alone
    known = _made(kin.vendor, None) if (kin := _kin(c.name)) else c
    # plain floats: keys of caches can hold no arrays
    shares = float(known.scaleup_frac), float(known.scaleout_frac)
    waits = float(known.scaleup_hop_s), float(known.scaleout_hop_s), float(known.collective_s), float(known.exchange_s)
    return on_stack(Reference(up_Bps * shares[0], out_Bps * shares[1], *waits), kin.stack if kin else "")


BETTER_LOW = tuple(f for f in FACTS if f.endswith("_s"))
"""Numbers that are better when lower: all times."""


def extreme(name: str, good: bool) -> Calibration:
    """The calibration `name` with every number at the good or bad end of its receipt's range."""
    facts = _facts(name, _kin(name))
    ends = {f: facts[f].low if (f in BETTER_LOW) == good else facts[f].high for f in FACTS}  # a low time is good
    return Calibration(name=f"{name} {'optimistic' if good else 'pessimistic'}", drawn_p=None, **ends)
