"""Operators of passes that do two things at once, so that weights are read once for both.

A chunk of a prompt rides on the decode pass of other sequences (chunked prefill), or several drafted tokens of a
sequence are verified in one pass (speculative decoding). Both are made of the operators of `serving_ops`.
"""

from __future__ import annotations

import dataclasses

from ..workload.op import Op, Product
from ..workload.transformer import Decode, Prefill
from .plan import Plan
from .serving_ops import serving_ops
from .training_ops import Placed


def weight_B(op: Op) -> float:
    """Bytes of one of the `count` weights of a linear operator: what it moves beyond its activations."""
    p = op.products[0]
    return op.hbm_B / p.count - 2.0 * p.moving * (p.stationary + p.contract)


def fused_linear(a: Op, b: Op, n_all: float) -> Op:
    """Two runs of a linear layer as one: rows add up and each weight is read once.

    Of `n_all` experts on the rank the union of those that either run visits is read, as if chosen independently.

    Source: [agrawal2023sarathi] section 4.2: decodes that ride on a chunk need no read of weights of their own.
    """
    p, q = a.products[0], b.products[0]
    count = n_all * (1.0 - (1.0 - p.count / n_all) * (1.0 - q.count / n_all))
    rows = p.moving * p.count + q.moving * q.count
    product = Product(rows / count, p.stationary, p.contract, count)
    activations = 2.0 * rows * (p.stationary + p.contract)
    return dataclasses.replace(
        a, products=(product,), hbm_B=count * weight_B(a) + activations,
        vector_elements=a.vector_elements + b.vector_elements, reuse_B=a.reuse_B + b.reuse_B,
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


def _is_linear(op: Op) -> bool:
    return len(op.products) == 1


def chunk_ops(decode: Decode, prefill: Prefill, plan: Plan, lanes: float) -> list[Placed]:
    """Operators of one pass that writes a token for every sequence and reads the mean chunk of `prefill`.

    Source: [agrawal2023sarathi] section 4 (decode-maximal batching).
    """
    e = decode.model.experts
    n_experts = e.n_experts / plan.ep if e is not None else 1.0
    placed = []
    for a, b in zip(serving_ops(decode, plan, lanes), serving_ops(prefill, plan, lanes), strict=True):
        share = b.share / a.share
        if _is_linear(a.op) and a.phase != "head":
            op = fused_linear(a.op, b.op, n_experts if a.op.name.startswith("expert ") else 1.0)
        else:
            op = beside(a.op, b.op, share)
        placed.append(Placed(op, a.phase, a.share))
    return placed


def verify_ops(decode: Decode, n_tokens: int, plan: Plan, lanes: float) -> list[Placed]:
    """Operators of one pass over `n_tokens` tokens of every sequence: its cache is read once for all of them.

    Source: [leviathan2023] section 2.3: the target model scores all drafted prefixes in parallel.
    """
    wide = dataclasses.replace(decode, batch=decode.batch * n_tokens)
    one_plan, many_plan = (dataclasses.replace(plan, micro_batch=w.batch // plan.dp) for w in (decode, wide))
    placed = []
    for a, b in zip(serving_ops(decode, one_plan, lanes), serving_ops(wide, many_plan, lanes), strict=True):
        op = dataclasses.replace(b.op, hbm_B=a.op.hbm_B) if len(b.op.products) == 2 else b.op
        placed.append(dataclasses.replace(b, op=op))
    return placed
