"""Families with recurrences beside attention: gated delta nets, KDA, lightning attention, state spaces, convolutions.

Source: sizes and defaults of each type in [wolf2020transformers], release 5.24, or of the model's own code.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from ...core.errors import SpecError
from ..blocks import Block
from ..config_file import Fields
from ..latent import Latent
from ..mixers import AbstractMixer
from ..recurrences import Recurrence
from .common import (
    FULL,
    Body,
    Builder,
    blocks_of,
    body,
    experts,
    grouped,
    hidden_of,
    latent,
    mlp,
    n_layers,
    own,
    sizes_of,
)
from .feeds import AHEAD, NEXT, ROUTED, TOP, WIDTH, first_dense, shared_width, sparse_steps
from .latent import LAYERS, choices_of, indexed, indexer

LINEAR = "linear_attention"
STATE_FORMATS = {"float32": "fp32", "bfloat16": "bf16", "float16": "bf16"}


def state_format(f: Fields, usual: str = "bfloat16") -> str:
    """How the state is kept between passes, as the file says."""
    return STATE_FORMATS[f.text("mamba_ssm_dtype", "mamba_ssm_cache_dtype", default=usual, allowed=(*STATE_FORMATS,))]


def gated_delta(f: Fields, *, keys: int = 16, values: int = 32) -> Recurrence:
    """Gated delta net: a decay, a step and a gate per head of values. Source: [yang2024gateddelta] section 3.4."""
    k_heads, v_heads = (f.whole(f"linear_num_{x}_heads", default=n) for x, n in (("key", keys), ("value", values)))
    k, v = (f.whole(f"linear_{x}_head_dim", default=128) for x in ("key", "value"))
    # queries, keys and values pass the convolution; output gate, decay and step per head do not
    channels = 2 * k_heads * k + v_heads * v
    if v_heads % k_heads:
        raise SpecError(
            f"{f.place}: linear_num_key_heads = {k_heads} does not divide linear_num_value_heads = {v_heads}"
        )
    return Recurrence(
        "gated delta net", v_heads, k, v, channels + v_heads * v + 2 * v_heads, "delta", channels,
        f.whole("linear_conv_kernel_dim", default=4), n_key_heads=k_heads, state_format=state_format(f),
    )  # fmt: skip


def interval(f: Fields, n: int, usual: int) -> list[bool]:
    """Whether each layer sees everything: from `layer_types`, or every `usual`-th counted from 1."""
    types = f.words("layer_types", "layers_block_type", length=n, allowed=(LINEAR, FULL))
    step = f.whole("full_attention_interval", default=usual)
    return [(i + 1) % step == 0 for i in range(n)] if types is None else [t == FULL for t in types]


def qwen_next(f: Fields, *, kv: int, moe: bool) -> Body:
    """Qwen3-Next, Qwen3.5 and later: three gated delta nets to one gated attention."""
    n = n_layers(f)
    attention = grouped(f, kv=kv, head_dim=256)
    f.fixed("use_sliding_window", False)
    gate = f.flag("attn_output_gate", default=True)
    whole = dataclasses.replace(attention, gate_width=attention.n_heads * attention.head_dim if gate else 0)
    linear = gated_delta(f)
    mixers: list[AbstractMixer] = [whole if x else linear for x in interval(f, n, 4)]
    if moe:
        width = f.whole("shared_expert_intermediate_size", default=512, least=0)
        some = experts(f, ("num_experts", "num_local_experts"), TOP, WIDTH, shared=width)
        feeds = sparse_steps(f, n, some)
    else:
        feeds = [mlp(f)] * n
    made = body(f, blocks_of(mixers, feeds), tied=False)
    f.skip("mtp_use_dedicated_embeddings", "mlp_only_layers")  # of experts, where there are any
    n_ahead = f.layers("mtp_num_hidden_layers", *NEXT, default=0, least=0)
    # with attention, whichever mixer the last layer has
    return dataclasses.replace(made, ahead=[Block((whole,), made.blocks[-1].feed)] * n_ahead)


def kda(heads: int, width: int, taps: int, state: str, *, n_whole: int = 0) -> Recurrence:
    """Kimi delta attention: gates for every channel of key and output, `n_whole` of them whole, others low-rank.

    Source: [kimi2025linear] section 3; the code of Kimi K3 (output gate whole) and Ling 3 (both).
    """
    # queries, keys, values and every whole gate come from the input; a low-rank gate only its narrow half (`width`)
    proj, low = heads * width, 2 - n_whole
    return Recurrence(
        "Kimi delta attention", heads, width, width, (3 + n_whole) * proj + heads + low * width, "delta", 3 * proj,
        taps, inner=((width, proj),) * low, state_format=state,
    )  # fmt: skip


def kimi_linear(f: Fields) -> Body:
    """Kimi Linear: three KDA layers to one latent attention, listed by number from 1."""
    n, inner = n_layers(f), f.nested("linear_attn_config")
    heads, width, taps, n_whole = 32, 128, 4, 0
    full: list[bool] | None = None
    if inner is not None:
        inner.skip("gate_lower_bound", "safe_gate")
        n_whole = int(inner.flag("use_full_rank_gate", default=False))
        heads = inner.whole("num_heads", default=heads)
        width, taps = inner.whole("head_dim", default=width), inner.whole("short_conv_kernel_size", default=taps)
        full = _listed(f, inner, n)
    heads = f.whole("linear_num_heads", default=heads)
    width = f.whole("linear_head_dim", default=width)
    linear = kda(heads, width, f.whole("linear_conv_kernel_dim", default=taps), state_format(f), n_whole=n_whole)
    types = f.words("layer_types", length=n, allowed=(LINEAR, FULL))
    if types is not None:
        full = [t == FULL for t in types]
    whole = latent(f)
    if f.flag("mla_use_output_gate", default=False):
        whole = dataclasses.replace(whole, gate_width=whole.n_heads * whole.value_dim)
    f.skip("mla_use_nope", "moe_layer_freq", "moe_router_activation_func", "use_grouped_topk", "moe_renormalize")
    mixers: list[AbstractMixer] = [whole if x else linear for x in full or [bool(i and i % 4 == 0) for i in range(n)]]
    moe = experts(f, ("num_experts", "num_local_experts", "n_routed_experts"), ("num_experts_per_token", *TOP), WIDTH,
                  shared=shared_width(f))  # fmt: skip
    small = f.whole("routed_expert_hidden_size", default=0, least=0)
    f.skip("latent_moe_use_norm", "attn_res_block_size", "activation_situ_beta", "activation_situ_linear_beta")
    moe = dataclasses.replace(moe, latent=small) if moe is not None else None
    return body(f, blocks_of(mixers, first_dense(f, n, moe, first=1)), tied=False, ahead=NEXT)


def _listed(f: Fields, inner: Fields, n: int) -> list[bool] | None:
    """Layers with attention, from two lists of numbers from 1 that together name each layer once."""
    whole, linear = (inner.items(k) for k in ("full_attn_layers", "kda_layers"))
    if whole is None and linear is None:
        return None
    named = [*(whole or ()), *(linear or ())]
    numbers = all(isinstance(x, int) and not isinstance(x, bool) for x in named)
    if whole is None or linear is None or not numbers or sorted(named) != list(range(1, n + 1)):
        raise f.error("linear_attn_config", f"full_attn_layers and kda_layers that name each layer 1 to {n} once")
    return [i + 1 in whole for i in range(n)]


def glm5_next(f: Fields) -> Body:
    """GLM-5.3: three KDA layers to one latent attention with an indexer whose keys stand for groups of positions."""
    n, inner = n_layers(f), f.nested("linear_attn_config")
    sizes = {"heads": ("linear_num_heads", "num_heads", 64), "width": ("linear_head_dim", "head_dim", 128),
             "taps": ("linear_conv_kernel_dim", "short_conv_kernel_size", 4)}  # fmt: skip
    got = sizes_of(f, inner, sizes)
    if inner is not None:
        inner.skip("gate_lower_bound", "safe_gate")
    f.skip("linear_lower_bound", "index_kpool_always_select_tail", "index_topk_freq", "index_skip_topk_offset")
    types = f.words("layer_types", length=n, allowed=(LINEAR, FULL, *LAYERS))
    linear = [t == LINEAR for t in types] if types else [i % 4 != 3 for i in range(n)]
    choices = choices_of(f, n)
    plain, pooled = latent(f), own(f, "index_kpool", none=1)
    chooses = dataclasses.replace(indexer(f), rate=pooled, n_made=1 + (pooled > 1))
    delta = kda(got["heads"], got["width"], got["taps"], state_format(f))
    mixers = [delta if x else indexed(plain, chooses, c) for x, c in zip(linear, choices, strict=True)]
    moe = experts(f, ROUTED, TOP, WIDTH, shared=shared_width(f))
    return body(f, blocks_of(mixers, first_dense(f, n, moe, first=3)), tied=False, ahead=NEXT)


def olmo_hybrid(f: Fields) -> Body:
    """OLMo hybrid: three gated delta nets to one attention, the last layer at least; keys three quarters as wide."""
    n, hidden = n_layers(f), hidden_of(f)
    whole = grouped(f)
    heads = f.whole("linear_num_key_heads", default=whole.n_heads)
    key = f.whole("linear_key_head_dim", default=int(0.75 * hidden / heads))
    f.skip("linear_value_head_dim", "linear_allow_neg_eigval", "linear_use_gate")
    f.raw |= {"linear_key_head_dim": key, "linear_value_head_dim": f.raw.get("linear_value_head_dim") or 2 * key}
    linear = gated_delta(f, keys=whole.n_heads, values=whole.n_heads)
    full = interval(f, n, 4)
    # three layers or fewer have no fourth: the library's code then makes the last one see everything
    full = full if any(full) else [*full[:-1], True]
    mixers: list[AbstractMixer] = [whole if x else linear for x in full]
    return body(f, blocks_of(mixers, [mlp(f)] * n), tied=False)


def lightning(heads: int, width: int) -> Recurrence:
    """Linear attention with a fixed decay per head, a gate and a norm. Source: [minimax2025] section 2.2."""
    # queries, keys, values and the gate
    return Recurrence("lightning attention", heads, width, width, 4 * heads * width, "dual")


def minimax(f: Fields, *, by_list: bool) -> Body:
    """MiniMax-01 and M1: lightning attention but for every eighth layer, as listed."""
    n = n_layers(f)
    whole = grouped(f, kv=8)
    linear = lightning(whole.n_heads, whole.head_dim)
    listed = f.items("attn_type_list", length=n)
    odd = next((x for x in listed or [] if x not in (0, 1)), None)
    if odd is not None:
        raise f.error("attn_type_list", "0 (lightning) or 1 (attention) for each layer")
    if by_list and listed is None and not f.has("layer_types"):
        raise SpecError(f"{f.place}: no attn_type_list; add it, 0 (lightning) or 1 (attention) for each layer")
    types = f.words("layer_types", length=n, allowed=(LINEAR, FULL))
    # the library's own default is every other layer, the first included; published files all say which
    full = [t == FULL for t in types] if types else [i % 2 == 0 for i in range(n)]
    full = full if listed is None else [x == 1 for x in listed]
    f.fixed("shared_intermediate_size", 0, None)
    moe = experts(f, ("num_local_experts", "num_experts"), TOP, ("intermediate_size",))
    mixers: list[AbstractMixer] = [whole if x else linear for x in full]
    for key in ("full", "linear"):
        f.skip(f"{key}_attn_alpha_factor", f"{key}_attn_beta_factor", f"layernorm_{key}_attention_alpha",
               f"layernorm_{key}_attention_beta")  # fmt: skip
    f.skip("mlp_alpha_factor", "mlp_beta_factor", "layernorm_mlp_alpha", "layernorm_mlp_beta", "postnorm", "block_size",
           "shared_moe_mode")  # fmt: skip
    return body(f, blocks_of(mixers, [moe or mlp(f)] * n), tied=False)


KDA = ("no_kda_lora", "kda_safe_gate", "kda_lower_bound", "short_conv_kernel_size", "linear_conv_kernel_dim")
"""Keys of Ling 3."""
LING = (
    "kda_safe_gate", "kda_lower_bound", "mtp_loss_scaling_factor", "moe_router_enable_expert_bias", "group_norm_size",
    "linear_silu", "use_linear_silu", "linear_rope", "linear_backend", "rotary_type", "use_mla_nope",
    "rope_traditional", "moe_router_enable_routed_scaling", "moe_router_enable_shared_expert",
    "num_kv_heads_for_linear_attn",
)  # fmt: skip
"""Keys of Ling's hybrids that say how vectors are treated."""


def bailing_hybrid(f: Fields) -> Body:
    """Ling 2.5 (norm in groups) and 3 (keys of KDA): lightning attention or KDA, latent last in every group."""
    # a list, and not a generator that ends at the first: every key must count as read
    n, delta = n_layers(f), any([f.has(key) for key in KDA])
    if not delta and not f.has("group_norm_size"):
        raise SpecError(f"{f.place}: neither short_conv_kernel_size (Ling 3) nor group_norm_size (Ling 2.5); add it")
    heads = f.whole("linear_num_heads", default=f.whole("num_attention_heads"))
    width = f.whole("linear_head_dim", default=f.whole("head_dim", default=128))
    linear = lightning(heads, width)
    if delta:
        taps = f.whole("short_conv_kernel_size", "linear_conv_kernel_dim", default=4)
        linear = kda(heads, width, taps, state_format(f), n_whole=2 if f.flag("no_kda_lora", default=True) else 0)
    gate = f.text("gated_attention_proj_granularity_type", default="head_wise" if delta else "none",
                  allowed=("head_wise", "element_wise", "none"))  # fmt: skip
    whole: Latent = latent(f)
    wide = {"head_wise": 1, "element_wise": whole.value_dim, "none": 0}[gate]
    whole = dataclasses.replace(whole, gate_width=whole.n_heads * wide)
    return _ling(f, [whole if x else linear for x in _last_of_group(f, n, 6)], first=2)


def _last_of_group(f: Fields, n: int, usual: int) -> list[bool]:
    """Whether each layer is the last of its group, or left over after the last whole group."""
    types = f.words("layer_types", length=n, allowed=(LINEAR, FULL))
    size = f.whole("layer_group_size", default=usual)
    return [t == FULL for t in types] if types else [(i + 1) % size == 0 or i >= n // size * size for i in range(n)]


def _ling(f: Fields, mixers: list[AbstractMixer], first: int) -> Body:
    f.skip(*LING, "max_window_layers")
    f.fixed("use_sliding_window", False)
    per = f.whole("moe_shared_expert_intermediate_size", default=f.whole(*WIDTH))
    shared = f.whole("num_shared_experts", "n_shared_experts", default=1, least=0) * per
    moe = experts(f, ("num_experts", "num_local_experts"), ("num_experts_per_tok", "num_experts_per_token"), WIDTH,
                  shared=shared)  # fmt: skip
    feeds = first_dense(f, len(mixers), moe, first=first)
    return body(f, blocks_of(mixers, feeds), tied=False, context=262144, ahead=AHEAD)


def bailing_linear(f: Fields) -> Body:
    """Ring linear 2: lightning attention but for the last layer of every group, which has grouped heads."""
    n, whole = n_layers(f), grouped(f)
    linear = lightning(whole.n_heads, whole.head_dim)
    return _ling(f, [whole if x else linear for x in _last_of_group(f, n, 1)], first=0)


HYBRID: dict[str, Builder] = {
    "qwen3_next": partial(qwen_next, kv=2, moe=True),
    "qwen3_5_text": partial(qwen_next, kv=4, moe=False),
    "qwen3_5_moe_text": partial(qwen_next, kv=2, moe=True),
    "olmo_hybrid": olmo_hybrid,
    "glm5_next_text": glm5_next,
    "kimi_linear": kimi_linear,
    "bailing_hybrid": bailing_hybrid,
    "bailing_moe_linear": bailing_linear,
    "minimax": partial(minimax, by_list=False),
    "minimax_m1": partial(minimax, by_list=True),
    "minimax_text_01": partial(minimax, by_list=True),
}
