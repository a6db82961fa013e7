"""Prefill and decode under a plan, lowered to coefficients."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..core.types import host_record
from ..hardware.system import System
from ..workload.storage import stored_B
from ..workload.transformer import (
    Decode,
    Serving,
    forward_FLOP_per_token,
    moe_share,
    n_branches,
    n_outputs,
    products_of,
)
from .activations import ACTIVATION_B, input_B
from .collective import Reference, Traffic, across_all_reduce, across_gather, all_to_all, to_experts
from .groups import spread
from .memory import memory_B
from .mixer_ops import result_width, ring_width
from .plan import Plan, check_plan, idle_frac, layers_per_stage
from .serving_ops import Pass, n_groups, rank_pass, serving_ops
from .step_demand import StepDemand, traffic_demand
from .streaming import Stream, stream_demand, streamed
from .tiling import ArrayShape, RankOps, as_run, op_demand, rank_ops
from .training_traffic import stage_message

PARTIAL_B = 4.0
"""Partial outputs of attention over parts of a context are fp32, as sums in the array."""


@cache
def _rank(
    workload: Serving, plan: Plan, array: ArrayShape, lanes: float, fixed: bool, n_each: int, rows: bool
) -> tuple[RankOps, np.ndarray, np.ndarray, Stream | None]:
    """Operators of a pass on a rank, tiled, whether each belongs to the head, its share, and their stream."""
    placed, stream = serving_ops(workload, plan, lanes, fixed, n_each, rows), None
    if plan.order == "stream":
        placed, stream = streamed(placed, training=False)
    head = np.asarray([p.phase == "head" for p in placed])
    return rank_ops([p.op for p in placed], array), head, np.asarray([p.share for p in placed]), stream


def _tensor_traffic(workload: Serving, plan: Plan, p: Pass, system: System, layers: float, ref: Reference) -> Traffic:
    """Traffic inside a pass: tensor ranks all-reduce twice per block; in decode, context ranks add up partial outputs.

    Source: [shoeybi2019] section 3.
    """
    model, fabric = workload.model, system.fabric
    # decode has one token of a sequence, which context ranks cannot split
    split = 1 if isinstance(workload, Decode) else plan.cp
    tokens_B = p.tokens / split * ACTIVATION_B
    # results of attention and of the MLP are partial sums of every rank's heads and columns
    total = across_all_reduce(*spread(fabric, 1, plan.tp), tokens_B * model.hidden, ref).times(
        n_branches(model) * layers
    )
    if model.experts is not None and plan.ep > 1:
        total += _expert_traffic(workload, plan, p.tokens / split, system, ref).times(layers * moe_share(model))
    if isinstance(workload, Decode) and plan.cp > 1:
        width = sum(share * result_width(m, plan.tp) for m, share in model.working_mixers)
        partial = p.sequences * width * PARTIAL_B
        total += across_all_reduce(*spread(fabric, plan.tp, plan.cp), partial, ref).times(layers)
    return total


def _expert_traffic(workload: Serving, plan: Plan, tokens: float, system: System, ref: Reference) -> Traffic:
    """Traffic of a block whose ranks send `tokens` to their experts, as narrow as these multiply, and back in 16 bit.

    In a prompt a rank gets a token once, and a domain where that is faster; decode waits for no layout nor second hop.
    Source: [lepikhin2020gshard] for the two exchanges; [deepseek2024v3] section 3.3.3 for widths (8 bit at least), with
    [deepseek2025deepep] for the two kinds of kernels.
    """
    e, where = workload.model.experts, spread(system.fabric, plan.tp, plan.ep)
    assert e is not None
    total = Traffic()
    for width_B in (max(input_B(products_of(workload, "experts")), 1.0), float(ACTIVATION_B)):
        each_B = tokens * e.routed_width(workload.model.hidden) * width_B
        waits = isinstance(workload, Decode)
        total += all_to_all(*where, each_B * e.per_token) if waits else to_experts(*where, each_B, e, ref)
    return total


def _context_traffic(workload: Serving, plan: Plan, p: Pass, system: System, layers: float, ref: Reference) -> Traffic:
    """Keys and values that go around context ranks in prefill; decode exchanges results instead.

    Source: [liu2023ring] for the ring; [yang2024contextparallel] pass-KV for cached positions in it.
    Assumes: a chunk's own keys and values travel in the 16 bit that they are made in, cached ones as they are stored.
    """
    if isinstance(workload, Decode) or plan.cp == 1:
        return Traffic()
    model = workload.model
    width = sum(share * ring_width(m, plan.tp, latent=True) for m, share in model.working_mixers)
    # cached positions go around too: every rank's queries meet all of them
    each_B = p.queries * ACTIVATION_B + p.cached * stored_B(workload.kv_precision)
    volume = p.sequences * width * each_B
    return across_gather(*spread(system.fabric, plan.tp, plan.cp), volume, ref).times(layers)


def n_lanes(system: System, array: ArrayShape) -> float:
    """Lanes of a vector engine that take a row of scores each; 1 where rows are split over threads."""
    return array.rows if system.chip.lane_kind == "simd" else 1.0


def serving_demand(
    workload: Serving, plan: Plan, system: System, array: ArrayShape, ref: Reference, n_each: int = 1
) -> StepDemand:
    """Coefficients of reading all prompts, or of `n_each` tokens per sequence; PlanError where the plan fits not."""
    check_plan(plan, workload, system)
    return pass_demand(workload, plan, system, array, ref, n_each)


def pass_demand(
    workload: Serving, plan: Plan, system: System, array: ArrayShape, ref: Reference, n_each: int = 1
) -> StepDemand:
    """As `serving_demand` for a plan nobody checked, such as one that ran with padded heads.

    A prompt passes the stages chunk by chunk and waits for (pp - 1) others. A decode step is one turn of every group
    through all stages: a stage works once per group and idles where there are fewer groups than stages.
    Source: [agrawal2023sarathi] sections 3 and 4 for chunks and their bubbles.
    Assumes: of 2 to pp - 1 groups each waits for the heads of all others; exact for one group, or as many as stages.
    """
    workload = as_run(workload, array)
    model, p = workload.model, rank_pass(workload, plan, n_each)
    layers, decode = float(layers_per_stage(plan, model)), isinstance(workload, Decode)
    how = (n_lanes(system, array), ref.fixed_shapes, n_each, ref.fetches_rows)
    ops, head, shares, stream = _rank(workload, plan, array, *how)
    # the last stage sets the pace: a head besides its layers, which are taken to be those of the fullest
    runs = np.where(head, 1.0, layers) * shares
    macs = runs @ ops.macs
    sent_B = p.tokens / (1 if decode else plan.cp) * model.hidden * ACTIVATION_B
    hop = stage_message(sent_B, plan, system.fabric, ref, whole=True)
    # a turn in decode takes all stages, each of which works once per group
    groups = n_groups(workload, plan)
    n_passes = float(groups if isinstance(workload, Decode) else groups * workload.n_chunks)
    new = n_each if isinstance(workload, Decode) else workload.prompt
    none = traffic_demand(Traffic())
    return host_record(
        StepDemand,
        ops=op_demand(ops, runs, np.where(head, 1.0, float(model.n_layers)) * shares, plan.pp),
        tensor=traffic_demand(_tensor_traffic(workload, plan, p, system, layers, ref)),
        pipeline=traffic_demand(hop.times(float(plan.pp > 1))),  # one stage has no next
        shard=traffic_demand(_context_traffic(workload, plan, p, system, layers, ref)),
        data=none,
        n_host=0.0,  # graphs are replayed: the loop's own time is in `n_calls`
        n_micro=n_passes,
        # what is missing to a full pipeline in every turn; a prompt fills and drains it once
        bubble_micro=float(plan.pp - (groups if decode else 1)),
        idle_frac=idle_frac(layers, model.n_layers, plan.pp),
        window_micro=0.5,  # no gradients to hide, so that any part of a pass gives the same time
        optimizer_B=0.0,
        macs=macs,
        memory_B=memory_B(plan, workload, n_each=n_each).total,
        tokens=workload.batch * new,
        model_FLOP=useful_FLOP(workload, new) / system.n_chips,
        rate=array.rates[array.executed(products_of(workload))],
        stream=stream_demand(stream, runs),
        n_calls=1.0 if decode else n_passes,
        n_requests=0.0 if decode else 1.0,
    )


def useful_FLOP(workload: Serving, new: int) -> float:
    """Useful FLOP of a step of `new` tokens a sequence: weights and attended positions of each, and one head."""
    model = workload.model
    # the newest token is one of the context, and attends to itself
    cached = workload.context - 1.0 if isinstance(workload, Decode) else workload.cached
    head = 2.0 * model.hidden * n_outputs(model)
    return workload.batch * (new * (forward_FLOP_per_token(model, cached, new) - head) + head)
