"""`demand`: lowers a workload under a plan, on the host, to the coefficients (`StepDemand`) that physics prices."""

from __future__ import annotations

import dataclasses
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from ..core.provenance import number
from ..core.types import host_record
from ..hardware.chip import Chip
from ..hardware.system import Fabric, System
from ..workload.transformer import Model, Training, Workload
from .activations import Footprint, balanced_stages, end_layers, footprint
from .collective import Reference
from .cores import core_reference, on_chip, ranks_of
from .headroom import usable_B
from .linears import Shard
from .memory import WEIGHT_B, memory_B
from .plan import Plan, check_plan, check_values, idle_frac, n_forward_runs, n_micro_batches
from .plan_keys import ORDERS
from .serving import pass_demand
from .software import framework, moves, usual_software
from .step_demand import StepDemand, TrafficDemand, traffic_demand
from .streaming import Stream, stream_demand, streamed
from .tiling import ArrayShape, RankOps, array_shape, as_run, op_demand, rank_ops
from .training_ops import shard, training_ops, useful_FLOP_per_token
from .training_traffic import collectives, context_traffic, data_traffic, pipeline_traffic, tensor_traffic

OPTIMIZER_TRAFFIC_B = 16.0 + 12.0 + WEIGHT_B
"""Adam in fp32: read gradient, master and two moments, write master and moments and the bf16 weight."""


@cache
def _rank(workload: Training, s: Shard, array: ArrayShape) -> tuple[RankOps, list[str], np.ndarray, Stream | None]:
    """Operators of a rank, tiled, with phase or kind of result, share of blocks and stream; many plans share it."""
    # by the part of a plan that decides shapes: thousands of plans have a few dozen such parts
    placed, stream = training_ops(workload, s), None
    if s.stream:
        placed, stream = streamed(placed, training=True)
    shares = np.asarray([p.share for p in placed])
    return rank_ops([p.op for p in placed], array), [p.result or p.phase for p in placed], shares, stream


def _times(plan: Plan, software: str) -> dict[str, float]:
    """Runs of a layer's operators per micro batch, by phase; the last product may run once, see `moves.toml`.

    Results of a mixer's products wait in host memory beside the layer's input where a plan offloads.
    Source: [google2026maxtext] maxtext_trillium_model_configs: `query_proj`, `key_proj`, `value_proj`, `out_proj`.
    """
    again = n_forward_runs(plan) - 1.0
    last = 1.0 + again * moves(software)["replays_last"]
    mixer = 1.0 if plan.offload else 1.0 + again
    return {"forward": 1.0 + again, "last": last, "mixer": mixer, "backward": 1.0, "head": 0.0}


def _runs(
    phases: list[str], shares: np.ndarray, macs: np.ndarray, plan: Plan, model: Model, balanced: bool, software: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Runs of each operator per micro batch on the slowest stage and on all, and the layers whose messages count.

    `balanced` software cuts stages by cost. Elsewhere each has the same number of layers; where they do not divide, the
    last is among those with one less, and so has that much time for the head:
        layers run = floor(L / pp) + max(0, 1 - h), and the head
    with h the multiplications of the head over those of a layer, 0 layers more where the stages divide them. Where
    h < 1 that is the work of a stage with one layer more and no head, and its layers send as many messages.
    Source: [scao2022bloom] section 3.2.3: embedding and head are given the place of a layer.
    """
    layer = np.asarray([*map(_times(plan, software).__getitem__, phases)]) * shares
    head = np.asarray([p == "head" for p in phases]) * shares
    h, whole = float(macs @ head) / float(macs @ layer), model.n_layers * layer + head
    if balanced:
        stages = balanced_stages(model, plan.pp)
        layers, heads = stages[np.argmax(stages @ [1.0, h])]
        # a stage with the head alone sends what no ratio to other stages could tell: theirs is counted
        return layers * layer + heads * head, whole, float(layers or stages[:, 0].max())
    # the slowest stage has a layer more than the last, or is the last if its head takes longer than that layer
    fewest, spare = divmod(model.n_layers, plan.pp)
    more = max(0.0, 1.0 - h) if spare else 0.0
    return (fewest + more) * layer + head, whole, float(fewest + (more > 0.0))


def _backward_share(ops: RankOps, phases: list[str], runs: np.ndarray) -> float:
    """Share of a micro batch's MACs in the backward pass of the blocks."""
    macs = ops.macs.sum(axis=1) * runs
    return float(macs[[p == "backward" for p in phases]].sum() / macs.sum())


def n_host_calls(
    runs: np.ndarray, ops: RankOps, phases: list[str], layers: float, plan: Plan, software: str, is_adapted: bool
) -> float:
    """Kernels, collectives and graphs that the host starts per micro batch; a framework adds a few small kernels each.

    Where adapters alone are trained, software may capture layers: each then starts as two graphs, one for either pass.
    Source: [nvidia2025graphs].
    """
    kind = moves(software)
    # what a framework starts beside an operator (casts, copies, checks) is too small to name and not too small to count
    each = number(framework(), "n_kernels_per_operator") * kind["starts"]
    calls = runs * ops.columns[-1]  # the last column of `RankOps` counts launches
    head = float(calls @ np.asarray([p == "head" for p in phases], float))
    inside = float(calls.sum()) - head + sum(n for _, n in collectives(plan)) * layers
    captured = kind["captured_frac"] if is_adapted else 0.0
    return each * ((1.0 - captured) * inside + head) + captured * N_PASSES * layers


N_PASSES = 2.0
"""Passes of a layer over a micro batch, forward and backward."""
BUBBLE = {"1f1b": 1.0, "zb": 1.0 / 3.0}
"""Idle micro batches per stage beyond the first; weight gradients fill two thirds with "zb" [qi2024zerobubble]."""


def plan_demand(
    workload: Training, plan: Plan, system: System, array: ArrayShape, ref: Reference, software: str = "",
    kept: Footprint | None = None,
) -> StepDemand:  # fmt: skip
    """Coefficients of one optimizer step under a plan that is not checked; default `software` of the chip.

    Source: [narayanan2021megatron] section 2.2: stages idle for (pp - 1)/v micro batches.
    """
    workload = as_run(workload, array)
    software = software or usual_software(plan, system.chip.lane_kind)
    s = shard(plan, software, float(system.chip.core.tensor.instruction_rows))
    ops, phases, shares, stream = _rank(workload, s, array)
    kept = kept or footprint(software)
    cut = plan, workload.model, bool(kept.balanced_stages), software
    runs, whole, layers = _runs(phases, shares, ops.macs.sum(axis=1), *cut)
    macs = runs @ ops.macs
    # what travels and what is held is the same in every order of operators, and cached once
    any_order = dataclasses.replace(plan, order=ORDERS[0])
    beside = _beside(workload, any_order, layers, system.fabric, kept, ref, software)
    step_tokens = workload.global_batch * workload.sequence
    return host_record(
        StepDemand,
        ops=op_demand(ops, runs, whole, plan.pp),
        tensor=beside.tensor,
        pipeline=dataclasses.replace(beside.pipeline, upper_s=_retry_s(plan, beside.memory_B, system.chip, software)),
        shard=beside.shard,
        data=beside.data,
        n_host=n_host_calls(runs, ops, phases, layers, plan, software, workload.adapter_rank > 0),
        n_micro=n_micro_batches(plan, workload),
        # filling and draining pass the stages in steps of a virtual stage, v times shorter
        bubble_micro=(plan.pp - 1) / plan.interleave * BUBBLE[plan.schedule],
        window_micro=_backward_share(ops, phases, runs),
        optimizer_B=OPTIMIZER_TRAFFIC_B * beside.n_held,
        macs=macs,
        memory_B=beside.memory_B,
        tokens=step_tokens,
        model_FLOP=beside.useful_FLOP_per_token * step_tokens / system.n_chips,
        # of what runs, so that MFU is a share of a peak that could be reached
        rate=array.rates[array.executed(workload.precision)],
        stream=stream_demand(stream, runs),
        tensor_waits_frac=moves(software)["tensor_waits_frac"],
        pipeline_waits_frac=float(plan.interleave == 1),  # of virtual stages another works meanwhile
        idle_frac=idle_frac(layers, workload.model.n_layers, plan.pp),
        wait_s=system.fabric.wait_s * layers * sum(ranks * n for ranks, n in collectives(plan)),
    )


def _retry_s(plan: Plan, needed_B: float, chip: Chip, software: str) -> float:
    """Stall of a stage per micro batch while an allocator that found no room gives all it holds back and asks anew [s].

    Assumes: only pipelines stall. Elsewhere every micro batch asks for the same blocks in the same order and gets those
    of the last one back; a stage keeps several in flight, and its blocks no longer fit where others were.
    """
    full = needed_B > number(framework(), "full_frac") * usable_B(chip)
    return moves(software)["retry_s"] if plan.pp > 1 and full else 0.0


class _Beside(NamedTuple):
    """Traffic and memory of a plan besides its operators, independent of the PE array."""

    tensor: TrafficDemand
    pipeline: TrafficDemand
    shard: TrafficDemand
    data: TrafficDemand
    n_held: float
    """Weights whose optimizer states a chip holds."""
    memory_B: float
    useful_FLOP_per_token: float


@lru_cache(maxsize=4096)  # a study asks for the plans in every order of operators and on every PE array
def _beside(
    workload: Training, plan: Plan, layers: float, fabric: Fabric, kept: Footprint, ref: Reference, software: str
) -> _Beside:
    """Traffic and memory of a plan in any order; see `training_traffic`."""
    # the stage with the embedding, whose gradients are reduced with those of its layers
    n_layers = end_layers(plan, workload.model, bool(kept.balanced_stages))[0]
    per_micro, per_step, n_held = data_traffic(workload, plan, n_layers, fabric, ref, moves(software)["call_B"])
    return _Beside(
        tensor=traffic_demand(tensor_traffic(workload, plan, fabric, layers, ref, software)),
        pipeline=traffic_demand(pipeline_traffic(workload, plan, fabric, ref)),
        shard=traffic_demand(per_micro + context_traffic(workload, plan, fabric, layers, ref)),
        data=traffic_demand(per_step),
        n_held=n_held,
        memory_B=memory_B(plan, workload, kept).total,
        useful_FLOP_per_token=useful_FLOP_per_token(workload),
    )


def demand(
    workload: Workload, plan: Plan, system: System, ref: Reference, array: ArrayShape | None = None
) -> StepDemand:
    """Coefficients of `workload` under `plan`, for another PE array if given; PlanError as `check_plan`.

    Ranks are chips, or the cores of chips where a plan has as many (`ranks_of`).
    """
    check_values(plan)
    ranks, per_chip = ranks_of(plan, system)
    check_plan(plan, workload, ranks)
    array = array_shape(system.chip.core.tensor) if array is None else array
    return on_chip(valid_demand(workload, plan, ranks, core_reference(ref, per_chip), array), per_chip)


def valid_demand(workload: Workload, plan: Plan, system: System, ref: Reference, array: ArrayShape) -> StepDemand:
    """As `demand`, without `check_plan`, for plans from `plans`."""
    of_phase = plan_demand if isinstance(workload, Training) else pass_demand
    return of_phase(workload, plan, system, array, ref)  # type: ignore[arg-type]
