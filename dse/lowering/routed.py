"""Routed experts in one inference pass: which weights are read, how often, and for how many tokens."""

from __future__ import annotations

import dataclasses
import math

from ..core.provenance import number
from ..workload.blocks import Experts
from .linears import Linear
from .software import framework


def hit_frac(experts: Experts | None, tokens: float) -> float:
    """Expected share of the experts that at least one of `tokens` visits.

        1 - (1 - k/E)^n
    with k experts per token of E and n `tokens`.
    Source: [deepseek2024v2] section 2.2 for top-k routing; the expectation is elementary.
    Assumes: independent choices, experts equally popular; skew lowers the number.
    """
    if experts is None:
        return 1.0
    missed = math.log1p(-min(experts.per_token / experts.n_experts, 1.0 - 1e-12))
    return -math.expm1(tokens * missed)


def by_index(x: Linear, experts: Experts, tokens: float) -> Linear:
    """Experts of kernels that look up where a chosen expert lies: each is read once, one that nobody chose is not."""
    hit = hit_frac(experts, tokens)
    return dataclasses.replace(x, tokens=x.tokens / hit, count=x.count * hit)


def of_fixed_shape(x: Linear, experts: Experts, tokens: float, writes: bool) -> tuple[Linear, float]:
    """Experts `x` of a program whose shapes are fixed before anybody has chosen, and how often their weights move.

    Fewer visits T k than experts: the weights of each visit are copied to one place (read and written) and read again.
    Else every token passes every expert, or tokens are put in blocks of B rows, each of one expert, of which one that n
    tokens chose fills about
        max(1, n / B + 1/2)
    Blocks where visits fill one; in decode (`writes`) only where tokens do. T counts all ranks that may choose.
    Source: [aws2026nxdmoe] `ExpertMLPsV2` for when each way is taken; kernels loop over the blocks that are filled.
    Assumes: experts equally popular; decode of more tokens than a block takes blocks, the source all experts.
    """
    visits, block = tokens * experts.per_token, number(framework(), "expert_block")
    if visits < experts.n_experts:
        share = x.count / experts.n_experts
        return dataclasses.replace(x, tokens=1.0, count=visits * share), number(framework(), "gathered_moves")
    if (tokens if writes else visits) < block:
        return dataclasses.replace(x, tokens=tokens), 1.0
    chosen = by_index(x, experts, tokens)
    return dataclasses.replace(chosen, tokens=block, count=chosen.count * max(1.0, chosen.tokens / block + 0.5)), 1.0
