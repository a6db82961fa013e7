"""A workload under a plan, lowered to coefficients: everything about a step that does not depend on free numbers.

Lowering happens once per discrete choice, on the host. What is left is a posynomial of the chip (see `step`).
"""

from __future__ import annotations

from functools import cache

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..core.types import Scalar, as_float
from ..hardware.system import Fabric, System
from ..mapping.memory import ACTIVATION_B, GRADIENT_B, WEIGHT_B, memory_B
from ..mapping.plan import Plan, check_plan, n_micro_batches
from ..mapping.rank import decode_ops, training_ops
from ..mapping.tiling import ArrayShape, OpDemand, RankOps, array_shape, op_demand, rank_ops, sram_B
from ..workload.transformer import Decode, Model, Training, Workload, layer_parameters
from .collective import Group, Reference, Traffic, across_all_reduce, across_gather, all_gather, group, send

OPTIMIZER_TRAFFIC_B = 16.0 + 12.0 + WEIGHT_B
"""Adam in fp32: read gradient, master and two moments, write master and moments and the bf16 weight."""


class TrafficDemand(eqx.Module):
    """`collective.Traffic` as arrays, every entry >= 0."""

    up_B: Scalar = eqx.field(converter=as_float)
    """Bytes at full scale-up speed."""
    up_hops: Scalar = eqx.field(converter=as_float)
    """Sequential scale-up messages."""
    out_B: Scalar = eqx.field(converter=as_float)
    """Bytes at the chip's network share."""
    out_hops: Scalar = eqx.field(converter=as_float)
    """Sequential network messages."""
    sent_B: Scalar = eqx.field(converter=as_float)
    """Bytes that leave the chip over scale-up."""


class StepDemand(eqx.Module):
    """All coefficients of one step of one workload under one plan."""

    ops: OpDemand
    """Operators of one micro batch on the slowest stage."""
    tensor: TrafficDemand
    """Tensor-parallel traffic per micro batch."""
    pipeline: TrafficDemand
    """Stage-to-stage traffic per micro batch."""
    data: TrafficDemand
    """Data-parallel traffic per step."""
    n_micro: Scalar = eqx.field(converter=as_float)
    """Micro batches per step."""
    bubble_micro: Scalar = eqx.field(converter=as_float)
    """Idle time of the pipeline in micro batches."""
    window_micro: Scalar = eqx.field(converter=as_float)
    """Part of a micro batch behind which data-parallel traffic can hide; positive."""
    optimizer_B: Scalar = eqx.field(converter=as_float)
    """Memory traffic of the optimizer per step."""
    macs: Float[Array | np.ndarray, "*batch 4"] = eqx.field(converter=as_float)
    """MACs per micro batch by executed precision."""
    sram_B: Scalar = eqx.field(converter=as_float)
    """SRAM traffic of the arrays per micro batch."""
    memory_B: Scalar = eqx.field(converter=as_float)
    """HBM capacity the plan needs on the heaviest chip."""
    tokens: Scalar = eqx.field(converter=as_float)
    """Tokens that one step of the whole system produces."""
    model_FLOP: Scalar = eqx.field(converter=as_float)
    """Useful FLOP per chip and step (no recompute, causal attention halved), for MFU."""
    rate: Scalar = eqx.field(converter=as_float)
    """MACs of one PE per cycle at the precision of the linear layers, the base of MFU."""


def _traffic(t: Traffic) -> TrafficDemand:
    return TrafficDemand(*t.parts())


def _groups(fabric: Fabric, plan: Plan) -> tuple[Group, Group, int, bool]:
    """Tensor group, data group inside the domain, domains it spans, and whether stages are neighbours inside."""
    inside = max(fabric.n_chips // plan.tp, 1)
    dp_inside = max(d for d in range(1, inside + 1) if inside % d == 0 and plan.dp % d == 0)
    fits = plan.tp * plan.dp * 2 <= fabric.n_chips
    return group(fabric, 1, plan.tp), group(fabric, plan.tp, dp_inside), plan.dp // dp_inside, fits


@cache
def _training_rank(
    workload: Training, tp: int, micro: int, again: bool, array: ArrayShape
) -> tuple[RankOps, list[int]]:
    """Operators of a rank, tiled, and how many are forward, backward and head; plans that differ elsewhere share it."""
    parts = training_ops(workload, tp, micro, again)
    return rank_ops([op for part in parts for op in part], array), [len(part) for part in parts]


def _training_runs(counts: list[int], layers: int, recompute: str) -> np.ndarray:
    """Runs of each operator per micro batch: full recomputation runs the forward pass twice."""
    forward = layers * (2.0 if recompute == "full" else 1.0)
    return np.repeat([forward, float(layers), 1.0], counts)


def _backward_share(ops: RankOps, counts: list[int], runs: np.ndarray) -> float:
    """Share of a micro batch's MACs in the backward pass of the blocks."""
    macs = ops.macs.sum(axis=1) * runs
    return float(macs[counts[0] : counts[0] + counts[1]].sum() / macs.sum())


def training_demand(workload: Training, plan: Plan, system: System, array: ArrayShape, ref: Reference) -> StepDemand:
    """Coefficients of one optimizer step.

    Tensor parallelism with sequence parallelism gathers and scatters the activations four times per block
    forward and four times backward. Stages exchange one activation per micro batch each way. Gradients are
    scattered in fp32 and weights gathered in bf16 over the data-parallel group (with ZeRO-0: all-reduced in fp32).

    Source: [korthikanti2022] section 4.2.2; [narayanan2021megatron] section 2.2 for (pp - 1)/v bubbles;
    [rajbhandari2020zero] section 7 for data-parallel volume.
    """
    check_plan(plan, workload, system)
    model = workload.model
    layers = -(-model.n_layers // plan.pp)
    ops, counts = _training_rank(workload, plan.tp, plan.micro_batch, plan.recompute != "none", array)
    runs = _training_runs(counts, layers, plan.recompute)
    macs = runs @ ops.macs
    tp_group, dp_group, n_out, stages_inside = _groups(system.fabric, plan)
    memory = memory_B(plan, workload)
    tokens = plan.micro_batch * workload.sequence
    volume = tokens * model.hidden * ACTIVATION_B
    n_collectives = layers * (12 if plan.recompute == "full" else 8)
    tensor = all_gather(tp_group, volume, ref).times(n_collectives)
    hops = 2.0 * plan.interleave if plan.pp > 1 else 0.0
    parameters = memory.weights_B / WEIGHT_B
    if plan.zero >= 1:
        scatter = across_gather(dp_group, n_out, parameters * GRADIENT_B, ref)
        data = scatter + across_gather(dp_group, n_out, parameters * WEIGHT_B, ref)
    else:
        data = across_all_reduce(dp_group, n_out, parameters * GRADIENT_B, ref)
    n_micro = n_micro_batches(plan, workload)
    step_tokens = workload.global_batch * workload.sequence
    return StepDemand(
        ops=op_demand(ops, runs),
        tensor=_traffic(tensor),
        pipeline=_traffic(send(volume / plan.tp, stages_inside).times(hops)),
        data=_traffic(data),
        n_micro=n_micro,
        bubble_micro=(plan.pp - 1) / plan.interleave,
        window_micro=_backward_share(ops, counts, runs),
        optimizer_B=OPTIMIZER_TRAFFIC_B * parameters / (plan.dp if plan.zero >= 1 else 1),
        macs=macs,
        sram_B=sram_B(macs, array),
        memory_B=memory.total,
        tokens=step_tokens,
        model_FLOP=3 * forward_FLOP_per_token(model, workload.sequence / 2) * step_tokens / system.n_chips,
        rate=array.rates[array.executed(workload.precision)],
    )


def decode_demand(workload: Decode, plan: Plan, system: System, array: ArrayShape, ref: Reference) -> StepDemand:
    """Coefficients of one token for every sequence of the batch; two all-reduces per block over tensor ranks."""
    check_plan(plan, workload, system)
    block, head = decode_ops(workload, plan.tp, plan.dp)
    ops = rank_ops([*block, *head], array)
    runs = np.repeat([float(workload.model.n_layers), 1.0], [len(block), len(head)])
    macs = runs @ ops.macs
    tp_group = group(system.fabric, 1, plan.tp)
    volume = workload.batch / plan.dp * workload.model.hidden * ACTIVATION_B
    tensor = across_all_reduce(tp_group, 1, volume, ref).times(2.0 * workload.model.n_layers)
    none = _traffic(Traffic())
    return StepDemand(
        ops=op_demand(ops, runs), tensor=_traffic(tensor), pipeline=none, data=none,
        n_micro=1.0, bubble_micro=0.0, window_micro=0.5, optimizer_B=0.0,
        macs=macs, sram_B=sram_B(macs, array),
        memory_B=memory_B(plan, workload).total, tokens=workload.batch,
        model_FLOP=forward_FLOP_per_token(workload.model, workload.context) * workload.batch / system.n_chips,
        rate=array.rates[array.executed(workload.weight_precision)],
    )  # fmt: skip


def forward_FLOP_per_token(model: Model, context: float) -> float:
    """FLOP of one token's forward pass with `context` attended positions: 2 per weight plus attention."""
    linear = 2 * model.n_layers * (layer_parameters(model) - 2 * model.hidden) + 2 * model.hidden * model.vocab
    return linear + 4 * model.n_layers * model.n_heads * model.head_dim * context


def demand(
    workload: Workload, plan: Plan, system: System, ref: Reference, array: ArrayShape | None = None
) -> StepDemand:
    """Coefficients of `workload` under `plan` on `system`, for the system's own PE array or another one."""
    array = array_shape(system.chip.core.tensor) if array is None else array
    if isinstance(workload, Training):
        return training_demand(workload, plan, system, array, ref)
    return decode_demand(workload, plan, system, array, ref)


def stack_demands(demands: list[StepDemand]) -> StepDemand:
    """Demands of many plans as one record with a leading axis, for `jax.vmap`."""
    return jax.tree.map(lambda *xs: np.stack(xs), *demands)
