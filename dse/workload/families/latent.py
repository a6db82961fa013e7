"""Families with latent attention, with or without an indexer that chooses positions: DeepSeek, Kimi, GLM-5, MiniCPM3.

Source: defaults are those of the configuration classes of each type in [wolf2020transformers], release 5.24.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from ..blocks import Block
from ..config_file import Fields
from ..mixers import Indexer, Latent
from .common import Body, Builder, blocks_of, body, experts, hidden_of, latent, mlp, n_layers
from .experts import ROUTED, TOP, WIDTH, ahead, first_dense

CHOICES = ("full", "shared")
"""Whether a layer's indexer chooses, or the choice of an earlier layer is used."""


def deepseek(f: Fields, *, first: int = 3, shared: int = 1, mtp: int = 0) -> Body:
    """Latent attention; the first layers dense, then routed and shared experts (DeepSeek-V2 and V3, Kimi K2)."""
    return _made(f, [latent(f)] * n_layers(f), first, shared, mtp)


def _made(f: Fields, mixers: list[Latent], first: int, shared: int, mtp: int) -> Body:
    n, per = n_layers(f), f.whole(*WIDTH)
    n_shared = f.whole("n_shared_experts", "num_shared_experts", default=shared, least=0)
    moe = experts(f, ROUTED, (*TOP, "num_experts_per_token"), WIDTH, shared=n_shared * per)
    feeds = first_dense(f, n, moe, first=first)
    made = body(f, blocks_of([*mixers], feeds), tied=False)
    block = made.blocks[-1]
    f.skip("num_nextn_predict_layers", "num_mtp_layers")
    return dataclasses.replace(made, ahead=ahead(f, block, "num_nextn_predict_layers", "num_mtp_layers", usual=mtp))


def sparse(f: Fields, *, first: int = 3) -> Body:
    """The same with an indexer per layer (DeepSeek-V3.2), which some layers share with an earlier one (GLM-5.2)."""
    n = n_layers(f)
    chooses = indexer(f)
    f.fixed("indexer_rope_interleave", True, False)
    mixers = [dataclasses.replace(latent(f), indexer=dataclasses.replace(chooses, shared=t == "shared"))
              for t in _choices(f, n)]  # fmt: skip
    f.words("layer_types", length=n, allowed=("indexed_attention", "deepseek_sparse_attention"))
    return _made(f, mixers, first, 1, 0)


def indexer(f: Fields) -> Indexer:
    """Sizes of the indexer."""
    return Indexer(f.whole("index_n_heads"), f.whole("index_head_dim"), f.whole("index_topk"))


def _choices(f: Fields, n: int) -> list[str]:
    """Whether each layer's indexer chooses, from a list, a pattern of letters or a frequency."""
    listed = f.words("indexer_types", length=n, allowed=CHOICES)
    pattern = f.raw.get("index_topk_pattern")
    if isinstance(pattern, str) and len(pattern) != n:
        raise f.error("index_topk_pattern", f"a letter F or S for each of {n} layers")
    freq = f.whole("index_topk_freq", default=1)
    offset = f.whole("index_skip_topk_offset", default=2, least=0)
    f.skip("index_topk_pattern")
    if listed is not None:
        return listed
    if pattern is not None:
        letters = {"F": "full", "S": "shared", "full": "full", "shared": "shared"}
        if any(x not in letters for x in pattern):
            raise f.error("index_topk_pattern", "letters F (chooses) and S (shares)")
        return [letters[x] for x in pattern]
    return ["full" if max(i - offset + 1, 0) % freq == 0 else "shared" for i in range(n)]


def minicpm3(f: Fields) -> Body:
    """MiniCPM3: latent attention and a dense MLP."""
    n = n_layers(f)
    f.skip("dim_model_base", "scale_emb", "scale_depth")
    return body(f, blocks_of([latent(f)] * n, [mlp(f)] * n), tied=True)


def longcat(f: Fields) -> Body:
    """LongCat-Flash: two attentions and two dense MLPs per layer, and experts beside the second half."""
    n, zero = f.whole("num_layers", "num_hidden_layers"), f.whole("zero_expert_num", default=256, least=0)
    f.fixed("zero_expert_type", "identity")
    moe = experts(f, ROUTED, ("moe_topk", *TOP), ("expert_ffn_hidden_size", *WIDTH), per_token=12)
    dense, attention = mlp(f, "ffn_hidden_size", "intermediate_size"), latent(f)
    blocks: list[Block] = []
    if moe is None:
        raise f.error("n_routed_experts", "at least one expert")
    # experts that return their input take a share of the choices, so that fewer with weights are visited on average
    visited = round(moe.per_token * moe.n_experts / (moe.n_experts + zero))
    beside = dataclasses.replace(moe, per_token=max(visited, 1), parallel_ffn=dense.ffn)
    for _ in range(n):
        blocks += [Block((attention,), beside), Block((attention,), dense)]
    f.skip("router_bias", "mla_scale_q_lora", "mla_scale_kv_lora", "num_layers", "attention_method", "zero_expert_type")
    return body(f, blocks, tied=False)


LATENT: dict[str, Builder] = {
    "deepseek_v2": partial(deepseek, first=0, shared=2),
    "deepseek_v3": deepseek,
    "kimi_k2": deepseek,
    "deepseek_v32": sparse,
    "glm_moe_dsa": sparse,
    "glm4_moe_lite": partial(deepseek, first=1),
    "mistral4": partial(deepseek, first=0),
    "youtu": minicpm3,
    "minicpm3": minicpm3,
    "longcat_flash": longcat,
}
"""Types with latent attention."""


def width_of(f: Fields) -> int:
    """Model width."""
    return hidden_of(f)
