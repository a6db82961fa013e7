"""Passes that share one read of the weights between two kinds of work.

Chunked prefill: a chunk of a prompt in the decode pass of other sequences. Speculative decoding: several drafted
tokens of a sequence are verified in one pass.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.errors import PlanError
from ..hardware.system import System
from ..workload.op import Kind, Op, Product
from ..workload.transformer import Decode, Model, Prefill
from .collective import Reference
from .plan import Plan, check_plan, layers_per_stage
from .serving import n_lanes, pass_demand, serving_demand
from .serving_ops import Pass, linears, rank_pass, serving_ops
from .step_demand import StepDemand, TrafficDemand
from .tiling import ArrayShape, as_run, op_demand, rank_ops
from .training_ops import Placed


def weight_B(op: Op) -> float:
    """Bytes of one of the `count` weights of a linear operator: what it moves beyond its activations."""
    p = op.products[0]
    # rows in and results out are 16 bit, as `op.linear` counts them; what is left of the traffic is the weight
    return op.hbm_B / p.count - 2.0 * p.moving * (p.stationary + p.contract)


def fused_linear(a: Op, b: Op, n_all: float, share_frac: float = 1.0) -> Op:
    """A run of a linear layer and a share of another as one: rows add up; each of `n_all` weights is read once.

    Source: [agrawal2023sarathi] section 4.2: decodes that ride on a chunk need no read of weights of their own.
    """
    # both products have one weight: same contraction and columns, rows of two phases
    p, q = a.products[0], b.products[0]
    # runs choose experts independently; of other layers both need every weight, and this is `n_all`
    count = n_all * (1.0 - (1.0 - p.count / n_all) * (1.0 - q.count / n_all))
    rows = p.moving * p.count + share_frac * q.moving * q.count
    product = Product(rows / count, p.stationary, p.contract, count)
    activations = 2.0 * rows * (p.stationary + p.contract)
    return dataclasses.replace(
        a, products=(product,), hbm_B=count * weight_B(a) + activations,
        vector_elements=a.vector_elements + share_frac * b.vector_elements,
        reuse_B=a.reuse_B + share_frac * b.reuse_B,
        stored_elements=a.stored_elements / p.count * count,
    )  # fmt: skip


def beside(a: Op, b: Op, share_frac: float) -> Op:
    """Operator `a` and a share of operator `b` in one launch, nothing in common: attention and element-wise work."""
    part = tuple(dataclasses.replace(p, count=p.count * share_frac) for p in b.products)
    return dataclasses.replace(
        a, products=(*a.products, *part), hbm_B=a.hbm_B + share_frac * b.hbm_B,
        vector_elements=a.vector_elements + share_frac * b.vector_elements,
        reuse_B=a.reuse_B + share_frac * b.reuse_B,
    )  # fmt: skip


def chunk_ops(
    decode: Decode, prefill: Prefill, plan: Plan, lanes: float, fixed: bool = False, n_tokens: int = 1
) -> list[Placed]:
    """Operators of one pass over `n_tokens` of every sequence, usually one, and the mean chunk of `prefill`.

    Source: [agrawal2023sarathi] section 4. Assumes: programs of fixed shapes treat all tokens as those of one prompt.
    """
    e = decode.model.experts
    n_experts = e.n_experts / plan.ep if e is not None else 1.0
    written = verify_ops(decode, n_tokens, plan, lanes, fixed)
    both = zip(written, serving_ops(prefill, plan, lanes, fixed), strict=True)
    tokens = _joined(decode, prefill, plan, n_tokens)
    joined = {x.op.name: x.op for x in linears(prefill, plan, tokens, fixed)} if fixed else {}
    placed = []
    for a, b in both:
        # both shares are of passes: a head that ends a prompt of n chunks rides on one pass in n
        share = b.share / a.share
        if fixed and a.op.kind is Kind.EXPERTS:
            op = joined[a.op.name]
        elif a.op.kind.has_weight:
            op = fused_linear(a.op, b.op, n_experts if a.op.kind is Kind.EXPERTS else a.op.products[0].count, share)
        else:
            op = beside(a.op, b.op, share)
        placed.append(Placed(op, a.phase, a.share))
    return placed


def _joined(decode: Decode, prefill: Prefill, plan: Plan, n_tokens: int) -> Pass:
    """Tokens of both phases as those of one prompt; what they attend to does not count."""
    tokens = rank_pass(decode, plan, n_tokens).tokens + rank_pass(prefill, plan).tokens / plan.cp
    return Pass(1.0, tokens, 0.0)


def verify_ops(decode: Decode, n_tokens: int, plan: Plan, lanes: float, fixed: bool = False) -> list[Placed]:
    """Operators of a pass that verifies `n_tokens` of every sequence at once. Source: [leviathan2023] section 2.3."""
    placed = []
    one, many = serving_ops(decode, plan, lanes, fixed), serving_ops(decode, plan, lanes, fixed, n_tokens)
    for a, b in zip(one, many, strict=True):
        # drafted tokens count as sequences, but those of one sequence share a read of its cache or state
        op = dataclasses.replace(b.op, hbm_B=a.op.hbm_B) if b.op.kind.meets_the_past else b.op
        placed.append(dataclasses.replace(b, op=op))
    return placed


def _with_ops(d: StepDemand, placed: list[Placed], plan: Plan, model: Model, array: ArrayShape) -> StepDemand:
    ops = rank_ops([p.op for p in placed], array)
    head, shares = np.asarray([p.phase == "head" for p in placed]), np.asarray([p.share for p in placed])
    runs, whole = (np.where(head, 1.0, float(n)) * shares for n in (layers_per_stage(plan, model), model.n_layers))
    return dataclasses.replace(d, ops=op_demand(ops, runs, whole, plan.pp), macs=runs @ ops.macs)


def _together(a: TrafficDemand, b: TrafficDemand) -> TrafficDemand:
    """Two exchanges in the same messages: bytes add up; starts and hops do not."""
    pairs = {f.name: (np.asarray(getattr(a, f.name)), np.asarray(getattr(b, f.name))) for f in dataclasses.fields(a)}
    return TrafficDemand(**{n: x + y if n.endswith("_B") else np.maximum(x, y) for n, (x, y) in pairs.items()})


def chunk_demand(
    decode: Decode, prefill: Prefill, plan: Plan, system: System, array: ArrayShape, ref: Reference, n_tokens: int = 1
) -> StepDemand:
    """As `mixed_demand`; PlanError for a pipeline, or a plan that divides neither."""
    if plan.pp > 1:
        raise PlanError(f"chunks ride on decode passes without a pipeline only, not with pp={plan.pp}")
    check_plan(plan, decode, system)
    check_plan(_of_prompts(plan, prefill), prefill, system)
    return mixed_demand(decode, prefill, plan, system, array, ref, n_tokens)


def _of_prompts(plan: Plan, prefill: Prefill) -> Plan:
    # the plan's micro batch is of sequences that decode
    return dataclasses.replace(plan, micro_batch=prefill.batch // plan.dp)


def mixed_demand(
    decode: Decode, prefill: Prefill, plan: Plan, system: System, array: ArrayShape, ref: Reference, n_tokens: int = 1
) -> StepDemand:
    """Coefficients of one pass over `n_tokens` of every sequence, and over a mean chunk of every rank's prompt.

    One prompt per data-parallel rank, under a plan without a pipeline that is not checked.
    """
    decode, prefill = as_run(decode, array), as_run(prefill, array)
    d = pass_demand(decode, plan, system, array, ref, n_tokens)
    p = pass_demand(prefill, _of_prompts(plan, prefill), system, array, ref)
    placed = chunk_ops(decode, prefill, plan, n_lanes(system, array), ref.fixed_shapes, n_tokens)
    mixed = _with_ops(d, placed, plan, decode.model, array)
    # only prompts send keys around context ranks; decode adds up results, which is tensor traffic
    return dataclasses.replace(mixed, tensor=_together(d.tensor, p.tensor), shard=p.shard)


def verify_demand(
    decode: Decode, n_tokens: int, plan: Plan, system: System, array: ArrayShape, ref: Reference
) -> StepDemand:
    """Coefficients of one pass over `n_tokens` tokens of every sequence; plain decode for one."""
    decode = as_run(decode, array)
    many = serving_demand(decode, plan, system, array, ref, n_tokens)
    if n_tokens == 1:
        return many
    placed = verify_ops(decode, n_tokens, plan, n_lanes(system, array), ref.fixed_shapes)
    return _with_ops(many, placed, plan, decode.model, array)
