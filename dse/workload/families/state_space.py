"""Families with state spaces (Mamba 1 and 2) or short convolutions, some with attention [wolf2020transformers]."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial

from ...core.errors import SpecError
from ..blocks import Block, Experts, Mlp
from ..config_file import Fields
from ..mixers import AbstractMixer
from ..recurrences import Recurrence, ShortConvolution
from .common import FULL, Body, Builder, blocks_of, body, experts, grouped, hidden_of, mlp, n_layers
from .feeds import ROUTED, TOP, WIDTH, mixed_feeds
from .hybrid import LINEAR, state_format


def mamba2(
    f: Fields, *, heads: tuple[str, int], width: int | None, state: tuple[str, int], groups: tuple[str, int],
    inner: int, taps: str, kept: str = "bfloat16",
) -> Recurrence:  # fmt: skip
    """Mamba 2: a decay per head, keys (B) and queries (C) shared by groups of heads. Source: [dao2024ssd] section 7."""
    n = f.whole(heads[0], default=heads[1])
    wide = width or inner // n
    d, g = f.whole(state[0], default=state[1]), f.whole(groups[0], default=groups[1])
    if not width and inner % n:
        raise SpecError(f"{f.place}: {heads[0]} = {n} does not divide the inner width {inner}")
    channels = n * wide + 2 * g * d  # values, keys and queries; gate and steps pass no convolution
    return Recurrence("Mamba 2", n, d, wide, channels + n * wide + n, "dual", channels, f.whole(taps, default=4),
                      n_key_heads=g, state_format=state_format(f, kept))  # fmt: skip


def _bamba_mixer(f: Fields, inner: int) -> Recurrence:
    """Mamba 2 in the spelling of Bamba, Granite and Falcon."""
    said = f.raw.get("mamba_d_head")  # as it is: it may be the word "auto"
    width = None if said in (None, "auto") else f.whole("mamba_d_head")
    f.skip("mamba_d_head", "mamba_chunk_size", "mamba_conv_bias", "mamba_proj_bias", "mamba_rms_norm",
           "mamba_norm_before_gate", "mamba_use_mlp", "projectors_bias", "time_step_limit")  # fmt: skip
    made = mamba2(f, heads=("mamba_n_heads", 128), width=width, state=("mamba_d_state", 256),
                  groups=("mamba_n_groups", 1), inner=inner, taps="mamba_d_conv")  # fmt: skip
    if made.width != inner:
        raise SpecError(
            f"{f.place}: mamba_n_heads = {made.n_heads} of {made.value_dim} are not the inner width {inner}"
        )
    return made


def bamba(f: Fields) -> Body:
    """Bamba: Mamba 2 but for listed layers of attention, a dense MLP in each."""
    n, hidden = n_layers(f), hidden_of(f)
    listed = f.indices("attn_layer_indices", below=n) or []
    linear, whole = _bamba_mixer(f, f.whole("mamba_expand", default=2) * hidden), grouped(f, kv=8)
    mixers: list[AbstractMixer] = [whole if i in listed else linear for i in range(n)]
    f.skip("attn_rotary_emb", "z_loss_coefficient", "num_logits_to_keep")
    return body(f, blocks_of(mixers, [mlp(f)] * n), tied=False, context=262144)


def falcon_h1(f: Fields) -> Body:
    """Falcon-H1: attention and Mamba 2 side by side in every block."""
    n, hidden = n_layers(f), hidden_of(f)
    expand = f.whole("mamba_expand", default=2)
    inner = f.whole("mamba_d_ssm", default=expand * hidden if "mamba_d_ssm" in f.raw else 1024)
    both = (grouped(f, kv=8), _bamba_mixer(f, inner))
    for part in ("embedding", "key", "lm_head", "attention_in", "attention_out", "ssm_in", "ssm_out"):
        f.skip(f"{part}_multiplier")
    f.skip("mlp_multipliers", "ssm_multipliers", "mlp_expansion_factor", "num_logits_to_keep", "attn_layer_indices")
    return body(f, [Block(both, mlp(f))] * n, tied=False, context=8192)


def granite_hybrid(f: Fields) -> Body:
    """Granite 4: Mamba 2 or attention per layer, a shared MLP, and experts if there are any."""
    n, hidden = n_layers(f), hidden_of(f)
    kinds = f.words("layer_types", "layers_block_type", length=n, allowed=("mamba", "attention", LINEAR, FULL))
    full = [k in ("attention", FULL) for k in kinds or [LINEAR] * n]
    linear = _bamba_mixer(f, f.whole("mamba_expand", default=2) * hidden) if not all(full) else None
    if linear is None:
        f.skip(*(k for k in f.raw if k.startswith("mamba_")), "time_step_limit")
    whole = grouped(f)
    shared = f.whole("shared_intermediate_size", default=1024)
    moe = experts(f, ("num_local_experts",), TOP, ("intermediate_size",), shared=shared)
    if moe is None:
        f.skip("intermediate_size")
    feed: Mlp | Experts = moe or Mlp(shared)
    mixers: list[AbstractMixer] = [whole if x or linear is None else linear for x in full]
    f.skip("normalization_function", "num_logits_to_keep", "position_embedding_type")
    return body(f, blocks_of(mixers, [feed] * n), tied=False)


def mamba1(inner: int, state: int, rank: int, taps: int) -> Recurrence:
    """Mamba 1: a decay per channel and row of the state, low-rank step sizes. Source: [gu2023mamba] section 3.4."""
    # every channel is a head of its own with a column of `state` rows, so the state is inner x state x 1
    return Recurrence("Mamba 1", inner, state, 1, 2 * inner, "scan", inner, taps,
                      inner=((inner, rank + 2 * state), (rank, inner)), n_key_heads=1)  # fmt: skip


def jamba(f: Fields) -> Body:
    """Jamba: attention and experts each at a period and an offset, Mamba 1 elsewhere."""
    n, hidden = n_layers(f), hidden_of(f)
    rank = math.ceil(hidden / 16) if f.raw.get("mamba_dt_rank") in (None, "auto") else f.whole("mamba_dt_rank")
    f.skip("mamba_dt_rank", "mamba_conv_bias", "mamba_proj_bias", "use_mamba_kernels", "num_logits_to_keep",
           "use_mambapy", "use_associative_scan", "mamba_inner_layernorms")  # fmt: skip
    inner = f.whole("mamba_expand", default=2) * hidden
    linear = mamba1(inner, f.whole("mamba_d_state", default=16), rank, f.whole("mamba_d_conv", default=4))
    whole = grouped(f, kv=8)
    period, offset = f.whole("attn_layer_period", default=8), f.whole("attn_layer_offset", default=4, least=0)
    each, start = f.whole("expert_layer_period", default=2), f.whole("expert_layer_offset", default=1, least=0)
    for name, a, b in (("attn", offset, period), ("expert", start, each)):
        if a >= b:
            raise SpecError(f"{f.place}: {name}_layer_offset = {a} is not below {name}_layer_period = {b}")
    moe = experts(f, ("num_experts", "num_local_experts"), TOP, ("intermediate_size",), per_token=2)
    mixers: list[AbstractMixer] = [whole if i % period == offset else linear for i in range(n)]
    sparse = [moe is not None and moe.n_experts > 1 and i % each == start for i in range(n)]
    return body(f, blocks_of(mixers, mixed_feeds(f, sparse, moe)), tied=False, context=262144)


def mamba(f: Fields) -> Body:
    """Mamba 1 alone: one norm and one mixer per block."""
    n, hidden = n_layers(f), hidden_of(f)
    inner = f.whole("intermediate_size", "d_inner", default=f.whole("expand", default=2) * hidden)
    rank = f.raw.get("time_step_rank")  # as it is: it may be the word "auto"
    rank = math.ceil(hidden / 16) if rank in (None, "auto") else f.whole("time_step_rank")
    f.skip("time_step_rank", "use_bias", "use_conv_bias", "mixer_rms_eps", "use_mambapy", "residual_in_fp32",
           "fused_add_norm", "pad_vocab_size_multiple", "use_falcon_mambapy", "use_associative_scan")  # fmt: skip
    f.fixed("rms_norm", True)  # as the first files of mamba_ssm have it, turned into the library's
    f.fixed("ssm_cfg", {})  # anything in it would be another mixer, such as Mamba 2
    mixer = mamba1(inner, f.whole("state_size", default=16), rank, f.whole("conv_kernel", default=4))
    return body(f, [Block((mixer,), None, 1)] * n, tied=True, context=2**20)  # a state ends nowhere


def mamba2_alone(f: Fields) -> Body:
    """Mamba 2 alone."""
    n, hidden = n_layers(f), hidden_of(f)
    f.skip("chunk_size", "use_bias", "use_conv_bias", "rms_norm", "norm_before_gate", "residual_in_fp32",
           "time_step_rank")  # fmt: skip
    inner = f.whole("expand", default=2) * hidden
    f.fixed("intermediate_size", inner)
    mixer = mamba2(f, heads=("num_heads", 128), width=f.whole("head_dim", default=64), state=("state_size", 128),
                   groups=("n_groups", 8), inner=inner, taps="conv_kernel")  # fmt: skip
    return body(f, [Block((mixer,), None, 1)] * n, tied=False, context=2**20)


NEMOTRON = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe", LINEAR: "mamba", FULL: "attention", "mlp": "mlp",
            "moe": "moe", "mamba": "mamba", "attention": "attention"}  # fmt: skip
"""Letters of `hybrid_override_pattern` and words of `layers_block_type`."""


def nemotron_h(f: Fields) -> Body:
    """Nemotron-H and 3: a layer is Mamba 2, attention, a dense MLP or experts, each with one norm."""
    pattern = f.text("hybrid_override_pattern", default="")
    listed = f.items("layers_block_type", "layer_types")
    f.skip("layer_types")
    kinds = listed if listed is not None else [*pattern]
    blocks = _nemotron_blocks(f, kinds, "hybrid_override_pattern" if listed is None else "layers_block_type")
    said = f.whole("num_hidden_layers", default=len(kinds))
    if said != len(kinds):
        raise f.error("num_hidden_layers", f"the {len(kinds)} layers that the pattern lists")
    made = body(f, blocks, tied=False)
    n_ahead = f.layers("num_nextn_predict_layers", default=0, least=0)
    ahead = f.items("mtp_layers_block_type") or [*f.text("mtp_hybrid_override_pattern", default="")] or [FULL, "moe"]
    if not n_ahead:
        return made
    both = _nemotron_blocks(f, ahead, "mtp_hybrid_override_pattern")
    merged = Block(tuple(m for b in both for m in b.mixers), next((b.feed for b in both if b.feed), None), len(both))
    return dataclasses.replace(made, ahead=[merged] * n_ahead)


def _nemotron_blocks(f: Fields, kinds: Sequence[object], key: str) -> list[Block]:
    """The block of each letter or word that `key` lists."""
    known = [NEMOTRON[k] for k in kinds if isinstance(k, str) and k in NEMOTRON]
    if not kinds or len(known) < len(kinds):
        raise f.error(key, "a letter of M (Mamba), * (attention), - (MLP), E (experts) for each layer, or their words")
    parts = _nemotron_parts(f, set(known))
    return [parts[k] for k in known]


def _nemotron_parts(f: Fields, kinds: set[str]) -> dict[str, Block]:
    """A block of each kind that the pattern has."""
    f.skip("expand", "chunk_size", "intermediate_size", "attention_head_dim", "head_dim", "num_query_groups",
           "mamba_dt_limit", "mamba_dt_init_floor", "mamba_state_dim", "time_step_rank")  # fmt: skip
    inner = f.whole("mamba_num_heads", default=128) * f.whole("mamba_head_dim", default=64)
    mixer = mamba2(f, heads=("mamba_num_heads", 128), width=f.whole("mamba_head_dim", default=64),
                   state=("ssm_state_size", 128), groups=("n_groups", 8), inner=inner, taps="conv_kernel",
                   kept="float32")  # fmt: skip
    whole = grouped(f, kv=8, head_dim=128)
    parts = {"mamba": Block((mixer,), None, 1), "attention": Block((whole,), None, 1)}
    if "mlp" in kinds:
        parts["mlp"] = Block((), mlp(f, matrices=2), 1)
    names = (ROUTED[:2], TOP, WIDTH)
    if "moe" not in kinds:
        f.skip("n_shared_experts", "moe_shared_expert_intermediate_size", "moe_latent_size", *sum(names, ()))
        return parts
    wide = f.whole("moe_shared_expert_intermediate_size", default=7688)  # of all shared experts together
    shared = wide if f.whole("n_shared_experts", default=1, least=0) else 0
    moe = experts(f, *names, shared=shared, matrices=2)
    if moe is None:
        raise f.error(str(f.key_of(*ROUTED)), "at least one expert, since the pattern has layers of them")
    small = f.whole("moe_latent_size", default=0, least=0)
    parts["moe"] = Block((), dataclasses.replace(moe, latent=small), 1)
    return parts


def lfm2(f: Fields, *, moe: bool) -> Body:
    """LFM2: short convolutions with attention in listed layers."""
    n, hidden = n_layers(f), hidden_of(f)
    types = f.words("layer_types", length=n, allowed=("conv", FULL))
    listed = f.indices("full_attn_idxs", below=n)
    full = [t == FULL for t in types] if types else [listed is None or i in listed for i in range(n)]
    conv = ShortConvolution(hidden, f.whole("conv_L_cache", default=3))
    whole = grouped(f, kv=8)
    mixers: list[AbstractMixer] = [whole if x else conv for x in full]
    f.skip("conv_bias", "conv_dim", "conv_dim_out", "conv_use_xavier_init", "block_dim", "block_norm_eps",
           "block_use_swiglu", "block_use_xavier_init", "block_mlp_init_scale", "block_out_init_scale",
           "use_pos_enc", "num_heads", "use_expert_bias")  # fmt: skip
    if moe:
        some = experts(f, ("num_experts", "num_local_experts"), TOP, WIDTH)
        dense = f.whole("num_dense_layers", default=2, least=0)
        feeds = mixed_feeds(f, [i >= dense for i in range(n)], some)
    else:
        feeds = [Mlp(_lfm2_ffn(f))] * n
    tied = f.flag("tie_embedding", default=True)
    return body(f, blocks_of(mixers, feeds), tied=tied)


def _lfm2_ffn(f: Fields) -> int:
    """Width of the MLP: two thirds, times a factor, rounded up, unless adjusting is off."""
    width, factor = f.whole("intermediate_size", "block_ff_dim"), f.number("block_ffn_dim_multiplier", default=1.0)
    multiple = f.whole("block_multiple_of", default=256)
    if not f.flag("block_auto_adjust_ff_dim", default=True):
        return width
    width = int(2 * width / 3)
    # the library's code rounds only where it multiplies, which a null switches off
    if f.raw.get("block_ffn_dim_multiplier", factor) is None:
        return width
    return -(-int(factor * width) // multiple) * multiple


STATE_SPACE: dict[str, Builder] = {
    "jamba": jamba,
    "bamba": bamba,
    "falcon_h1": falcon_h1,
    "granitemoehybrid": granite_hybrid,
    "mamba": mamba,
    "falcon_mamba": mamba,
    "mamba2": mamba2_alone,
    "nemotron_h": nemotron_h,
    "lfm2": partial(lfm2, moe=False),
    "lfm2_moe": partial(lfm2, moe=True),
}
