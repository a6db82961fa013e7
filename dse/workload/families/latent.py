"""Families with latent attention, some with an indexer: DeepSeek, Kimi, GLM-5, MiniCPM [wolf2020transformers]."""

from __future__ import annotations

import dataclasses
from functools import partial

from ..blocks import Block
from ..config_file import Fields
from ..latent import Latent, Pool
from ..mixers import Indexer
from .common import Body, Builder, blocks_of, body, experts, latent, mlp, n_layers, rotary_layers
from .feeds import AHEAD, NEXT, ROUTED, TOP, WIDTH, routed_and_shared, with_shared

LAYERS = ("indexed_attention", "deepseek_sparse_attention")
"""What lists of layers call attention with an indexer."""
CHOICES = ("full", "shared")
"""Whether a layer's indexer chooses, or the choice of an earlier layer is used."""


def deepseek(f: Fields, *, first: int = 3, shared: int = 1) -> Body:
    """Latent attention; the first layers dense, then routed and shared experts (DeepSeek-V2 and V3, Kimi K2)."""
    f.skip("lm_head", "rm_head")
    if not f.flag("use_mla", default=True):
        # such a file may keep the sizes of a latent that it does not use
        f.skip("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        return with_shared(f, shared=shared, first=first)
    return _made(f, [latent(f)] * n_layers(f), first, shared)


def _made(f: Fields, mixers: list[Latent], first: int, shared: int) -> Body:
    feeds = routed_and_shared(f, n_layers(f), shared, first)
    return body(f, blocks_of([*mixers], feeds), tied=False, ahead=AHEAD)


def indexed(plain: Latent, chooses: Indexer, choice: str) -> Latent:
    """`plain` with an indexer that makes a choice of its own, or shares that of an earlier layer."""
    return dataclasses.replace(plain, indexer=dataclasses.replace(chooses, shared=choice == "shared"))


def sparse(f: Fields) -> Body:
    """The same with an indexer per layer (DeepSeek-V3.2), which some layers share with an earlier one (GLM-5.2)."""
    n = n_layers(f)
    chooses = indexer(f)
    f.fixed("indexer_rope_interleave", True, False)
    mixers = [indexed(latent(f), chooses, t) for t in choices_of(f, n)]
    f.words("layer_types", length=n, allowed=LAYERS)
    return _made(f, mixers, 3, 1)


def hy_v4(f: Fields) -> Body:
    """Hunyuan 4: indexers in every fourth layer from the second, and a gate on every result."""
    n = n_layers(f)
    f.words("layer_types", length=n, allowed=LAYERS)
    types = f.words("indexer_types", length=n, allowed=CHOICES)
    types = types or ["full" if i == 0 or (i - 1) % 4 == 0 else "shared" for i in range(n)]
    plain, chooses = latent(f), indexer(f)
    plain = dataclasses.replace(plain, gate_width=plain.n_heads * plain.value_dim)
    return _made(f, [indexed(plain, chooses, t) for t in types], 1, 1)


def mistral_large4(f: Fields) -> Body:
    """Mistral Large 4: indexers that read the input, and every fourth layer without rotary positions."""
    n = n_layers(f)
    f.words("layer_types", length=n, allowed=LAYERS)
    f.fixed("kv_source_layers", list(range(n)))
    rope = rotary_layers(f, n, n)
    plain, chooses = dataclasses.replace(latent(f), query_rank=0), indexer(f)
    # heads stay as wide: what rotary positions took goes to the other part
    whole = dataclasses.replace(plain, nope_dim=plain.head_dim, rope_dim=0)
    choices = zip(rope, choices_of(f, n), strict=True)
    return _made(f, [indexed(plain if r else whole, chooses, t) for r, t in choices], 1, 1)


RATIOS = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
"""Layers of DeepSeek-V4 and their usual positions per entry."""


def deepseek_v4(f: Fields) -> Body:
    """DeepSeek-V4: a window everywhere, beside it entries of 4 positions with an indexer, or of 128 positions."""
    n, heads, width = n_layers(f), f.whole("num_attention_heads"), f.whole("head_dim", default=512)
    # one vector is key and value of all heads
    f.fixed("num_key_value_heads", 1)
    f.skip("num_hash_layers", "partial_rotary_factor", "router_jitter_noise", "compress_rope_parameters",
           "qk_nope_head_dim")  # fmt: skip
    f.words("mlp_layer_types", length=n, allowed=("moe", "hash_moe"))
    rope = f.whole("qk_rope_head_dim", default=64)
    sparse_kind = "compressed_sparse_attention"
    made = {
        # the cached vector is as wide as a head: `kv_rank` and the rotary part add up to it
        rate: Latent(
            heads, f.whole("q_lora_rank", default=1024), width - rope, rope, width - rope, width,
            # overlapping entries take part of two neighbours: vector and gate of each are four projections for keys
            indexer=dataclasses.replace(indexer(f), rate=rate, n_made=4) if kind == sparse_kind else None,
            pool=Pool(f.whole("sliding_window", default=128), rate, 1 + (kind == sparse_kind),
                      f.whole("o_lora_rank", default=1024), f.whole("o_groups", default=8)),
        ) for kind, rate in _rates(f).items()
    }  # fmt: skip
    mixers = [made[r] for r in _ratios(f, n)]
    per = f.whole(*WIDTH, "intermediate_size")
    shared = f.whole("n_shared_experts", default=1, least=0) * per
    moe = experts(f, ROUTED, TOP, (*WIDTH, "intermediate_size"), shared=shared)
    if moe is None:
        raise f.error("n_routed_experts", "at least one expert")
    return body(f, blocks_of(mixers, [moe] * n), tied=False, ahead=NEXT)


def _rates(f: Fields) -> dict[str, int]:
    rates, inner = dict(RATIOS), f.nested("compress_rates")
    for kind, old in (("compressed_sparse_attention", "csa"), ("heavily_compressed_attention", "hca")):
        usual = f.whole(f"compress_rate_{old}", default=rates[kind])
        rates[kind] = inner.whole(kind, default=usual) if inner is not None else usual
    return rates


def _ratios(f: Fields, n: int) -> list[int]:
    """Positions per entry of each layer; older lists also name the layers that predict further tokens."""
    rates, listed = _rates(f), f.items("compress_ratios")
    types = f.words("layer_types", length=n, allowed=tuple(RATIOS))
    if types is not None:
        return [rates[t] for t in types]
    if listed is not None:
        if len(listed) < n or any(x not in rates.values() for x in listed):
            raise f.error("compress_ratios", f"one of {', '.join(map(str, rates.values()))} for each of {n} layers")
        return listed[:n]
    csa, hca = rates["compressed_sparse_attention"], rates["heavily_compressed_attention"]
    return [hca if i < 2 or i % 2 == 0 else csa for i in range(n)]


def indexer(f: Fields) -> Indexer:
    """Sizes of the indexer."""
    return Indexer(f.whole("index_n_heads"), f.whole("index_head_dim"), f.whole("index_topk"))


def choices_of(f: Fields, n: int) -> list[str]:
    """Whether each layer's indexer chooses, from a list, a pattern of letters or a frequency."""
    listed = f.words("indexer_types", length=n, allowed=CHOICES)
    pattern = f.raw.get("index_topk_pattern")
    if pattern is not None and (not isinstance(pattern, str | list) or len(pattern) != n):
        raise f.error("index_topk_pattern", f"a letter F or S for each of {n} layers")
    freq = f.whole("index_topk_freq", default=1)
    offset = f.whole("index_skip_topk_offset", default=2, least=0)
    f.skip("index_topk_pattern")
    if listed is not None:
        return listed
    if pattern is not None:
        letters = {"F": "full", "S": "shared", "full": "full", "shared": "shared"}
        if any(not isinstance(x, str) or x not in letters for x in pattern):
            raise f.error("index_topk_pattern", "letters F (chooses) and S (shares)")
        return [letters[x] for x in pattern]
    return ["full" if max(i - offset + 1, 0) % freq == 0 else "shared" for i in range(n)]


def minicpm3(f: Fields) -> Body:
    """MiniCPM3: latent attention and a dense MLP; heads share the width where the file says nothing of values."""
    f.fill({"v_head_dim": f.whole("hidden_size") // f.whole("num_attention_heads")})
    f.skip("dim_model_base", "scale_emb", "scale_depth")
    return body(f, blocks_of([latent(f)] * n_layers(f), [mlp(f)] * n_layers(f)), tied=True)


def longcat(f: Fields) -> Body:
    """LongCat-Flash: two attentions and two dense MLPs per layer, and experts beside one of the MLPs."""
    n, zero = f.layers("num_layers", "num_hidden_layers"), f.whole("zero_expert_num", default=256, least=0)
    # experts of another kind would have work to do
    f.fixed("zero_expert_type", "identity")
    moe = experts(f, ROUTED, ("moe_topk", *TOP), ("expert_ffn_hidden_size", *WIDTH), per_token=12)
    dense, attention = mlp(f, "ffn_hidden_size", "intermediate_size"), latent(f)
    if moe is None:
        raise f.error("n_routed_experts", "at least one expert")
    # experts that return their input take a share of the choices, so that fewer with weights are visited on average
    visited = round(moe.per_token * moe.n_experts / (moe.n_experts + zero))
    beside = dataclasses.replace(moe, per_token=max(visited, 1), parallel_ffn=dense.ffn)
    # a layer of two attentions and two MLPs is two blocks here
    blocks = [Block((attention,), x) for _ in range(n) for x in (beside, dense)]
    f.skip("router_bias", "mla_scale_q_lora", "mla_scale_kv_lora", "num_layers", "attention_method", "zero_expert_type")
    return body(f, blocks, tied=False)


LATENT: dict[str, Builder] = {
    "deepseek_v2": partial(deepseek, first=0, shared=2),
    "deepseek_v3": deepseek,
    "kimi_k2": deepseek,
    "deepseek_v32": sparse,
    "glm_moe_dsa": sparse,
    "deepseek_v4": deepseek_v4,
    **dict.fromkeys(("hy_v4", "hy_v4_vl_text"), hy_v4),
    "mistral_large4_text": mistral_large4,
    "sarvam_mla": partial(deepseek, first=1),
    "axk1": partial(deepseek, first=1),
    "glm4_moe_lite": partial(deepseek, first=1),
    "mistral4": partial(deepseek, first=0),
    "youtu": minicpm3,
    "minicpm3": minicpm3,
    "longcat_flash": longcat,
}
