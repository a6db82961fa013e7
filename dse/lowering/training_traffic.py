"""Communication of a training step: tensor-parallel within blocks, between pipeline stages, between replicas."""

from __future__ import annotations

from ..core.provenance import number
from ..hardware.system import Fabric
from ..workload.blocks import last_mlp_frac
from ..workload.transformer import Model, Training, moe_share, n_branches
from .activations import ACTIVATION_B
from .collective import Reference, Traffic, across_all_reduce, across_gather, all_to_all, send
from .groups import spread, stage_way
from .memory import (
    GRADIENT_B,
    WEIGHT_B,
    chip_adapter_parameters,
    chip_expert_parameters,
    chip_parameters,
    n_shards,
    weight_B,
)
from .mixer_ops import ring_width
from .plan import Plan, n_forward_runs, n_micro_batches
from .software import framework, moves


def tensor_traffic(
    workload: Training, plan: Plan, fabric: Fabric, layers: float, ref: Reference, software: str
) -> Traffic:
    """Traffic of tensor and expert ranks per micro batch; full recomputation repeats the forward part.

    Tensor ranks gather and scatter activations four times per block and way (or all-reduce twice without sequence
    parallelism). Source: [korthikanti2022] section 4.2.2; [lepikhin2020gshard] for experts, before and after, each way;
    [megatron2026dispatcher] `MoEAlltoAllTokenDispatcher` for visits that tensor ranks gather behind the exchange.
    """
    model = workload.model
    tokens = plan.micro_batch * workload.sequence / plan.cp
    forward = n_forward_runs(plan)
    volume = tokens * model.hidden * ACTIVATION_B
    across, n_each = (across_gather, 2.0) if plan.sequence_parallel else (across_all_reduce, 1.0)
    ranks = spread(fabric, 1, plan.tp)
    # backward gathers where forward scatters and moves as much; each recomputation repeats the forward part
    n_ways = layers * (forward + 1.0)
    branches, left_out = n_branches(model), layers * (forward - 1.0) * _left_out(model, software, plan.offload)
    if model.experts is None:
        return across(*ranks, volume, ref).times(n_each * branches * n_ways - left_out)
    e, moe_ways = model.experts, moe_share(model) * n_ways
    visits = volume * e.per_token * e.routed_width(model.hidden) / model.hidden
    split = plan.tp if plan.sequence_parallel else 1
    total = all_to_all(*spread(fabric, plan.tp, plan.ep), visits / split).times(2.0 * moe_ways)
    if split > 1 and plan.ep > 1:
        # a rank has sent its own part of the sequence alone, so that visits, not tokens, are gathered at the experts;
        # tokens as well only for what every one of them passes beside
        total += across(*ranks, visits, ref).times(n_each * moe_ways)
        branches -= 0.0 if e.shared_ffn or e.parallel_ffn else moe_share(model)
    return total + across(*ranks, volume, ref).times(n_each * branches * n_ways - left_out)


def _left_out(model: Model, software: str, kept: bool) -> float:
    """Sums over tensor ranks that a layer which is computed again leaves out: its last product's, `kept` mixers'."""
    mixers = sum(share for b, share in model.shares if b.mixers and not b.rests) if kept else 0.0
    return last_mlp_frac(model.shares) * (1.0 - moves(software)["replays_last"]) + mixers


def context_traffic(workload: Training, plan: Plan, fabric: Fabric, layers: float, ref: Reference) -> Traffic:
    """Traffic of context ranks per micro batch: keys, values, backward their gradients. Source: [liu2023ring]."""
    model = workload.model
    width = sum(share * ring_width(m, plan.tp, latent=False) for m, share in model.working_mixers)
    # the whole sequence: every rank's queries meet all keys, whoever made them
    volume = plan.micro_batch * workload.sequence * width * ACTIVATION_B
    # backward keys and values go around once more, and their gradients once
    return across_gather(*spread(fabric, plan.tp, plan.cp), volume, ref).times(layers * (n_forward_runs(plan) + 2.0))


def pipeline_traffic(workload: Training, plan: Plan, fabric: Fabric, ref: Reference) -> Traffic:
    """Traffic between stages per micro batch: an activation forward and its gradient back, per virtual stage.

    Source: [narayanan2021megatron] section 4.1: tensor ranks send parts, gathered without sequence parallelism.
    """
    if plan.pp == 1:
        return Traffic()
    volume = plan.micro_batch * workload.sequence / plan.cp * workload.model.hidden * ACTIVATION_B
    return stage_message(volume, plan, fabric, ref, not plan.sequence_parallel).times(2.0 * plan.interleave)


def stage_message(volume_B: float, plan: Plan, fabric: Fabric, ref: Reference, whole: bool) -> Traffic:
    """Tokens of `volume_B` to the next stage: a part from each tensor rank, gathered there if all need the `whole`."""
    message = send(volume_B / plan.tp, stage_way(fabric, plan.tp * plan.cp * plan.dp))
    return message + across_gather(*spread(fabric, 1, plan.tp), volume_B, ref) if whole else message


def collectives(plan: Plan) -> list[tuple[int, float]]:
    """Ranks and number per block and micro batch of every kind of collective that a plan has."""
    ranks = {"tensor": plan.tp, "context": plan.cp, "expert": plan.ep, "shard": plan.dp if plan.zero >= 3 else 1}
    return [(n, number(framework(), f"n_{kind}_collectives")) for kind, n in ranks.items() if n > 1]


def data_traffic(
    workload: Training, plan: Plan, n_layers: float, fabric: Fabric, ref: Reference, call_B: float
) -> tuple[Traffic, Traffic, float]:
    """Traffic per micro batch and step over replicas of `n_layers`, and weights whose optimizer states a chip holds.

    ZeRO-0 all-reduces gradients in fp32; stage 1 scatters them and gathers bf16 weights; stage 2 has room for a shard
    of gradients alone, and scatters those of every micro batch; stage 3 gathers in each too, forward and backward.
    Frozen weights have no gradients: those of adapters are all-reduced. Copies of sharded states add up shards once a
    step. Weights travel by blocks, gradients in buckets of `call_B`.
    Source: [rajbhandari2020zero] section 7; [zhao2023fsdp] section 3.2.2 for hybrid sharding; [hu2022lora] section 4.2.
    """
    model = workload.model
    if workload.adapter_rank:
        return _adapter_traffic(workload, plan, n_layers, fabric, ref)
    # experts apart: their replicas are fewer, and lie further apart
    n_all = chip_parameters(plan, model, n_layers)
    n_expert = chip_expert_parameters(plan, model, n_layers)
    per_micro, per_step, held = Traffic(), Traffic(), 0.0
    replicas, earlier = plan.dp * plan.cp, 1.0 - 1.0 / max(n_micro_batches(plan, workload), 1)
    # an expert rank alone holds its experts, so that fewer replicas share them
    parts = (n_all - n_expert, replicas, plan.tp), (n_expert, replicas // plan.ep, plan.tp * plan.ep)
    for n, ranks, inner in (p for p in parts if p[0] > 0.0):
        shards = n_shards(plan, ranks)
        where = spread(fabric, inner, shards)
        held += n / shards if plan.zero >= 1 else n
        n_calls = n_layers if plan.zero >= 3 else _n_buckets(n, call_B, n_layers)
        waits = Traffic(upper_s=fabric.wait_s * ranks * n_calls)
        if plan.zero == 0:
            per_step += across_all_reduce(*where, n * GRADIENT_B / n_calls, ref).times(n_calls) + waits
            continue
        # one copy is a group of one, which sends nothing
        between = spread(fabric, inner * shards, ranks // shards)
        per_step += across_all_reduce(*between, n / shards * GRADIENT_B, ref)
        # bytes are the same in any number of calls, hops and waits are paid for each
        scatter = across_gather(*where, n * GRADIENT_B / n_calls, ref).times(n_calls)
        gather = across_gather(*where, n * WEIGHT_B / n_calls, ref).times(n_calls)
        if plan.zero >= 3:
            per_micro += scatter + gather.times(2.0)
            continue
        # behind the last micro batch as at stage 1, and of all others behind these
        per_step += scatter + gather + waits
        per_micro += scatter.times(earlier if plan.zero == 2 else 0.0)
    return per_micro, per_step, held


def _n_buckets(n: float, call_B: float, layers: float) -> float:
    """Collectives that carry the gradients of `n` weights in `layers` blocks of a stage, at most one for each block."""
    return max(1.0, min(n * WEIGHT_B / call_B, layers))


def _adapter_traffic(
    workload: Training, plan: Plan, n_layers: float, fabric: Fabric, ref: Reference
) -> tuple[Traffic, Traffic, float]:
    """As `data_traffic`, with frozen weights."""
    n, ranks = chip_adapter_parameters(plan, workload), plan.dp * plan.cp
    where, gathers = spread(fabric, plan.tp, ranks), Traffic()
    if plan.zero >= 3:
        # frozen weights travel as narrow as they are kept
        block_B = chip_parameters(plan, workload.model, n_layers) * weight_B(workload) / n_layers
        gathers = across_gather(*where, block_B, ref).times(2.0 * n_layers)  # for forward and backward
    return gathers, across_all_reduce(*where, n * GRADIENT_B, ref), n
