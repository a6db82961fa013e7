"""Gemma 3n and 4: heads by kind of layer, late layers that use earlier keys, embeddings of their own for each layer.

Source: sizes and defaults are those of each type in [wolf2020transformers], release 5.24.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from ...core.errors import SpecError
from ..blocks import Block, Experts, Mlp
from ..config_file import Fields
from ..mixers import AbstractMixer, Attention
from .common import FULL, SLIDING, Body, Builder, body, experts, grouped, n_layers, own
from .feeds import WIDTH

NEAR_KEYS = ("head_dim", "num_key_value_heads")
"""What `per_layer_config` may state for a layer."""


def kinds_of(f: Fields, n: int, period: int) -> list[str]:
    """Kind of each layer, by list or period."""
    found = f.words("layer_types", length=n, allowed=(SLIDING, FULL))
    return found or [SLIDING if (i + 1) % period else FULL for i in range(n)]


def _own(f: Fields, n: int) -> list[bool]:
    """Whether each layer makes keys and values; the last ones use those of the last layer of their kind that does."""
    shared = own(f, "num_kv_shared_layers", least=0)
    if shared >= n:
        whose = ", as the type has it where its file does not say" if "num_kv_shared_layers" in f.filled else ""
        raise SpecError(
            f"{f.place}: {f.inside}num_kv_shared_layers = {shared}{whose}, expected fewer than the {n} layers"
        )
    return [i < n - shared for i in range(n)]


def _layer(f: Fields, i: int) -> Fields | None:
    listed: Any = f.raw.get("per_layer_config")
    if listed is not None and not isinstance(listed, dict):
        raise f.error("per_layer_config", "an object with layers by number")
    one = next((v for k, v in (listed or {}).items() if k.isdecimal() and int(k) == i), None)
    if one is None:
        return None
    if not isinstance(one, dict) or set(one) - set(NEAR_KEYS):
        raise f.error("per_layer_config", f"objects with {' and '.join(NEAR_KEYS)}")
    return Fields(one, f.place, f"per_layer_config.{i}.")


def gemma4(f: Fields, *, per_layer: int, window: int) -> Body:
    """Gemma 4: wider heads and fewer keys where a layer sees everything; keys may serve as values there."""
    n = n_layers(f)
    kinds = kinds_of(f, n, 6)
    kinds[-1] = FULL  # whatever the list says: the library's code makes the last layer see everything
    width = f.whole("hidden_size_per_layer_input", default=per_layer, least=0)
    wide = f.flag("use_double_wide_mlp", default=False)
    made_here, moe, mixers = _own(f, n), _moe(f), _mixers(f, kinds, window)
    blocks = []
    for mixer, makes in zip(mixers, made_here, strict=True):
        ffn = f.whole("intermediate_size") * (2 if wide and not makes else 1)
        feed: Mlp | Experts = dataclasses.replace(moe, parallel_ffn=ffn) if moe else Mlp(ffn)
        # around both branches; behind the layer's embedding; between the MLP and the experts beside it
        norms = 4 + (width > 0) + (3 if moe else 0)
        blocks.append(Block((dataclasses.replace(mixer, own_kv=makes),), feed, norms, width))
    made = body(f, blocks, tied=True)
    return dataclasses.replace(made, n_tables=_tables(f, n, width, made.hidden))


def _mixers(f: Fields, kinds: list[str], window: int) -> list[Attention]:
    """Attention of every layer, all of its own keys, with the type's `window` where the file states none."""
    near = grouped(f, kv=4, head_dim=256)
    w = f.whole("sliding_window", default=window)
    # "vision" lets positions of an image see each other, and text stays causal
    both = f.text("use_bidirectional_attention", default="vision", allowed=("vision", "all")) == "all"
    near = dataclasses.replace(near, causal=not both)
    same = f.flag("attention_k_eq_v", default=False)
    width = f.whole("global_head_dim", default=512)
    few = f.whole("num_global_key_value_heads", default=near.n_kv_heads)
    far = dataclasses.replace(near, head_dim=width, n_kv_heads=few if same else near.n_kv_heads, values_are_keys=same)
    found, said = [], f.has("per_layer_config")
    for i, kind in enumerate(kinds):
        # files with a list per layer state wide layers there, and no sizes for all of them
        one = near if kind == SLIDING or said else far
        inner = _layer(f, i)
        if inner is not None:
            wide, few = (
                inner.whole(k, default=n) for k, n in zip(NEAR_KEYS, (one.head_dim, one.n_kv_heads), strict=True)
            )
            one = dataclasses.replace(one, head_dim=wide, n_kv_heads=few)
        window, reused = (w, False) if kind == SLIDING else (0, same)
        found.append(dataclasses.replace(one, window=window, values_are_keys=reused))
    return found


def _moe(f: Fields) -> Experts | None:
    if not f.flag("enable_moe_block", default=False):
        f.skip("num_experts", "top_k_experts", "moe_intermediate_size", "expert_intermediate_size")
        return None
    moe = experts(f, ("num_experts",), ("top_k_experts",), (*WIDTH, "expert_intermediate_size"))
    if moe is None:
        raise f.error("num_experts", "at least one expert, since enable_moe_block is true")
    return moe


def _tables(f: Fields, n: int, width: int, hidden: int) -> int:
    """Entries of the embeddings per layer and of the matrix that makes them from the model's own."""
    rows = f.whole("vocab_size_per_layer_input", default=262144)
    return n * width * (rows + hidden)


def gemma3n(f: Fields) -> Body:
    """Gemma 3n: four streams of which a layer works on one, a low-rank branch, embeddings per layer."""
    n = n_layers(f)
    kinds, made_here = kinds_of(f, n, 5), _own(f, n)
    width = f.whole("hidden_size_per_layer_input", default=256)
    rank, streams = f.whole("laurel_rank", default=64), f.whole("altup_num_inputs", default=4)
    f.skip("activation_sparsity_pattern", "altup_active_idx", "altup_coef_clip", "altup_correct_scale",
           "altup_lr_multiplier")  # fmt: skip
    w = f.whole("sliding_window", default=512)
    attention = grouped(f, kv=2, head_dim=256)
    blocks = []
    for kind, makes, ffn in zip(kinds, made_here, _widths(f, n), strict=True):
        mixers: tuple[AbstractMixer, ...] = (
            dataclasses.replace(attention, window=w if kind == SLIDING else 0, own_kv=makes),
        )
        # the low-rank branch is two matrices of the width, as is a layer's gate: they add up
        blocks.append(Block(mixers, Mlp(ffn), 6, width + rank))
    made = body(f, blocks, tied=True)
    # the other streams are projected out of the first in front of all layers, and back behind them
    joined = 2 * (streams - 1) * made.hidden**2
    return dataclasses.replace(made, n_tables=_tables(f, n, width, made.hidden) + joined)


def _widths(f: Fields, n: int) -> list[int]:
    """Width of the MLP of every layer: one for all, or a list."""
    said = f.raw.get("intermediate_size", 16384)
    f.skip("intermediate_size")
    listed = said if isinstance(said, list) else [said] * n
    if len(listed) != n or any(not isinstance(x, int) or isinstance(x, bool) or x < 1 for x in listed):
        raise SpecError(f"{f.place}: intermediate_size has no whole number for each of {n} layers; give one or a list")
    return listed


GEMMA: dict[str, Builder] = {
    "gemma3n_text": gemma3n,
    "gemma4_text": partial(gemma4, per_layer=256, window=512),
    "gemma4_unified_text": partial(gemma4, per_layer=0, window=1024),
}
