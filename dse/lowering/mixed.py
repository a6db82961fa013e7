"""Passes that do two things at once, lowered: chunked prefill on decode, and verification of drafted tokens."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.errors import PlanError
from ..hardware.system import System
from ..workload.transformer import Decode, Prefill
from .collective import Reference
from .mixed_ops import chunk_ops, verify_ops
from .plan import Plan, layers_per_stage
from .serving import serving_demand
from .step_demand import StepDemand, TrafficDemand
from .tiling import ArrayShape, op_demand, rank_ops, sram_B
from .training_ops import Placed


def _with_ops(d: StepDemand, placed: list[Placed], plan: Plan, n_layers: float, array: ArrayShape) -> StepDemand:
    """`d` with other operators."""
    ops = rank_ops([p.op for p in placed], array)
    runs = np.asarray([(1.0 if p.phase == "head" else n_layers) * p.share for p in placed])
    macs = runs @ ops.macs
    return dataclasses.replace(d, ops=op_demand(ops, runs), macs=macs, sram_B=sram_B(macs, array))


def _together(a: TrafficDemand, b: TrafficDemand) -> TrafficDemand:
    """Two exchanges in the same messages: bytes add up; starts and hops do not."""
    pairs = {f.name: (np.asarray(getattr(a, f.name)), np.asarray(getattr(b, f.name))) for f in dataclasses.fields(a)}
    return TrafficDemand(**{n: x + y if n.endswith("_B") else np.maximum(x, y) for n, (x, y) in pairs.items()})


def _lanes(system: System, array: ArrayShape) -> float:
    """Lanes of a vector engine that take a row of scores each, as in `inference`."""
    return array.rows if system.chip.lane_kind == "simd" else 1.0


def chunk_demand(
    decode: Decode, prefill: Prefill, plan: Plan, system: System, array: ArrayShape, ref: Reference
) -> StepDemand:
    """Coefficients of one pass that writes a token for every sequence and reads one chunk of every rank's prompt.

    Args:
        decode: sequences that write.
        prefill: prompts that are read, one per data-parallel rank; its mean chunk counts.
        plan: who does what, without a pipeline.
        system: chips.
        array: PE array.
        ref: speeds at which collectives are chosen.

    Raises:
        PlanError: a pipeline, or a plan that divides neither.
    """
    if plan.pp > 1:
        raise PlanError(f"chunks ride on decode passes without a pipeline only, not with pp={plan.pp}")
    d = serving_demand(decode, plan, system, array, ref)
    p = serving_demand(prefill, dataclasses.replace(plan, micro_batch=prefill.batch // plan.dp), system, array, ref)
    layers = float(layers_per_stage(plan, decode.model))
    mixed = _with_ops(d, chunk_ops(decode, prefill, plan, _lanes(system, array)), plan, layers, array)
    return dataclasses.replace(mixed, tensor=_together(d.tensor, p.tensor), shard=p.shard)


def verify_demand(
    decode: Decode, n_tokens: int, plan: Plan, system: System, array: ArrayShape, ref: Reference
) -> StepDemand:
    """Coefficients of one pass over `n_tokens` tokens of every sequence; plain decode for one."""
    d = serving_demand(decode, plan, system, array, ref)
    if n_tokens == 1:
        return d
    wide = dataclasses.replace(decode, batch=decode.batch * n_tokens)
    many = serving_demand(wide, dataclasses.replace(plan, micro_batch=wide.batch // plan.dp), system, array, ref)
    layers = float(layers_per_stage(plan, decode.model))
    verify = _with_ops(many, verify_ops(decode, n_tokens, plan, _lanes(system, array)), plan, layers, array)
    return dataclasses.replace(verify, memory_B=d.memory_B)
