"""A served model as one workload of a study: a decode pass with its share of prefill as one demand.

The engine never idles: each pass adds a token to every sequence and reads the prompts that replace ended sequences.
Plans of all engine sizes and batches compete by time per token.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from ..core.errors import PlanError
from ..hardware.system import System
from ..workload.requests import Asked, FreeBatch, Requests
from ..workload.transformer import Prefill, Workload
from .collective import Reference
from .demand import demand, valid_demand
from .engines import Shape, decode_of, part_of, shapes, writer_memory
from .plan import Plan, check_plan, plans
from .step_demand import StepDemand, TrafficDemand
from .tiling import ArrayShape, OpDemand

MAX_SERVED = 1024
"""Most sequences per data-parallel rank that a study tries."""
MEMORY_QUANTILE_FRAC = 0.95
"""Quantile of the number of sequences for which the KV cache is sized."""


def asked_plans(workload: Asked, system: System, streams: bool = False) -> list[Plan]:
    """All valid plans; for served models of every engine size, without pipelines; free batches in powers of two."""
    sizes = [2**i for i in range(MAX_SERVED.bit_length())]
    if isinstance(workload, FreeBatch):
        return _free_plans(workload, system, sizes, streams)
    if not isinstance(workload, Requests):
        return plans(workload, system, streams=streams)
    workload.check_decodes()
    # `_followed` adds up passes of one micro batch; a pipeline has several, and a bubble of its own in each phase
    every = (s.plan for s in shapes(system, workload) if s.plan.pp == 1)
    return [dataclasses.replace(p, micro_batch=n) for p in every for n in sizes]


def _free_plans(workload: FreeBatch, system: System, sizes: list[int], streams: bool) -> list[Plan]:
    """Plans of a phase with a free batch, for several numbers of sequences per replica."""
    every = plans(workload.at(system.n_chips), system, streams=streams)  # whose replicas divide any number of chips
    found = [dataclasses.replace(p, micro_batch=n) for p in every for n in sizes]
    return [p for p in found if _divides(p, phase_under(workload, p), system)]


def _divides(plan: Plan, workload: Workload, system: System) -> bool:
    try:
        check_plan(plan, workload, system)
    except PlanError:
        return False
    return True


def phase_under(workload: Workload | FreeBatch, plan: Plan) -> Workload:
    """The phase under a plan; a free batch follows from the plan's replicas and their sequences."""
    return workload.at(plan.micro_batch * plan.dp) if isinstance(workload, FreeBatch) else workload


def asked_demand(workload: Asked, plan: Plan, system: System, ref: Reference, array: ArrayShape) -> StepDemand:
    """Coefficients of a workload under one of its `asked_plans`; for a served model, per token of every sequence."""
    if not isinstance(workload, Requests):
        return valid_demand(phase_under(workload, plan), plan, system, ref, array)
    return served_demand(workload, plan, system, ref, array)


def served_demand(requests: Requests, plan: Plan, system: System, ref: Reference, array: ArrayShape) -> StepDemand:
    """Coefficients of one decode pass with its share of n / (out - 1) prefills per rank.

    With n sequences per rank (`micro_batch` of the plan) and out tokens each, the first of which its prefill makes;
    `step_time` of the sum is the mean time per later token with prompts first, except that exposed communication is
    that of both phases together.
    Source: [yu2022orca] for batching per pass; Little's law as in `serving.steady_state`.
    Assumes: engines of `plan` fill the system; a prompt at a time per rank.
    """
    n_chips = plan.tp * plan.cp * plan.dp
    # an engine's own fabric: its groups are placed among its chips, not among those of the system
    part = part_of(system, n_chips)
    if part is None:
        raise PlanError(f"an engine of {n_chips} chips is no part of {system.name}")
    shape = Shape(part, dataclasses.replace(plan, micro_batch=1))
    decode, own = decode_of(requests, shape, plan.micro_batch, requests.mean_context)
    d = demand(decode, own, part, ref, array)
    stored = requests.weight_precision, requests.kv_precision
    for kind in requests.lengths:
        prefill = Prefill(requests.model, plan.dp, kind.prompt, *stored)
        # each sequence ends after `n_decoded` passes, and a prompt takes its place
        due = plan.micro_batch / requests.n_decoded * kind.share_frac
        d = _followed(d, demand(prefill, shape.plan, part, ref, array), due)
    memory = writer_memory(requests, shape, plan.micro_batch, MEMORY_QUANTILE_FRAC)
    # first tokens, which prompts make, are sold as well: hence output over decoded
    engines = system.n_chips / n_chips
    tokens = plan.micro_batch * plan.dp * engines * requests.n_output / requests.n_decoded
    return dataclasses.replace(d, memory_B=np.asarray(memory.total), tokens=np.asarray(tokens))


def _followed(d: StepDemand, p: StepDemand, n: float) -> StepDemand:
    """`d` followed by `n` times `p`, both of one micro batch, as one demand, without request overhead."""

    def added(a: TrafficDemand, b: TrafficDemand) -> TrafficDemand:
        return jax.tree.map(lambda x, y: x + n * y, a, b)

    # exposed messages of both phases share one term, so that these may hide behind work of either
    after = dataclasses.replace(p.ops, runs=np.asarray(p.ops.runs) * n)
    ops: OpDemand = jax.tree.map(lambda x, y: np.concatenate([x, y]), d.ops, after)
    return dataclasses.replace(
        d, ops=ops, tensor=added(d.tensor, p.tensor), shard=added(d.shard, p.shard), macs=d.macs + n * p.macs,
        model_FLOP=d.model_FLOP + n * p.model_FLOP, n_calls=d.n_calls + n * p.n_calls,
    )  # fmt: skip
