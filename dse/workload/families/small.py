"""Small families of few models, older ones among them, with keys of their own.

Source: sizes and defaults are those of each type in [wolf2020transformers], release 5.24, or of the model's own code.
"""

from __future__ import annotations

import dataclasses

from ..blocks import Mlp
from ..config_file import Fields, wholes
from ..mixers import AbstractMixer, Attention
from .common import LAYER, Body, Builder, blocks_of, body, grouped, hidden_of, mlp, n_layers, typed_windows, windowed
from .dense import gated, gpt2


def chameleon(f: Fields) -> Body:
    """Chameleon: a dense decoder whose words are of texts and of images, which another model cuts."""
    f.skip("model_parallel_size", "swin_norm", "vq_config", "vocabulary_map")
    return gated(f)


def molmo2(f: Fields) -> Body:
    """Molmo 2: a dense decoder with a few more entries in the table than words."""
    made = gated(f, norms=2)
    f.skip("norm_after", "qk_norm_type", "rope_scaling_layers")
    more = f.whole("additional_vocab_size", default=128, least=0)
    return dataclasses.replace(made, n_tables=more * made.hidden)


def xglm(f: Fields) -> Body:
    """XGLM: keys of its own, LayerNorm, two matrices, positions that are computed."""
    n, hidden, heads = f.layers("num_layers"), hidden_of(f), f.whole("attention_heads", "num_attention_heads")
    f.fixed("add_cross_attention", False)
    f.skip("layerdrop", "scale_embedding")
    if hidden % heads:
        raise f.error("attention_heads", f"a divisor of the width {hidden}")
    blocks = blocks_of([Attention(heads, heads, hidden // heads)] * n, [mlp(f, "ffn_dim", matrices=2)] * n)
    return body(f, blocks, tied=True, norm_passes=LAYER)


def openelm(f: Fields) -> Body:
    """OpenELM: heads and MLP widths that grow from layer to layer, from lists. Source: [mehta2024openelm] section 2."""
    n, hidden, width = f.layers("num_transformer_layers"), f.whole("model_dim"), f.whole("head_dim")
    heads, kv_heads = (_whole_each(f, k, n) for k in ("num_query_heads", "num_kv_heads"))
    factors = f.items("ffn_multipliers", length=n) or []
    if not factors or any(isinstance(x, bool) or not isinstance(x, int | float) or not 0 < x < MOST for x in factors):
        raise f.error("ffn_multipliers", f"a factor for each of {n} layers")
    step, gate = f.whole("ffn_dim_divisor", default=1), f.flag("ffn_with_glu", default=True)
    f.skip("num_gqa_groups", "qk_multipliers", "normalization_layer_name", "normalize_qk_projections",
           "activation_fn_name", "rope_freq_constant", "rope_max_length")  # fmt: skip
    # rounded to the nearest multiple, and up where that loses a tenth, as the model's code does
    near = [(x * hidden, max(step, int(x * hidden + step / 2) // step * step)) for x in factors]
    feeds = [Mlp(w + step if w < KEPT * exact else w, 3 if gate else 2) for exact, w in near]
    mixers: list[AbstractMixer] = [Attention(q, kv, width) for q, kv in zip(heads, kv_heads, strict=True)]
    tied = f.flag("share_input_output_layers", default=True)
    vocab, context = f.whole("vocab_size"), f.whole("max_context_length", "max_position_embeddings")
    return Body(blocks_of(mixers, feeds), hidden, vocab, tied, context)


MOST, KEPT = 1000, 0.9
"""Largest factor of a width; the share of a width that rounding must keep."""


def _whole_each(f: Fields, key: str, n: int) -> list[int]:
    """A whole number above 0 for each layer, or one for all."""
    said = wholes(f, key, default=[])
    f.skip(key)
    if len(said) not in (1, n):
        raise f.error(key, f"a whole number for each of {n} layers")
    return said * (n // len(said))


def biogpt(f: Fields) -> Body:
    """BioGPT: LayerNorm, two matrices, learned positions with two more than there are words."""
    f.skip("layerdrop", "scale_embedding")
    made = gated(f, tied=True, passes=LAYER, matrices=2)
    # as in OPT: the first two places stand for padding
    return dataclasses.replace(made, n_tables=(made.max_context + 2) * made.hidden)


def modernbert_decoder(f: Fields) -> Body:
    """Ettin decoders: two windows to one layer that sees everything, a square matrix before the head."""
    n, window = n_layers(f), f.whole("local_attention", default=128) // 2
    f.skip("sliding_window", "sep_token_id", "cls_token_id",
           "norm_bias", "classifier_activation", "classifier_bias", "initializer_cutoff_factor",
           "classifier_pooling", "deterministic_flash_attn", "sparse_pred_ignore_index",
           "sparse_prediction")  # fmt: skip
    period = f.whole("global_attn_every_n_layers", default=3)
    windows = typed_windows(f, n, window, [0 if i % period == 0 else window for i in range(n)])
    made = body(f, blocks_of(windowed(grouped(f), windows), [mlp(f)] * n), tied=True, norm_passes=LAYER)
    bias = made.vocab if f.flag("decoder_bias", default=True) else 0
    return dataclasses.replace(made, n_tables=made.hidden**2 + bias)


def first_gpt(f: Fields) -> Body:
    """GPT of 2018: as GPT-2, with its norms after each branch."""
    f.skip("afn", *(k for k in f.raw if k.startswith("summary_")))
    return gpt2(f)


SMALL: dict[str, Builder] = {
    "biogpt": biogpt,
    "chameleon": chameleon,
    "gpt-sw3": gpt2,
    "modernbert-decoder": modernbert_decoder,
    "molmo2_text": molmo2,
    "openai-gpt": first_gpt,
    "openelm": openelm,
    "xglm": xglm,
}
