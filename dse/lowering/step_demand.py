"""`StepDemand`: the coefficients of a step as arrays, made by lowering and turned into time and energy by physics."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..core.types import INERT, LESS_IS_BETTER, MORE_IS_BETTER, SIGN, FloatLike, Scalar, as_float, host_record
from .collective import Traffic
from .tiling import OpDemand


class TrafficDemand(eqx.Module):
    """`collective.Traffic` as arrays, every entry >= 0."""

    up_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    up_hops: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    out_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    out_hops: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    sent_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    n_starts: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    n_exchanges: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    upper_s: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)


class StreamDemand(eqx.Module):
    """Memory traffic of a micro batch that passes at any time of it, because a block runs as one stream."""

    share: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """1 where a block runs as one stream, else 0 and all the rest is 0 too."""
    hbm_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    reuse_half: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Coefficient of the traffic that falls as tile memory^-1/2 [B^1.5]."""
    reuse_one: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Coefficient of the traffic that falls as tile memory^-1 [B^2]."""
    core_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Bytes per tile memory, which all read the same weights."""
    ahead_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Bytes that SRAM must have room for while they wait for their operator."""


PER_STEP = "per step"
"""Mark of a kind of traffic that flows once per step; the others flow once per micro batch."""


class StepDemand(eqx.Module):
    """All coefficients of one step of one workload under one plan."""

    ops: OpDemand
    """Operators of one micro batch on the slowest stage."""
    tensor: TrafficDemand
    pipeline: TrafficDemand
    """Stage-to-stage traffic per micro batch."""
    shard: TrafficDemand
    """Weights gathered and gradients scattered per micro batch, when weights are sharded."""
    data: TrafficDemand = eqx.field(metadata={PER_STEP: True})
    n_host: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Kernels and collectives the host starts per micro batch; 0 where graphs are replayed."""
    n_micro: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    bubble_micro: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Idle time of the pipeline in micro batches."""
    window_micro: Scalar = eqx.field(converter=as_float, metadata={SIGN: MORE_IS_BETTER})
    """Part of a micro batch behind which data-parallel traffic can hide; positive."""
    optimizer_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Memory traffic of the optimizer per step."""
    macs: Float[Array | np.ndarray, "*batch 4"] = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """MACs per micro batch by executed precision."""
    memory_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """HBM capacity the plan needs on the heaviest chip."""
    tokens: Scalar = eqx.field(converter=as_float, metadata={SIGN: MORE_IS_BETTER})
    """Tokens that one step of the whole system produces."""
    model_FLOP: Scalar = eqx.field(converter=as_float, metadata={SIGN: INERT})
    """Useful FLOP per chip and step (no recompute, causal attention halved), for MFU."""
    rate: Scalar = eqx.field(converter=as_float, metadata={SIGN: INERT})
    """MACs of one PE per cycle at the precision of the linear layers, the base of MFU."""
    stream: StreamDemand = StreamDemand()
    """Memory traffic that does not wait for its operator; all 0 where operators run one after another."""
    n_calls: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Times that a serving loop runs per step: schedule, start, sample, hand out."""
    n_requests: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Times that requests are taken in per step, before their first token."""
    tensor_waits_frac: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=1.0)
    """Part of what `tp_overlap_frac` leaves bare of tensor traffic: 1, or 0 where software hides what it can."""
    wait_s: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """What the host waits for other ranks per micro batch before it starts collectives, where a run timed that."""

    @property
    def traffics(self) -> dict[str, tuple[FloatLike, TrafficDemand]]:
        """Every kind of traffic by name: how often it flows per step, and what flows each time."""
        kinds = {f: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            f.name: (np.asarray(1.0) if PER_STEP in f.metadata else self.n_micro, t)
            for f, t in kinds.items()
            if isinstance(t, TrafficDemand)
        }


def traffic_demand(t: Traffic) -> TrafficDemand:
    """`t` as arrays."""
    return host_record(TrafficDemand, *t.parts())
