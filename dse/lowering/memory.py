"""`memory_B`: HBM use of the fullest chip under a plan, by kind; without allocator and driver (see `headroom`)."""

from __future__ import annotations

import dataclasses
import math

from ..core.frames import AbstractShown
from ..core.takes import takes
from ..technology.node import PRECISION_BITS
from ..workload.blocks import Block, Experts
from ..workload.storage import format_of, stored_B
from ..workload.transformer import Decode, Model, Serving, Training, Workload, n_head_weights, n_outputs, state_B
from .activations import ACTIVATION_B, FUSED, Footprint, end_layers, layer_activation_B_per_token, stage_activations_B
from .headroom import n_kv_block_tokens
from .linears import mixer_linears, replicated_weights
from .mixer_ops import cache_split
from .plan import Plan, layers_per_stage
from .serving_ops import rank_pass
from .tiling import padded

WEIGHT_B = 2
"""bf16 copy of the weights; fp8 training casts operands on the fly and stores bf16."""
GRADIENT_B = 4
"""Gradients are accumulated in fp32."""
OPTIMIZER_B = 12
"""Adam in mixed precision: fp32 master weight, momentum and variance [rajbhandari2020zero] section 3.1 (K = 12)."""


@dataclasses.dataclass(frozen=True)
class Memory(AbstractShown):
    """HBM bytes on the fullest chip by kind: weights, gradients, optimizer states, activations, KV cache."""

    weights_B: float
    """Weights in the precision that matrix products read."""
    gradients_B: float
    optimizer_B: float
    """fp32 master weights and Adam moments."""
    activations_B: float
    """Tensors kept for the backward pass, or the working set of an inference pass."""
    kv_B: float

    @property
    def total(self) -> float:
        """Sum of all kinds [B]."""
        return self.weights_B + self.gradients_B + self.optimizer_B + self.activations_B + self.kv_B


def _block_weights(block: Block, hidden: int, tp: int, ep: int) -> dict[str, float]:
    """Weights of one block on a chip, by the part of the model that they belong to."""
    feed, routed = block.feed, block.expert_weights(hidden)
    mixers = sum(m.n_weights(hidden) for m in block.mixers)
    # what tensor ranks repeat is not shared out, and is held on top of an even share
    held = sum(replicated_weights(m, hidden, tp) for m in block.mixers)
    norms = block.norm_weights(hidden)
    parts = {"attention": mixers / tp + held, "rest": float(norms), "experts": routed / (tp * ep)}
    if isinstance(feed, Experts):
        shared = feed.n_matrices * hidden * feed.shared_ffn
        # a router keeps the width of norms ("rest"), however narrow the experts that it chooses among are stored
        router = hidden * feed.n_experts
        always = feed.always_weights(hidden) - shared - router
        parts |= {"shared": shared / tp, "mlp": always / tp, "rest": norms + router / tp}
    elif feed is not None:
        parts["mlp"] = feed.n_weights(hidden) / tp
    parts["mlp"] = parts.get("mlp", 0.0) + 2 * hidden * block.per_layer_width / tp
    return parts


def chip_weights(plan: Plan, model: Model, n_layers: float | None = None) -> dict[str, float]:
    """Weights on a chip of a stage of `n_layers`, else the heaviest, by part; experts are split over expert ranks too.

        N = l ((N_layer - n)/t + n + r) + e V h / t + h
    with l layers per stage, t `tp`, N_layer weights of a mean block, of which every rank keeps n of norms, r those of
    `replicated_weights`, V the vocabulary, e embedding tables: 1 in a pipeline or tied, else 2.
    Source: [shoeybi2019] section 3 for what tensor ranks split.
    """
    table = model.vocab * model.hidden / plan.tp
    layers = layers_per_stage(plan, model) if n_layers is None else n_layers
    # in a pipeline embedding and head are on different stages, so that the heaviest has one of the two
    total = {"embedding": table + model.n_tables / plan.tp, "head": 0.0, "rest": float(model.hidden)}
    if plan.pp == 1:
        total["head"] = n_head_weights(model) / plan.tp
    for block, share in model.shares:
        for part, n in _block_weights(block, model.hidden, plan.tp, plan.ep).items():
            total[part] = total.get(part, 0.0) + layers * share * n
    return total


def chip_parameters(plan: Plan, model: Model, n_layers: float | None = None) -> float:
    """Weights on a chip of a stage of `n_layers`, else the heaviest."""
    return sum(chip_weights(plan, model, n_layers).values())


def chip_expert_parameters(plan: Plan, model: Model, n_layers: float | None = None) -> float:
    """Routed experts' weights among `chip_parameters`, before any sharding over their dp cp / ep replicas."""
    return chip_weights(plan, model, n_layers).get("experts", 0.0)


def _cache_B(plan: Plan, model: Model, context: float, kv_precision: str) -> float:
    """Bytes of a sequence on the heaviest chip; context ranks split caches alone. Source: [shoeybi2019] section 3."""
    per_layer = 0.0
    for mixer, share in model.mixers:
        # context ranks split positions; a state is one whatever the length, and each rank keeps its own
        cache = mixer.n_kv * mixer.n_kept(context) * stored_B(kv_precision) / plan.cp
        per_layer += share * (cache + state_B(mixer)) / cache_split(mixer, plan.tp)
    return per_layer * layers_per_stage(plan, model)


def chip_adapter_parameters(plan: Plan, workload: Training) -> float:
    """Weights of attention's adapters on a chip of the heaviest stage: r (inputs + outputs) per layer.

    Source: [hu2022lora] section 4.2.
    """
    model, total = workload.model, 0.0
    for mixer, share in model.mixers:
        total += share * sum(x.count * (x.inputs + x.outputs) for x in mixer_linears(mixer, model.hidden, plan.tp, 1.0))
    return layers_per_stage(plan, model) * workload.adapter_rank * total


def n_shards(plan: Plan, n_replicas: int) -> int:
    """Parts into which ZeRO splits the states that `n_replicas` have in common: fewer where several copies are kept."""
    # as many copies as divide the replicas: others would leave shards without an owner
    return n_replicas // (math.gcd(plan.n_copies, n_replicas) if plan.zero else 1)


def _stage_memory(plan: Plan, workload: Training, footprint: Footprint, stage: int) -> Memory:
    """2 + 4 + 12 bytes per weight, and the activations.

    States and gradients are sharded over replicas from ZeRO stage 1 and 2 on. At stage 3 the shards are the fp32
    masters among the 12 bytes; products read 16-bit copies of the layer in use and of the one fetched ahead.
    Source: [rajbhandari2020zero] sections 3.1 and 5; [zhao2023fsdp] section 4.4 for stage 3.
    """
    layers = end_layers(plan, workload.model, bool(footprint.balanced_stages))[int(stage > 0)]
    n = chip_parameters(plan, workload.model, layers)
    experts = chip_expert_parameters(plan, workload.model, layers)
    replicas = n_shards(plan, plan.dp * plan.cp)
    sharded = (n - experts) / replicas + experts / n_shards(plan, plan.dp * plan.cp // plan.ep)
    gradients, states = (sharded if plan.zero >= z else n for z in (2, 1))
    whole = 2 * n / max(layers, 1.0) if plan.zero >= 3 else n  # two mean layers: one in use, one on its way
    buckets = footprint.bucket_B * n if replicas > 1 and plan.zero < 2 else 0.0  # shards are reduced as they come
    activations = stage_activations_B(plan, workload, stage, footprint)
    adapters = chip_adapter_parameters(plan, workload)
    if workload.adapter_rank:
        gradients = states = adapters
        whole, buckets = n / replicas + whole if plan.zero >= 3 else n, 0.0
    weights_B = weight_B(workload) * whole + WEIGHT_B * adapters  # what is trained stays in 16 bit beside a narrow base
    return Memory(weights_B, GRADIENT_B * gradients + buckets, OPTIMIZER_B * states, activations, 0.0)


def weight_B(workload: Training) -> float:
    """Bytes of a weight that products read [B]: bf16, or the width of the products where adapters leave it frozen.

    Source: [dettmers2023qlora] section 3: a frozen base is kept as narrow as it is used. Assumes: no master copy of it.
    """
    frozen = workload.adapter_rank > 0
    return min(PRECISION_BITS[workload.precision] / 8, float(WEIGHT_B)) if frozen else float(WEIGHT_B)


def _serving_memory(plan: Plan, workload: Serving, n_each: int) -> Memory:
    """Weights at their stored width, the replica's KV cache and the working set of one pass and the logits.

    A decode pass over `n_each` tokens of a sequence needs room for all of them before it knows which stay.
    """
    model, sequences, p = workload.model, workload.batch / plan.dp, rank_pass(workload, plan, n_each)
    stored = workload.weight_precision
    weights = sum(stored_B(format_of(stored, part)) * n for part, n in chip_weights(plan, model).items())
    # the newest token is one of the context, those drafted after it are not
    context = workload.context + n_each - 1 if isinstance(workload, Decode) else workload.cached + workload.prompt
    blocks = padded(context, n_kv_block_tokens())
    cache = sequences * _cache_B(plan, model, blocks, workload.kv_precision)
    # The residual stream and its norm are whole on every rank; the rest of a layer's tensors are split.
    layer = 2 * ACTIVATION_B * model.hidden + layer_activation_B_per_token(model, plan.tp, "selective", 1)
    tokens = p.tokens / (1 if isinstance(workload, Decode) else plan.cp)
    working = tokens * layer + p.sequences * FUSED.logit_B * n_outputs(model) / plan.tp
    return Memory(weights, 0.0, 0.0, working, cache)


@takes(plan=Plan, workload=Workload)
def memory_B(plan: Plan, workload: Workload, footprint: Footprint = FUSED, n_each: int = 1) -> Memory:
    """HBM bytes by kind on the fullest chip under a valid plan; `footprint` is that of the training software.

    `n_each` tokens of every sequence in a decode pass: more than one where drafted tokens are verified.

    Training: 2 B per weight (bf16), 4 B of gradients and 12 B of Adam states in fp32, the latter over dp with ZeRO-1;
    8-bit products keep 8-bit inputs. Inference: weights at `weight_precision` (below 16 bits with one 8-bit scale per
    32 elements) and the KV cache at `kv_precision`, in whole blocks [kwon2023paged].
    Source: [rajbhandari2020zero] sections 3.1 and 5.1 for states and their sharding; [korthikanti2022] for activations.
    Valid for: the heaviest stage if pp does not divide the layers.
    """
    if isinstance(workload, Training):
        # the first stage holds most micro batches in flight, the last the logits; those between hold no more
        ends = sorted({0, plan.pp - 1})
        return max((_stage_memory(plan, workload, footprint, i) for i in ends), key=lambda m: m.total)
    return _serving_memory(plan, workload, n_each)
