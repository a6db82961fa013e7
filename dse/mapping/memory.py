"""Bytes that the fullest chip of a plan must hold: weights, gradients, optimizer states, activations, KV cache.

Buffers of collectives, the allocator's fragmentation and the framework itself are not counted; leave headroom.
"""

from __future__ import annotations

import dataclasses

from ..workload.storage import stored_B
from ..workload.transformer import (
    Decode,
    Model,
    Serving,
    Training,
    Workload,
    expert_parameters,
    kv_B_per_token,
    layer_parameters,
    n_dense_layers,
)
from .headroom import n_kv_block_tokens
from .plan import Plan, layers_per_stage, n_micro_batches
from .serving import rank_pass
from .tiling import padded

WEIGHT_B = 2
"""bf16 copy of the weights; fp8 training casts inputs of products on the fly and stores bf16."""
GRADIENT_B = 4
"""Gradients are accumulated in fp32."""
OPTIMIZER_B = 12
"""Adam in mixed precision: fp32 master weight, momentum and variance [rajbhandari2020zero] section 3.1 (K = 12)."""
ACTIVATION_B = 2
"""Activations are kept in bf16."""
LOGIT_B = 4
"""Logits are kept in fp32 for the loss."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on the fullest chip, by what they hold."""

    weights_B: float
    """Weights as the products read them."""
    gradients_B: float
    """Gradient accumulators."""
    optimizer_B: float
    """Master weights and moments."""
    activations_B: float
    """Tensors kept for the backward pass, or the working set of decode."""
    kv_B: float
    """KV cache."""

    @property
    def total(self) -> float:
        """All of it [B]."""
        return self.weights_B + self.gradients_B + self.optimizer_B + self.activations_B + self.kv_B


def _kv_heads(model: Model, tp: int) -> float:
    """KV heads on one rank; replicated where there are fewer heads than ranks."""
    return max(model.n_kv_heads / tp, 1.0)


def chip_parameters(plan: Plan, model: Model) -> float:
    """Weights on a chip of the heaviest stage.

        N = l ((N_layer - 2h)/t + 2h + r) + e V h / t + h

    with l layers per stage, t `tp`, N_layer weights of a block, of which 2h are norms that every rank keeps, r
    the replicated K and V columns where t exceeds the KV heads, V the vocabulary, and e embedding tables on the
    stage: with a pipeline the first stage holds the embedding and the last the head, so e = 1; without, both
    (e = 2, or 1 if tied).

    Source: [shoeybi2019] section 3 for what tensor ranks split.
    """
    norms = 2 * model.hidden
    extra_kv = 2 * model.hidden * model.head_dim * (_kv_heads(model, plan.tp) - model.n_kv_heads / plan.tp)
    dense = n_dense_layers(model) / model.n_layers
    routed = expert_parameters(model)
    split = dense * layer_parameters(model) + (1 - dense) * (layer_parameters(model, dense=False) - routed) - norms
    block = split / plan.tp + norms + extra_kv + (1 - dense) * routed / (plan.tp * plan.ep)
    n_tables = 2 if plan.pp == 1 and not model.tied_embeddings else 1
    return layers_per_stage(plan, model) * block + n_tables * model.vocab * model.hidden / plan.tp + model.hidden


def chip_expert_parameters(plan: Plan, model: Model) -> float:
    """Routed experts' weights on a chip of the heaviest stage, before any sharding over their dp cp / ep replicas."""
    moe = 1 - n_dense_layers(model) / model.n_layers
    return layers_per_stage(plan, model) * moe * expert_parameters(model) / (plan.tp * plan.ep)


def _has_dropout(model: Model) -> bool:
    """GPT-style models (two MLP matrices) train with dropout, gated ones (Llama, Qwen) without."""
    return model.n_mlp_matrices == 2


def layer_activation_B_per_token(model: Model, tp: int, recompute: str, sequence: int) -> float:
    """Bytes that one layer keeps per token on one rank until the backward pass.

    Stored tensors, counted as in the source but with grouped queries and a gated MLP:

        norm inputs 4h + inputs of QKV and of the MLP 4h + Q and attention output 4ad + K and V 4kd
        + n_mlp 2f (inputs of the activation, its result) + dropout masks 2h (if any), all over t;
        "none" adds the scores, 5as with dropout (softmax 2, mask 1, result 2), 2as without;
        "full" keeps only the layer's input, 2h / t

    with h `hidden`, a and k query and KV heads, d `head_dim`, f `ffn`, s `sequence`, t `tp`. For GPT (k = a,
    ad = h, f = 4h, n_mlp = 2) this is h (34 + 5as/h) / t, 34h / t and 2h / t.

    Source: [korthikanti2022] section 4.1 for the tensors, table 2 for the division by t with sequence parallelism.
    Assumes: "selective" and "full" never store scores (recomputed, or fused as in FlashAttention); "none" does.
    K and V are replicated, not split, where t exceeds the KV heads.
    """
    if recompute == "full":
        return ACTIVATION_B * model.hidden / tp
    attention = model.head_dim * (2 * model.n_heads / tp + 2 * _kv_heads(model, tp))
    dense, e = n_dense_layers(model) / model.n_layers, model.experts
    inner = dense * model.ffn + ((1 - dense) * (e.per_token * e.ffn + e.shared_ffn) if e else 0.0)
    mlp = model.n_mlp_matrices * inner / tp
    kept = ACTIVATION_B * (4 * model.hidden / tp + attention + mlp)
    kept += 2 * model.hidden / tp if _has_dropout(model) else 0
    if recompute == "selective":
        return kept
    score_B = 5 if _has_dropout(model) else ACTIVATION_B
    return kept + score_B * model.n_heads * sequence / tp


def in_flight(plan: Plan, n_micro: int, stage: int) -> float:
    """Micro batches whose activations `stage` holds at once.

        1F1B: p - i        interleaved: (2 (p - i - 1) + (v - 1) p + 1) / v

    with p `pp`, v `interleave`, i `stage` from 0; never more than there are. The first stage has p, or
    p (1 + (p - 1)/(p v)) interleaved.

    Source: [korthikanti2022] section 4.2.3 for the first stage; [narayanan2021megatron] section 2.2 for the warm-up.
    """
    p, v, after = plan.pp, plan.interleave, plan.pp - stage - 1
    held = after + 1 if v == 1 else (2 * after + (v - 1) * p + 1) / v
    return float(min(held, n_micro))


def training_activations_B(plan: Plan, workload: Training) -> float:
    """Activations on the fuller of first and last stage.

        A = s b (l a F_i + E_i) + replay

    with s b tokens of a micro batch, l layers per stage, a bytes per token and layer, F_i micro batches in flight.
    E_i is F_0 h / t on the first stage (mask of the embedding's dropout, if any) and 4 (h + V) / t on the last
    (norm, head input, fp32 logits of one micro batch). Full recomputation replays one layer at a time, whose
    tensors are the replay term (the source leaves it out).

    Source: [korthikanti2022] eq. 5 and section 4.3.
    """
    model, tp = workload.model, plan.tp
    tokens = plan.micro_batch * workload.sequence / plan.cp
    n_micro = n_micro_batches(plan, workload)
    # fused attention never stores scores, so keeping everything costs no more than recomputing them
    stored = "selective" if workload.fused_attention and plan.recompute == "none" else plan.recompute
    kept = layers_per_stage(plan, model) * layer_activation_B_per_token(model, tp, stored, workload.sequence)
    mask = model.hidden / tp if _has_dropout(model) else 0.0
    ends = (LOGIT_B * model.vocab + 2 * ACTIVATION_B * model.hidden) / tp
    per_token = {}
    for stage in (0, plan.pp - 1):
        held = in_flight(plan, n_micro, stage)
        first, last = stage == 0, stage == plan.pp - 1
        per_token[stage] = held * (kept + mask * first) + ends * last
    replay = 0.0
    if plan.recompute == "full":
        replay = layer_activation_B_per_token(model, tp, "selective", workload.sequence)
    return tokens * (max(per_token.values()) + replay)


def _training_memory(plan: Plan, workload: Training) -> Memory:
    """2 + 4 + 12 bytes per weight, sharded over replicas from ZeRO stage 3, 2 and 1 on, and the activations."""
    n = chip_parameters(plan, workload.model)
    experts = chip_expert_parameters(plan, workload.model)
    replicas = plan.dp * plan.cp
    sharded = (n - experts) / replicas + experts * plan.ep / replicas
    weights, gradients, states = (sharded if plan.zero >= stage else n for stage in (3, 2, 1))
    activations = training_activations_B(plan, workload)
    if plan.zero >= 3:  # the layer in use and the one fetched ahead are whole
        activations += 2 * WEIGHT_B * n / layers_per_stage(plan, workload.model)
    return Memory(WEIGHT_B * weights, GRADIENT_B * gradients, OPTIMIZER_B * states, activations, 0.0)


def _serving_memory(plan: Plan, workload: Serving) -> Memory:
    """Weights at their stored width, the replica's KV cache and the working set of one pass and the logits."""
    model, sequences, p = workload.model, workload.batch / plan.dp, rank_pass(workload, plan)
    weights = stored_B(workload.weight_precision) * chip_parameters(plan, model)
    context = workload.context if isinstance(workload, Decode) else workload.cached + workload.prompt
    blocks = padded(context, n_kv_block_tokens()) / plan.cp
    cache = sequences * blocks * kv_B_per_token(model, workload.kv_precision)
    # The residual stream and its norm are whole on every rank; the rest of a layer's tensors are split.
    layer = 2 * ACTIVATION_B * model.hidden + layer_activation_B_per_token(model, plan.tp, "selective", 1)
    tokens = p.tokens / (1 if isinstance(workload, Decode) else plan.cp)
    working = tokens * layer + p.sequences * LOGIT_B * model.vocab / plan.tp
    copies = 1 if model.latent is not None else min(plan.tp, model.n_kv_heads)
    return Memory(weights, 0.0, 0.0, working, cache / copies * layers_per_stage(plan, model) / model.n_layers)


def memory_B(plan: Plan, workload: Workload) -> Memory:
    """Bytes on the fullest chip under a plan that `check_plan` accepts.

    Training takes 2 B per weight (bf16), 4 B of gradient (fp32) and 12 B of Adam states, divided by dp with
    ZeRO-1; its `precision` changes the inputs of products, not what is stored. Inference stores weights at
    `weight_precision` (with one 8-bit scale per 32 elements below 16 bits) and the cache at `kv_precision`, in
    whole blocks [kwon2023paged].

    Source: [rajbhandari2020zero] sections 3.1 and 5.1 for states and their sharding; [korthikanti2022] for activations.
    Valid for: tensor parallelism with sequence parallelism; the heaviest stage when pp does not divide the layers.

    Args:
        plan: who does what.
        workload: training, prefill or decode.

    Returns:
        Bytes by kind; `total` is their sum.
    """
    if isinstance(workload, Training):
        return _training_memory(plan, workload)
    return _serving_memory(plan, workload)
