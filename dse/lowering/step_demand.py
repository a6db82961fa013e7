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
    """HBM traffic of a micro batch that overlaps with all its operators, since blocks run as streams."""

    share: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """1 if blocks run as streams; else 0, as are all other fields."""
    hbm_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    reuse_half: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Coefficient of the traffic that falls as tile memory^-1/2 [B^1.5]."""
    reuse_one: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Coefficient of the traffic that falls as tile memory^-1 [B^2]."""
    core_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Bytes per tile memory, since each reads the same weights."""
    ahead_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Prefetched bytes that wait in SRAM for their operator."""


PER_STEP = "per step"
"""Metadata key of traffic that occurs once per step; other traffic occurs once per micro batch."""


# by these signs a search drops plans that another beats in every entry: a wrong one would drop the optimum
class StepDemand(eqx.Module):
    """All coefficients of one step of one workload under one plan."""

    ops: OpDemand
    """Operators of one micro batch on the slowest stage."""
    tensor: TrafficDemand
    pipeline: TrafficDemand
    """Stage-to-stage traffic per micro batch."""
    shard: TrafficDemand
    """All-gather of weights and reduce-scatter of gradients per micro batch, for sharded weights (ZeRO-3)."""
    data: TrafficDemand = eqx.field(metadata={PER_STEP: True})
    n_host: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Kernels and collectives launched by the host per micro batch; 0 if graphs are replayed."""
    n_micro: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    bubble_micro: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Idle time of the pipeline in micro batches."""
    window_micro: Scalar = eqx.field(converter=as_float, metadata={SIGN: MORE_IS_BETTER})
    """Part of a micro batch that can hide data-parallel traffic; positive."""
    optimizer_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Memory traffic of the optimizer per step."""
    macs: Float[Array | np.ndarray, "*batch 4"] = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """MACs per micro batch by executed precision."""
    memory_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """HBM capacity the plan needs on the heaviest chip."""
    tokens: Scalar = eqx.field(converter=as_float, metadata={SIGN: MORE_IS_BETTER})
    """Tokens that one step of the whole system produces."""
    # inert: the numerator of MFU, on which no time, energy or memory depends
    model_FLOP: Scalar = eqx.field(converter=as_float, metadata={SIGN: INERT})
    """Useful FLOP per chip and step (no recompute, causal attention halved), for MFU."""
    rate: Scalar = eqx.field(converter=as_float, metadata={SIGN: INERT})
    """MACs of one PE per cycle at the precision of the linear layers, the base of MFU."""
    stream: StreamDemand = StreamDemand()
    """HBM traffic of streamed blocks; all 0 without streaming."""
    n_calls: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Iterations of the serving loop per step: scheduling, launch, sampling, output."""
    n_requests: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """New requests per step, each with an overhead before its first token."""
    tensor_waits_frac: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=1.0)
    """Factor on the part of tensor traffic that `tp_overlap_frac` leaves exposed: 1, less if software hides more."""
    pipeline_waits_frac: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=1.0)
    """Share of messages between stages that no work hides while the pipeline is full; 0 for virtual stages."""
    wait_s: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=0.0)
    """Measured host wait for other ranks per micro batch before collectives; 0 if not measured."""

    idle_frac: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER}, default=1.0)
    """Layers of the mean of the other stages over those of the slowest, whose traffic and streams are given here."""

    @property
    def traffics(self) -> dict[str, tuple[FloatLike, TrafficDemand]]:
        """Every kind of traffic by name: occurrences per step, and traffic of each."""
        # by their type, so that a new kind of traffic cannot miss the energy model
        kinds = {f: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            f.name: (np.asarray(1.0) if PER_STEP in f.metadata else self.n_micro, t)
            for f, t in kinds.items()
            if isinstance(t, TrafficDemand)
        }


def traffic_demand(t: Traffic) -> TrafficDemand:
    """`t` as arrays."""
    # unchecked: plans by the thousand have four of these each
    return host_record(TrafficDemand, *t.parts())
