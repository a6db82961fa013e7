"""Small families of few models, older ones among them, with keys of their own.

Source: sizes and defaults are those of each type in [wolf2020transformers], release 5.24, or of the model's own code.
"""

from __future__ import annotations

import dataclasses

from ..blocks import Mlp
from ..config_file import Fields, wholes
from ..mixers import AbstractMixer, Attention
from .common import LAYER, Body, Builder, blocks_of, body, grouped, hidden_of, mlp, n_layers, typed_windows, windowed
from .dense import gated, gpt2, stablelm


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
    # with it every block has a second attention, which is not counted
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
    # not `body`, which would ask for sizes under the names of other types
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
    # the file counts both sides of a position, and a decoder looks back alone
    n, window = n_layers(f), f.whole("local_attention", default=128) // 2
    f.skip("sliding_window", "sep_token_id", "cls_token_id",
           "norm_bias", "classifier_activation", "classifier_bias", "initializer_cutoff_factor",
           "classifier_pooling", "deterministic_flash_attn", "sparse_pred_ignore_index",
           "sparse_prediction")  # fmt: skip
    period = f.whole("global_attn_every_n_layers", default=3)
    windows = typed_windows(f, n, window, [0 if i % period == 0 else window for i in range(n)])
    made = body(f, blocks_of(windowed(grouped(f), windows), [mlp(f)] * n), tied=True, norm_passes=LAYER)
    bias = made.vocab if f.flag("decoder_bias", default=True) else 0
    # as a table: a weight that no block's product meets
    return dataclasses.replace(made, n_tables=made.hidden**2 + bias)


def first_gpt(f: Fields) -> Body:
    """GPT of 2018: as GPT-2, with its norms after each branch."""
    f.skip("afn", *(k for k in f.raw if k.startswith("summary_")))
    return gpt2(f)


def phi3_small(f: Fields) -> Body:
    """Phi-3 small: a gated MLP (GEGLU), LayerNorm. Source: [abdin2024phi3] section 2.

    Assumes: every layer attends to all positions; every second one leaves out most distant blocks, but keeps them.
    """
    f.skip("dense_attention_every_n_layers", "ff_dim_multiplier", "dummy_token_indices",
           *(k for k in f.raw if k.startswith(("blocksparse_", "gegelu_", "mup_"))),
           "pad_sequence_to_multiple_of_64", "reorder_and_upcast_attn")  # fmt: skip
    n = n_layers(f)
    blocks = blocks_of([grouped(f)] * n, [mlp(f, "ff_intermediate_size")] * n)
    return body(f, blocks, tied=True, norm_passes=LAYER)


def ctrl(f: Fields) -> Body:
    """CTRL: LayerNorm, two matrices, positions that are computed. Source: [keskar2019ctrl] section 3."""
    f.skip("n_ctx", "from_tf", "output_past", "num_labels", *(k for k in f.raw if k.startswith("summary_")))
    n = n_layers(f)
    blocks = blocks_of([grouped(f)] * n, [mlp(f, "dff", matrices=2)] * n)
    return body(f, blocks, tied=True, norm_passes=LAYER)


def diff_llama(f: Fields) -> Body:
    """DiffLlama: two softmaxes of half the heads each, whose difference weighs values. Source: [ye2024differential].

    Assumes: products with values are those of plain heads; each of the two maps takes values of two heads instead.
    """
    f.skip("lambda_std_dev")
    return gated(f)


def open_llama(f: Fields) -> Body:
    """Open-Llama: Llama, whose head may be its table."""
    f.skip("use_memory_efficient_attention", "use_stable_embedding")
    return gated(f, tied=f.flag("shared_input_output_embedding", default=False))


SMALL: dict[str, Builder] = {
    "biogpt": biogpt,
    "chameleon": chameleon,
    "ctrl": ctrl,
    "diffllama": diff_llama,
    "gpt-sw3": gpt2,
    "modernbert-decoder": modernbert_decoder,
    "molmo2_text": molmo2,
    "open-llama": open_llama,
    "openai-gpt": first_gpt,
    "openelm": openelm,
    "phi3small": phi3_small,
    "skywork": gated,
    "stablelm_epoch": stablelm,
    "xglm": xglm,
}
