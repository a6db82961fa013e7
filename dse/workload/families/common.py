"""Readers shared by many model families: grouped-query and latent attention, MLPs, experts, layer patterns."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ...core.errors import SpecError
from ..blocks import Block, Experts, Mlp
from ..config_file import Fields
from ..latent import Latent
from ..mixers import AbstractMixer, Attention
from ..op import passes
from ..transformer import Part

RMS, LAYER = (passes()[n] for n in ("norm_forward", "layer_norm"))
"""Element passes of the two normalisations: RMSNorm and LayerNorm."""


@dataclasses.dataclass
class Body:
    """What a family makes of a configuration."""

    blocks: list[Block]
    """One per layer."""
    hidden: int
    vocab: int
    tied: bool
    max_context: int
    norm_passes: float = RMS
    """Element passes of one normalisation."""
    dropout: bool = False
    n_tables: int = 0
    """Entries of further tables."""
    ahead: list[Block] = dataclasses.field(default_factory=list)
    """Blocks that predict further tokens."""
    left_out: list[Part] = dataclasses.field(default_factory=list)
    """Parts that are not counted."""


Builder = Callable[[Fields], Body]


_ABSENT = Path(__file__).parents[1] / "data" / "absent_keys.toml"


@cache
def absent_keys() -> dict[str, dict[str, int]]:
    """By type, numbers of keys whose absence does not mean none."""
    return tomllib.loads(_ABSENT.read_text(encoding="utf-8"))


def own(f: Fields, *keys: str, none: int = 0, least: int = 1) -> int:
    """The number of `keys`: `none` where it is null; where the file has none of them, the type's, which is then named.

    Types without a number of their own mean `none` by a missing key too.
    """
    # a number that the file does not print is named in `filled`, so that a reader can see what was taken
    usual = absent_keys().get(f.model_type, {}).get(keys[0])
    if usual is None or any(k in f.raw for k in keys):
        return f.whole(*keys, default=none, least=least)
    f.filled[keys[0]] = usual
    return usual


def n_layers(f: Fields) -> int:
    """Blocks."""
    return f.layers("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def hidden_of(f: Fields) -> int:
    """Model width."""
    return f.whole("hidden_size", "n_embd", "n_embed", "d_model")


def body(
    f: Fields, blocks: list[Block], *, tied: bool, norm_passes: float = RMS, context: int | None = None,
    ahead: tuple[str, ...] = (),
) -> Body:  # fmt: skip
    """A body with the sizes that every type has; `tied` where the file does not say.

    `ahead` are keys of how many blocks predict further tokens, each like the last.
    """
    longest = f.whole("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length", "model_max_length",
                      "max_seq_len", default=context)  # fmt: skip
    made = Body(
        blocks, hidden_of(f), f.whole("vocab_size", "padded_vocab_size"), f.flag("tie_word_embeddings", default=tied),
        max(longest, stretched(f)), norm_passes,
    )  # fmt: skip
    # the last one, since first ones may be dense
    made.ahead = [blocks[-1]] * (f.layers(*ahead, default=own(f, *ahead, least=0), least=0) if ahead else 0)
    return made


def stretched(f: Fields) -> int:
    """Positions that YaRN stretches those of training to, 0 without it: files often keep the shorter context beside.

    Other kinds of scaling say with some makers what the context already has, with others what it is to be.
    Source: [peng2023yarn] section 3 for the factor; keys as in [wolf2020transformers].
    """
    for key in ("rope_scaling", "rope_parameters"):
        said = f.raw.get(key)
        if isinstance(said, dict) and "yarn" in (said.get("rope_type"), said.get("type")):
            inner = Fields(said, f.place, f"{f.inside}{key}.")
            if inner.has("original_max_position_embeddings"):
                return int(inner.number("factor", default=1.0) * inner.whole("original_max_position_embeddings"))
    return 0


def grouped(f: Fields, *, kv: int | None = None, head_dim: int | None = None) -> Attention:
    """Attention with grouped heads: KV heads as many as heads, and heads that share the width, unless stated.

    `kv` and `head_dim` are what the type has where the file lacks the key; a null says that there is no such number.
    """
    hidden, n_heads = hidden_of(f), f.whole("num_attention_heads", "n_head", "n_heads")
    # a null is an answer (as many as heads), a missing key is not: only then the type's number counts
    kv = None if "num_key_value_heads" in f.raw else kv
    head_dim = None if "head_dim" in f.raw else head_dim
    n_kv = f.whole("num_key_value_heads", "num_attention_groups", default=n_heads if kv is None else kv)
    if n_heads % n_kv:
        raise SpecError(f"{f.place}: num_key_value_heads = {n_kv} does not divide num_attention_heads = {n_heads}")
    if not f.has("head_dim", "attention_head_dim") and head_dim is None and hidden % n_heads:
        raise SpecError(f"{f.place}: {n_heads} heads do not divide the width {hidden}; add head_dim or use a divisor")
    return Attention(n_heads, n_kv, f.whole("head_dim", "attention_head_dim", default=head_dim or hidden // n_heads))


def latent(f: Fields) -> Latent:
    """Latent attention; a null `q_lora_rank` leaves queries unsqueezed, a missing one is the type's own."""
    # no sizes of their own: one latent serves all heads, whatever stands here
    f.skip("head_dim", "qk_head_dim", "num_key_value_heads")
    rope = f.whole("qk_rope_head_dim", least=0)
    return Latent(
        n_heads=f.whole("num_attention_heads"),
        query_rank=own(f, "q_lora_rank"),
        kv_rank=f.whole("kv_lora_rank"),
        rope_dim=rope,
        nope_dim=f.whole("qk_nope_head_dim"),
        value_dim=f.whole("v_head_dim"),
    )


def mlp(f: Fields, *keys: str, matrices: int = 3) -> Mlp:
    """A dense MLP of the width in `keys`."""
    return Mlp(f.whole(*(keys or ("intermediate_size",))), matrices)


def experts(
    f: Fields, n: tuple[str, ...], k: tuple[str, ...], width: tuple[str, ...], *, shared: int = 0, matrices: int = 3,
    per_token: int | None = None,
) -> Experts | None:  # fmt: skip
    """A mixture of experts where the file counts any."""
    n_experts = f.whole(*n, least=0)
    if not n_experts:  # a dense sibling's file, which may keep the sizes of experts it has not
        f.skip(*k, *width)
        return None
    chosen = f.whole(*k, default=per_token)
    if chosen > n_experts:
        raise SpecError(
            f"{f.place}: {chosen} experts per token, but there are {n_experts} ({f.key_of(*n)}); use at most that many"
        )
    return Experts(n_experts, chosen, f.whole(*width), shared, matrices)


def blocks_of(mixers: Sequence[AbstractMixer], feeds: Sequence[Mlp | Experts], norms: int = 2) -> list[Block]:
    """One mixer and one feed per block."""
    return [Block((m,), feed, norms) for m, feed in zip(mixers, feeds, strict=True)]


def windowed(attention: Attention, windows: list[int], chunked: bool = False) -> list[AbstractMixer]:
    """`attention` in every layer with the layer's window, 0 for none."""
    # a chunk of 0 would read nothing: `n_read` halves the window of what is chunked
    return [dataclasses.replace(attention, window=w, chunked=chunked and w > 0) for w in windows]


def sizes_of(f: Fields, inner: Fields | None, sizes: dict[str, tuple[str, str, int]]) -> dict[str, int]:
    """Numbers by name, each under its key or under that of older files in an object of their own, or its default."""
    found = {name: f.whole(new, default=usual) for name, (new, _, usual) in sizes.items()}
    if inner is None:
        return found
    return {name: inner.whole(old, default=found[name]) for name, (_, old, _) in sizes.items()}


def sparse_layers(f: Fields, n: int, usual: list[bool]) -> list[bool]:
    """Whether each layer has experts: from `mlp_layer_types`, or `usual` without it."""
    types = f.words("mlp_layer_types", length=n, allowed=("dense", "sparse"))
    return usual if types is None else [t == "sparse" for t in types]


def rotary_layers(f: Fields, n: int, length: int | None) -> list[int]:
    """Whether each layer has rotary positions: listed in `no_rope_layers`, or all but every fourth or so."""
    period = f.whole("no_rope_layer_interval", default=4)
    return f.items("no_rope_layers", length=length) or [int((i + 1) % period != 0) for i in range(n)]


SLIDING, CHUNKED, FULL = "sliding_attention", "chunked_attention", "full_attention"


def typed_windows(f: Fields, n: int, width: int | None, default: list[int], *, chunk: bool = False) -> list[int]:
    """Window of every layer from `layer_types`, or `default` without it."""
    types = f.words("layer_types", length=n, allowed=(CHUNKED if chunk else SLIDING, FULL))
    if types is None:
        return default
    if any(t != FULL for t in types) and not width:
        key = "attention_chunk_size" if chunk else "sliding_window"
        raise SpecError(f"{f.place}: layer_types has windows, but no {key}; add it")
    return [0 if t == FULL else int(width or 0) for t in types]


def every(n: int, period: int, width: int) -> list[int]:
    """Windows of `width` in all layers but every `period`-th, counted from 1."""
    # 0 is the window of a layer that sees everything
    return [0 if (i + 1) % period == 0 else width for i in range(n)]
