"""Activation memory of training until the backward pass, pipeline stages, and extra buffers of the software [B]."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np

from ..core.provenance import Sourced, load_receipts, number, pick
from ..technology.node import PRECISION_BITS
from ..workload.blocks import Experts, Mlp
from ..workload.latent import Latent
from ..workload.mixers import Attention
from ..workload.transformer import Model, Training, active_parameters, n_head_weights, n_outputs
from .mixer_ops import kept_B_per_token
from .plan import Plan, layers_per_stage, n_micro_batches


def equal_cost_stages(n_layers: int, n_head_layers: float, n_stages: int) -> np.ndarray:
    """Layers and heads of every stage, (n_stages, 2), where blocks join stages by cost; a head costs `n_head_layers`.

    Source: [nanotron2026] parallel_state and models/base: costs of blocks add up until they pass the stage's share.
    """
    costs = np.append(np.ones(n_layers), n_head_layers)
    reached, stages, stage = np.cumsum(costs), np.zeros((n_stages, 2)), 0
    for block, sum_ in enumerate(reached):
        # the block that passes the line still joins this stage, as the software has it; the next one opens another
        stages[stage, int(block == n_layers)] += 1.0
        stage += int(sum_ > reached[-1] * (stage + 1) / n_stages and stage + 1 < n_stages)
    return stages


@cache
def balanced_stages(model: Model, n_stages: int) -> np.ndarray:
    """As `equal_cost_stages`, where a block costs the weights that a token meets, and the head its table."""
    table, head = model.vocab * model.hidden, n_outputs(model) * model.hidden
    # embeddings are looked up and cost a stage no multiplication
    blocks = active_parameters(model) - table - n_head_weights(model) - model.n_tables
    return equal_cost_stages(model.n_layers, head * model.n_layers / blocks, n_stages)


def end_layers(plan: Plan, model: Model, balanced: bool) -> tuple[float, float]:
    """Layers of a pipeline's first and last stage; those of the fullest where each has the same number."""
    if not balanced:
        each = float(layers_per_stage(plan, model))
        return each, each
    stages = balanced_stages(model, plan.pp)
    return float(stages[0, 0]), float(stages[-1, 0])


_FILE = Path(__file__).parent / "data" / "footprints.toml"

ACTIVATION_B = 2
"""Activations are kept in bf16."""


@dataclasses.dataclass(frozen=True)
class Footprint:
    """What training software keeps beyond what the backward pass must have."""

    n_glu_results: float
    """Copies of a gated MLP's activation kept beside its input and its product."""
    activation_input_B: float
    """Bytes per element of the activation's kept inputs, from which its gradient is taken."""
    n_gathered_inputs: float
    """Whether products keep their inputs gathered over tensor ranks (1) or only the rank's part (0)."""
    bucket_B: float
    """Bytes per weight of gradients waiting to be reduced, beside the accumulators."""
    logit_B: float
    """Bytes per logit at the loss, all copies that live at once."""
    balanced_stages: float
    """Whether a pipeline is cut into stages of equal cost (1) or of equal layers (0)."""


@cache
def footprint(kind: str) -> Footprint:
    """The footprint of a kind of software, as in `software.moves`; UnknownNameError for another."""
    facts = pick(load_receipts(_FILE), "footprint", kind)
    return Footprint(**{f.name: number(facts, f.name) for f in dataclasses.fields(Footprint)})


def footprint_receipts(kind: str) -> list[Sourced]:
    """Receipts of a footprint."""
    return list(pick(load_receipts(_FILE), "footprint", kind).values())


FUSED = footprint("fused")
"""Software that keeps what the backward pass must have, such as Megatron."""


def input_B(precision: str) -> float:
    """Bytes per element of a kept input. Source: [deepseek2024v3] section 3.3.3: 8-bit products cache 8 bit."""
    return min(PRECISION_BITS[precision] / 8, float(ACTIVATION_B))


def _mlp_B_per_token(model: Model, tp: int, n_stream: int, in_B: float, software: Footprint) -> float:
    """Kept tensors of the MLP: inputs of the activation, its result as the input of the last product, spare copies.

    Besides, of routed experts, a copy of each token for every expert it visits: the input of that expert's products.
    Source: [deepseek2024v3] section 3.3.3: what is sent to experts is kept, in 8 bit where their products are.
    """
    total = 0.0
    for f, share in model.working_feeds:
        inner = f.ffn if isinstance(f, Mlp) else f.per_token * f.ffn + f.shared_ffn + f.parallel_ffn
        gated = f.n_matrices - 2
        # the last product keeps what it read, in its own width
        inputs_B = software.activation_input_B * (f.n_matrices - 1)
        kept = inputs_B + ACTIVATION_B * gated * software.n_glu_results + in_B
        total += share * inner / tp * kept
        if isinstance(f, Experts):  # tokens came from other ranks, so that they cannot be copied anew
            sent = f.per_token * f.routed_width(model.hidden)
            total += share * in_B * sent * (1 / n_stream + software.n_gathered_inputs * (1 - 1 / n_stream))
    return total


def _stream_B_per_token(model: Model, n_stream: int, in_B: float, mlp_in_B: float, software: Footprint) -> float:
    """Kept tensors as wide as the residual stream: inputs of norms and of products, dropout masks."""
    branches = sum(share * b.n_branches for b, share in model.shares if not b.rests)
    mixers = sum(share * bool(b.mixers) for b, share in model.shares if not b.rests)
    in_stream = 1 / n_stream + software.n_gathered_inputs * (1 - 1 / n_stream)
    inputs = (mixers * in_B + (branches - mixers) * mlp_in_B) * model.hidden * in_stream
    masks = 2 * model.hidden / n_stream if model.dropout else 0.0  # a byte per element and branch
    return branches * ACTIVATION_B * model.hidden / n_stream + inputs + masks


def layer_activation_B_per_token(
    model: Model, tp: int, recompute: str, sequence: int, in_B: float = ACTIVATION_B, software: Footprint = FUSED,
    n_stream: int | None = None, frozen: bool = False,
) -> float:  # fmt: skip
    """Bytes that one layer keeps per token on one rank until the backward pass.

        norm inputs 4h + inputs of QKV and of the MLP 2wh + Q and attention output 4ad + K and V 4kd
        + inputs of the activation gf (n_mlp - 1), its result wf + dropout masks 2h (if any), all over t, or those in h
        over `n_stream` tensor ranks, 1 without sequence parallelism; where weights are `frozen`, no inputs of the MLP's
        products, which no gradient reads;
        "none" adds the scores, 5as with dropout (softmax 2, mask 1, result 2), 2as without;
        "full" keeps only the layer's input, 2h
    with h `hidden`, a and k query and KV heads, d `head_dim`, f `ffn`, s `sequence`, t `tp`, w bytes of a product's
    input (2, or 1 for 8-bit products, which keep their own copy of the attention output, wad), g `activation_input_B`.
    Source: [korthikanti2022] section 4.1 for the tensors, table 2 for t with sequence parallelism, here with grouped
    queries and a gated MLP; [deepseek2024v3] section 3.3.3 for w.
    Assumes: scores are stored with "none" only. K and V are replicated, not split, where t exceeds the KV heads.
    """
    n_stream = tp if n_stream is None else n_stream
    if recompute == "full":
        # without sequence parallelism whole on every rank, or shared out as other gathered inputs are
        whole = software.n_gathered_inputs if n_stream < tp else 0.0
        return ACTIVATION_B * model.hidden * (1 / tp + whole * (1 - 1 / tp))
    attention = _mixers_B_per_token(model, tp, in_B)
    mlp_in_B = 0.0 if frozen else in_B  # adapters stand beside attention's products alone
    mlp = _mlp_B_per_token(model, tp, n_stream, mlp_in_B, software)
    kept = _stream_B_per_token(model, n_stream, in_B, mlp_in_B, software) + attention + mlp
    if recompute == "selective":
        return kept
    return kept + _scores_B_per_token(model, sequence) / tp


def _mixers_B_per_token(model: Model, tp: int, in_B: float) -> float:
    return sum(share * kept_B_per_token(m, tp, in_B, ACTIVATION_B) for m, share in model.working_mixers)


def _scores_B_per_token(model: Model, sequence: int) -> float:
    score_B = 5 if model.dropout else ACTIVATION_B  # softmax's result; with dropout its mask and what it leaves
    heads = sum(share * m.n_heads for m, share in model.working_mixers if isinstance(m, Attention | Latent))
    return score_B * heads * sequence


def _layer_B_per_token(plan: Plan, workload: Training, recompute: str, software: Footprint) -> float:
    """As `layer_activation_B_per_token`, of a plan's rank."""
    # fused attention never stores scores, so keeping everything costs no more than recomputing them
    kept = "selective" if workload.fused_attention and recompute == "none" else recompute
    # of a layer that waits in host memory, results of its mixer's products come back with its input
    mixers = _mixers_B_per_token(workload.model, plan.tp, ACTIVATION_B) if plan.offload and recompute == "full" else 0.0
    return mixers + layer_activation_B_per_token(
        workload.model, plan.tp, kept, workload.sequence, input_B(workload.precision), software,
        plan.tp if plan.sequence_parallel else 1, workload.adapter_rank > 0,
    )  # fmt: skip


def in_flight(plan: Plan, n_micro: int, stage: int) -> float:
    """Micro batches whose activations `stage` holds at once, never more than there are.

        1F1B: p - i        interleaved: (2 (p - i - 1) + (v - 1) p + 1) / v
    with p `pp`, v `interleave`, i `stage` from 0.
    Source: [korthikanti2022] section 4.2.3 for the first stage; [narayanan2021megatron] section 2.2 for the warm-up.
    """
    p, v, after = plan.pp, plan.interleave, plan.pp - stage - 1
    # a virtual stage holds 1/v of the layers, so that v of its micro batches count as one
    held = after + 1 if v == 1 else (2 * after + (v - 1) * p + 1) / v
    return float(min(held, n_micro))


def stage_activations_B(plan: Plan, workload: Training, stage: int, software: Footprint = FUSED) -> float:
    """Activations on the first or last stage.

        A = s b (l_i a F_i + E_i) + replay
    with s b tokens of a micro batch, l_i layers of the stage, a mean bytes per token and layer, F_i micro batches in
    flight. E_i is F_0 h / t on the first stage (mask of the embedding's dropout, if any) and (4h + g V) / t on the last
    (norm, head input, g bytes per logit of one micro batch). Full recomputation replays one layer at a time (left out
    by the source); with offloading only the layer at work and the one on its way are here.
    Source: [korthikanti2022] eq. 5 and section 4.3.
    """
    model, tp = workload.model, plan.tp
    layers = end_layers(plan, model, bool(software.balanced_stages))[int(stage > 0)]
    tokens = plan.micro_batch * workload.sequence / plan.cp
    n_stream = tp if plan.sequence_parallel else 1
    kept = _layer_B_per_token(plan, workload, plan.recompute, software)
    replay = 0.0
    if plan.recompute == "full":
        whole = _layer_B_per_token(plan, workload, "selective", software)
        kept = plan.recompute_frac * kept + (1.0 - plan.recompute_frac) * whole
        replay = whole if plan.recompute_frac > 0 else 0.0
    held = in_flight(plan, n_micro_batches(plan, workload), stage)
    here = min(2.0, held * layers) if plan.offload else held * layers
    per_token = here * kept
    if stage == 0 and model.dropout:
        # a byte an element, of every micro batch in flight
        per_token += held * model.hidden / n_stream
    if stage == plan.pp - 1:
        # of one micro batch: the last stage turns around at once
        per_token += software.logit_B * n_outputs(model) / tp + 2 * ACTIVATION_B * model.hidden / n_stream
    return tokens * (per_token + replay)
