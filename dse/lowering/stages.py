"""Assignment of a model's layers to pipeline stages by the software."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..workload.transformer import Model, active_parameters
from .plan import Plan, layers_per_stage


def equal_cost_stages(n_layers: int, n_head_layers: float, n_stages: int) -> np.ndarray:
    """Layers and heads of every stage, (n_stages, 2), where blocks join stages by cost; a head costs `n_head_layers`.

    Source: [nanotron2026] parallel_state and models/base: costs of blocks add up until they pass the stage's share.
    """
    costs = np.append(np.ones(n_layers), n_head_layers)
    reached, stages, stage = np.cumsum(costs), np.zeros((n_stages, 2)), 0
    for block, sum_ in enumerate(reached):
        stages[stage, int(block == n_layers)] += 1.0
        stage += int(sum_ > reached[-1] * (stage + 1) / n_stages and stage + 1 < n_stages)
    return stages


@cache
def balanced_stages(model: Model, n_stages: int) -> np.ndarray:
    """As `equal_cost_stages`, where a block costs the weights that a token meets, and the head its table."""
    table = model.vocab * model.hidden
    blocks = active_parameters(model) - (1 if model.tied_embeddings else 2) * table - model.n_tables
    return equal_cost_stages(model.n_layers, table * model.n_layers / blocks, n_stages)


def end_layers(plan: Plan, model: Model, balanced: bool) -> tuple[float, float]:
    """Layers of a pipeline's first and last stage; those of the fullest where each has the same number."""
    if not balanced:
        each = float(layers_per_stage(plan, model))
        return each, each
    stages = balanced_stages(model, plan.pp)
    return float(stages[0, 0]), float(stages[-1, 0])
