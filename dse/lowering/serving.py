"""Prefill and decode under a plan, lowered to coefficients."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..hardware.system import System
from ..workload.transformer import Decode, Serving, forward_FLOP_per_token, n_attended, n_dense_layers, products_of
from .collective import Reference, Traffic, across_all_reduce, across_gather, all_to_all, send, spread
from .memory import ACTIVATION_B, memory_B
from .plan import Plan, check_plan, layers_per_stage
from .serving_ops import Pass, n_groups, rank_pass, serving_ops
from .step_demand import StepDemand, traffic_demand
from .streaming import Stream, stream_demand, streamed
from .tiling import ArrayShape, RankOps, op_demand, rank_ops, sram_B
from .training_ops import rank_heads

PARTIAL_B = 4.0
"""Partial outputs of attention over parts of a context are fp32, as sums in the array."""


@cache
def _rank(
    workload: Serving, plan: Plan, array: ArrayShape, lanes: float
) -> tuple[RankOps, np.ndarray, np.ndarray, Stream | None]:
    """Operators of a pass on a rank, tiled, whether each belongs to the head, its share, and their stream."""
    placed, stream = serving_ops(workload, plan, lanes), None
    if plan.order == "stream":
        placed, stream = streamed(placed, training=False)
    head = np.asarray([p.phase == "head" for p in placed])
    return rank_ops([p.op for p in placed], array), head, np.asarray([p.share for p in placed]), stream


def _tensor_traffic(workload: Serving, plan: Plan, p: Pass, system: System, layers: float, ref: Reference) -> Traffic:
    """Traffic inside a pass.

    Tensor ranks all-reduce twice per block; expert ranks send tokens out and back; in decode, context ranks add up
    their partial outputs.

    Source: [shoeybi2019] section 3; [lepikhin2020gshard] for experts.
    """
    model, fabric = workload.model, system.fabric
    split = 1 if isinstance(workload, Decode) else plan.cp
    volume = p.tokens / split * model.hidden * ACTIVATION_B
    total = across_all_reduce(*spread(fabric, 1, plan.tp), volume, ref).times(2.0 * layers)
    if model.experts is not None and plan.ep > 1:
        moe_layers = layers * (1.0 - n_dense_layers(model) / model.n_layers)
        exchange = all_to_all(*spread(fabric, plan.tp, plan.ep), volume * model.experts.per_token)
        total += exchange.times(2.0 * moe_layers)
    if isinstance(workload, Decode) and plan.cp > 1:
        width = rank_heads(model, plan.tp)[0] * (model.head_dim if model.latent is None else model.latent.kv_rank)
        partial = p.sequences * width * PARTIAL_B
        total += across_all_reduce(*spread(fabric, plan.tp, plan.cp), partial, ref).times(layers)
    return total


def _context_traffic(workload: Serving, plan: Plan, p: Pass, system: System, layers: float, ref: Reference) -> Traffic:
    """Keys and values that go around context ranks in prefill [liu2023ring]; decode exchanges results instead."""
    if isinstance(workload, Decode) or plan.cp == 1:
        return Traffic()
    model = workload.model
    width = 2 * rank_heads(model, plan.tp)[1] * model.head_dim
    if model.latent is not None:
        width = float(model.latent.kv_rank + model.latent.rope_dim)
    volume = p.sequences * p.n_context * width * ACTIVATION_B
    return across_gather(*spread(system.fabric, plan.tp, plan.cp), volume, ref).times(layers)


def serving_demand(workload: Serving, plan: Plan, system: System, array: ArrayShape, ref: Reference) -> StepDemand:
    """Coefficients of reading all prompts, or of one token for every sequence of the batch.

    Raises:
        PlanError: a plan that does not divide model, batch and system.
    """
    check_plan(plan, workload, system)
    return pass_demand(workload, plan, system, array, ref)


def pass_demand(workload: Serving, plan: Plan, system: System, array: ArrayShape, ref: Reference) -> StepDemand:
    """As `serving_demand` for a plan nobody checked, such as one that ran with padded heads.

    A prompt passes the stages chunk by chunk, group by group, and waits for (pp - 1) others to fill the pipeline. In
    decode a token of a sequence needs the last one, so a step is one turn of every group through all stages.

    Source: [agrawal2023sarathi] sections 3 and 4 for chunks and their bubbles.
    """
    model, p = workload.model, rank_pass(workload, plan)
    layers, decode = float(layers_per_stage(plan, model)), isinstance(workload, Decode)
    ops, head, shares, stream = _rank(workload, plan, array, array.rows if system.chip.lane_kind == "simd" else 1.0)
    runs = np.where(head, 1.0, layers) * shares
    macs = runs @ ops.macs
    inside = plan.tp * plan.cp * plan.dp * 2 <= system.fabric.n_chips
    hop = send(p.tokens / (1 if decode else plan.cp) * model.hidden * ACTIVATION_B, inside)
    groups = n_groups(workload, plan)
    new = 1 if isinstance(workload, Decode) else workload.prompt
    cached = workload.context - 1.0 if isinstance(workload, Decode) else workload.cached
    none = traffic_demand(Traffic())
    return StepDemand(
        ops=op_demand(ops, runs),
        tensor=traffic_demand(_tensor_traffic(workload, plan, p, system, layers, ref)),
        pipeline=traffic_demand(hop.times(float(plan.pp > 1))),
        shard=traffic_demand(_context_traffic(workload, plan, p, system, layers, ref)),
        data=none,
        n_host=0.0,
        n_sync=0.0,
        n_micro=float(plan.pp if isinstance(workload, Decode) else groups * workload.n_chunks),
        bubble_micro=0.0 if decode else plan.pp - 1.0,
        window_micro=0.5,
        optimizer_B=0.0,
        macs=macs,
        sram_B=sram_B(macs, array),
        memory_B=memory_B(plan, workload).total,
        tokens=workload.batch * new,
        model_FLOP=_model_FLOP(workload, cached, new) / system.n_chips,
        rate=array.rates[array.executed(products_of(workload))],
        stream=stream_demand(stream, runs),
        n_calls=1.0 if isinstance(workload, Decode) else float(groups * workload.n_chunks),
        n_requests=0.0 if decode else 1.0,
    )


def _model_FLOP(workload: Serving, cached: float, new: int) -> float:
    """Useful FLOP of a step: every new token's weights and attended positions, and the head for one token each."""
    model = workload.model
    if new == 1:
        attended = [cached + 1.0, min(float(model.window), cached + 1.0)]
    else:
        attended = [n_attended(model, cached, new, windowed) for windowed in (False, True)]
    head = 2.0 * model.hidden * model.vocab
    return workload.batch * (new * (forward_FLOP_per_token(model, *attended) - head) + head)
