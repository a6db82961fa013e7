"""A workload under a plan, lowered on the host, once per discrete choice, to coefficients: a posynomial of the chip."""

from __future__ import annotations

import dataclasses
import math
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from ..core.provenance import number
from ..core.types import host_record
from ..hardware.system import Fabric, System
from ..workload.transformer import Model, Training, Workload, forward_FLOP_per_token, moe_share, n_branches
from .activations import ACTIVATION_B, Footprint, footprint
from .collective import Reference, Traffic, across_all_reduce, across_gather, all_to_all, send, spread
from .executed import as_run
from .memory import (
    GRADIENT_B,
    WEIGHT_B,
    chip_adapter_parameters,
    chip_expert_parameters,
    chip_parameters,
    memory_B,
    weight_B,
)
from .mixer_ops import ring_width
from .plan import ORDERS, Plan, check_plan, n_forward_runs, n_micro_batches
from .serving import pass_demand
from .software import framework, moves, usual_software
from .stages import balanced_stages, end_layers
from .step_demand import StepDemand, TrafficDemand, traffic_demand
from .streaming import Stream, stream_demand, streamed
from .tiling import ArrayShape, RankOps, array_shape, op_demand, rank_ops
from .training_ops import Shard, shard, training_ops

OPTIMIZER_TRAFFIC_B = 16.0 + 12.0 + WEIGHT_B
"""Adam in fp32: read gradient, master and two moments, write master and moments and the bf16 weight."""


@cache
def _rank(workload: Training, s: Shard, array: ArrayShape) -> tuple[RankOps, list[str], np.ndarray, Stream | None]:
    """Operators of a rank, tiled, with phase, share of blocks and their stream; many plans share it."""
    placed, stream = training_ops(workload, s), None
    if s.stream:
        placed, stream = streamed(placed, training=True)
    shares = np.asarray([p.share for p in placed])
    return rank_ops([p.op for p in placed], array), [p.phase for p in placed], shares, stream


def _runs(
    phases: list[str], shares: np.ndarray, macs: np.ndarray, plan: Plan, model: Model, balanced: bool
) -> tuple[np.ndarray, float]:
    """Runs of each operator per micro batch on the slowest stage, and the layers of the stage that has most.

    `balanced` software cuts stages by cost. Elsewhere each has the same number of layers; where they do not divide, the
    last is among those with one less, and so has that much time for the head:
        layers = floor(L / pp) + max(0, 1 - h)
    with h the multiplications of the head over those of a layer, 0 layers more where the stages divide them.
    Source: [scao2022bloom] section 3.2.3: embedding and head are given the place of a layer.
    """
    times = {"forward": n_forward_runs(plan), "backward": 1.0, "head": 0.0}
    layer = np.asarray([times[p] for p in phases]) * shares
    head = np.asarray([p == "head" for p in phases]) * shares
    h = float(macs @ head) / float(macs @ layer)
    if balanced:
        stages = balanced_stages(model, plan.pp)
        layers, heads = stages[np.argmax(stages @ [1.0, h])]
        return layers * layer + heads * head, float(stages[:, 0].max())
    fewest, spare = divmod(model.n_layers, plan.pp)
    layers = fewest + max(0.0, 1.0 - h) if spare else float(fewest)
    return layers * layer + head, layers


def _backward_share(ops: RankOps, phases: list[str], runs: np.ndarray) -> float:
    """Share of a micro batch's MACs in the backward pass of the blocks."""
    macs = ops.macs.sum(axis=1) * runs
    return float(macs[[p == "backward" for p in phases]].sum() / macs.sum())


def _tensor_traffic(workload: Training, plan: Plan, fabric: Fabric, layers: float, ref: Reference) -> Traffic:
    """Traffic of tensor and expert ranks per micro batch; full recomputation repeats the forward part.

    Tensor ranks gather and scatter activations four times per block and way (or all-reduce twice without sequence
    parallelism). Source: [korthikanti2022] section 4.2.2; [lepikhin2020gshard] for experts, before and after, each way.
    """
    model = workload.model
    tokens = plan.micro_batch * workload.sequence / plan.cp
    forward = n_forward_runs(plan)
    volume = tokens * model.hidden * ACTIVATION_B
    if plan.sequence_parallel:
        once = across_gather(*spread(fabric, 1, plan.tp), volume, ref).times(2.0 * n_branches(model) * (forward + 1.0))
    else:
        once = across_all_reduce(*spread(fabric, 1, plan.tp), volume, ref).times(n_branches(model) * (forward + 1.0))
    total = once.times(layers)
    if model.experts is not None:
        split = plan.tp if plan.sequence_parallel else 1
        sent = volume * model.experts.per_token / split
        moe_layers = layers * moe_share(model)
        exchange = all_to_all(*spread(fabric, plan.tp, plan.ep), sent)
        total += exchange.times(2.0 * (forward + 1.0) * moe_layers)
    return total


def _context_traffic(workload: Training, plan: Plan, fabric: Fabric, layers: float, ref: Reference) -> Traffic:
    """Traffic of context ranks per micro batch: keys, values, backward their gradients. Source: [liu2023ring]."""
    model = workload.model
    width = sum(share * ring_width(m, plan.tp, latent=False) for m, share in model.working_mixers)
    volume = plan.micro_batch * workload.sequence * width * ACTIVATION_B
    forward = n_forward_runs(plan)
    return across_gather(*spread(fabric, plan.tp, plan.cp), volume, ref).times(layers * (forward + 2.0))


def _pipeline_traffic(workload: Training, plan: Plan, fabric: Fabric, ref: Reference) -> Traffic:
    """Traffic between stages per micro batch: an activation forward and its gradient back, per virtual stage.

    Source: [narayanan2021megatron] section 4.1: tensor ranks send parts, gathered without sequence parallelism.
    """
    if plan.pp == 1:
        return Traffic()
    volume = plan.micro_batch * workload.sequence / plan.cp * workload.model.hidden * ACTIVATION_B
    message = send(volume / plan.tp, inside=plan.tp * plan.cp * plan.dp * 2 <= fabric.n_chips)
    if not plan.sequence_parallel:
        message += across_gather(*spread(fabric, 1, plan.tp), volume, ref)
    return message.times(2.0 * plan.interleave)


def n_host_calls(runs: np.ndarray, ops: RankOps, layers: float, plan: Plan, software: str) -> float:
    """Kernels and collectives that the host starts per micro batch; a framework adds a few small kernels for each."""
    collectives = sum(n for _, n in _collectives(plan))
    each = number(framework(), "n_kernels_per_operator") * moves(software)["starts"]
    return each * (float(runs @ ops.columns[-1]) + collectives * layers)


def _collectives(plan: Plan) -> list[tuple[int, float]]:
    """Ranks and number per block and micro batch of every kind of collective that a plan has."""
    ranks = {"tensor": plan.tp, "context": plan.cp, "expert": plan.ep, "shard": plan.dp if plan.zero >= 3 else 1}
    return [(n, number(framework(), f"n_{kind}_collectives")) for kind, n in ranks.items() if n > 1]


def _data_traffic(
    workload: Training, plan: Plan, n_layers: float, fabric: Fabric, ref: Reference, call_B: float
) -> tuple[Traffic, Traffic, float]:
    """Traffic per micro batch and step over replicas of `n_layers`, and weights whose optimizer states a chip holds.

    ZeRO-0 all-reduces gradients in fp32; stages 1 and 2 scatter them and gather bf16 weights; stage 3 does so every
    micro batch, gathers forward and backward. Frozen weights have no gradients: those of adapters are all-reduced.
    Copies of sharded states add up shards once a step. Weights travel by blocks, gradients in buckets of `call_B`.
    Source: [rajbhandari2020zero] section 7; [zhao2023fsdp] section 3.2.2 for hybrid sharding; [hu2022lora] section 4.2.
    """
    model = workload.model
    if workload.adapter_rank:
        return _adapter_traffic(workload, plan, fabric, ref)
    n_all = chip_parameters(plan, model, n_layers)
    n_expert = chip_expert_parameters(plan, model, n_layers)
    per_micro, per_step, held = Traffic(), Traffic(), 0.0
    replicas, layers = plan.dp * plan.cp, model.n_layers / plan.pp
    parts = (n_all - n_expert, replicas, plan.tp), (n_expert, replicas // plan.ep, plan.tp * plan.ep)
    for n, ranks, inner in (p for p in parts if p[0] > 0.0):
        n_copies = math.gcd(plan.n_copies, ranks) if plan.zero else 1
        shards = ranks // n_copies
        where = spread(fabric, inner, shards)
        held += n / shards if plan.zero >= 1 else n
        n_calls = layers if plan.zero >= 3 else _n_buckets(n, call_B, layers)
        waits = Traffic(upper_s=fabric.wait_s * ranks * n_calls)
        if plan.zero == 0:
            per_step += across_all_reduce(*where, n * GRADIENT_B / n_calls, ref).times(n_calls) + waits
            continue
        between = spread(fabric, inner * shards, n_copies)
        per_step += across_all_reduce(*between, n / shards * GRADIENT_B, ref)
        scatter = across_gather(*where, n * GRADIENT_B / n_calls, ref).times(n_calls)
        gather = across_gather(*where, n * WEIGHT_B / n_calls, ref).times(n_calls)
        if plan.zero >= 3:
            per_micro += scatter + gather.times(2.0)
        else:
            per_step += scatter + gather + waits
    return per_micro, per_step, held


def _n_buckets(n: float, call_B: float, layers: float) -> float:
    """Collectives that carry the gradients of `n` weights in `layers` blocks of a stage, at most one for each block."""
    return max(1.0, min(n * WEIGHT_B / call_B, layers))


def _adapter_traffic(workload: Training, plan: Plan, fabric: Fabric, ref: Reference) -> tuple[Traffic, Traffic, float]:
    """As `_data_traffic`, with frozen weights."""
    n, ranks = chip_adapter_parameters(plan, workload), plan.dp * plan.cp
    where, gathers = spread(fabric, plan.tp, ranks), Traffic()
    if plan.zero >= 3:
        layers = workload.model.n_layers / plan.pp
        block_B = chip_parameters(plan, workload.model) * weight_B(workload) / layers
        gathers = across_gather(*where, block_B, ref).times(2.0 * layers)
    return gathers, across_all_reduce(*where, n * GRADIENT_B, ref), n


BUBBLE = {"1f1b": 1.0, "zb": 1.0 / 3.0}
"""Idle micro batches per stage beyond the first; weight gradients fill two thirds with "zb" [qi2024zerobubble]."""


def plan_demand(
    workload: Training, plan: Plan, system: System, array: ArrayShape, ref: Reference, software: str = "",
    kept: Footprint | None = None,
) -> StepDemand:  # fmt: skip
    """Coefficients of one optimizer step under an unchecked plan, with the usual `software` unless told.

    Source: [narayanan2021megatron] section 2.2: stages idle for (pp - 1)/v micro batches.
    """
    workload = as_run(workload, array)
    software = software or usual_software(plan, system.chip.lane_kind)
    s = shard(plan, software, float(system.chip.core.tensor.instruction_rows))
    ops, phases, shares, stream = _rank(workload, s, array)
    kept = kept or footprint(software)
    runs, layers = _runs(phases, shares, ops.macs.sum(axis=1), plan, workload.model, bool(kept.balanced_stages))
    macs = runs @ ops.macs
    any_order = dataclasses.replace(plan, order=ORDERS[0])
    call_B = moves(software)["call_B"]
    beside = _beside(workload, any_order, layers, system.fabric, kept, ref, call_B)
    step_tokens = workload.global_batch * workload.sequence
    return host_record(
        StepDemand,
        ops=op_demand(ops, runs),
        tensor=beside.tensor,
        pipeline=beside.pipeline,
        shard=beside.shard,
        data=beside.data,
        n_host=n_host_calls(runs, ops, layers, plan, software),
        n_micro=n_micro_batches(plan, workload),
        bubble_micro=(plan.pp - 1) / plan.interleave * BUBBLE[plan.schedule],
        window_micro=_backward_share(ops, phases, runs),
        optimizer_B=OPTIMIZER_TRAFFIC_B * beside.n_held,
        macs=macs,
        memory_B=beside.memory_B,
        tokens=step_tokens,
        model_FLOP=3 * beside.forward_FLOP_per_token * step_tokens / system.n_chips,
        rate=array.rates[array.executed(workload.precision)],
        stream=stream_demand(stream, runs),
        tensor_waits_frac=moves(software)["tensor_waits_frac"],
        wait_s=system.fabric.wait_s * layers * sum(ranks * n for ranks, n in _collectives(plan)),
    )


class _Beside(NamedTuple):
    """What a plan moves and keeps beside its operators, whatever the PE array is."""

    tensor: TrafficDemand
    pipeline: TrafficDemand
    shard: TrafficDemand
    data: TrafficDemand
    n_held: float
    """Weights whose optimizer states a chip holds."""
    memory_B: float
    forward_FLOP_per_token: float


@lru_cache(maxsize=4096)  # a study asks for the plans in every order of operators and on every PE array
def _beside(
    workload: Training, plan: Plan, layers: float, fabric: Fabric, kept: Footprint, ref: Reference, call_B: float
) -> _Beside:
    """Traffic and memory of a plan in any order; see the functions of each kind of traffic."""
    n_layers = end_layers(plan, workload.model, bool(kept.balanced_stages))[0]
    per_micro, per_step, n_held = _data_traffic(workload, plan, n_layers, fabric, ref, call_B)
    return _Beside(
        tensor=traffic_demand(_tensor_traffic(workload, plan, fabric, layers, ref)),
        pipeline=traffic_demand(_pipeline_traffic(workload, plan, fabric, ref)),
        shard=traffic_demand(per_micro + _context_traffic(workload, plan, fabric, layers, ref)),
        data=traffic_demand(per_step),
        n_held=n_held,
        memory_B=memory_B(plan, workload, kept).total,
        forward_FLOP_per_token=forward_FLOP_per_token(workload.model, 0.0, workload.sequence),
    )


def demand(
    workload: Workload, plan: Plan, system: System, ref: Reference, array: ArrayShape | None = None
) -> StepDemand:
    """Coefficients of `workload` under `plan`, on another PE array if given; PlanError where it does not fit."""
    check_plan(plan, workload, system)
    return valid_demand(workload, plan, system, ref, array_shape(system.chip.core.tensor) if array is None else array)


def valid_demand(workload: Workload, plan: Plan, system: System, ref: Reference, array: ArrayShape) -> StepDemand:
    """As `demand`, for one of the plans that `plans` names: to check thousands again takes a fifth of their time."""
    of_phase = plan_demand if isinstance(workload, Training) else pass_demand
    return of_phase(workload, plan, system, array, ref)  # type: ignore[arg-type]
