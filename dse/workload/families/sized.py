"""Families whose blocks have sizes of their own, widths rounded: Nemotron Super and Ultra [bercovich2025puzzle]."""

from __future__ import annotations

from ...core.errors import SpecError
from ..blocks import Block, Mlp
from ..config_file import Fields
from ..mixers import AbstractMixer, Attention
from .common import Body, Builder, body, hidden_of, n_layers

ROUNDED_TO = 256
"""Widths of MLPs are rounded up to a multiple of this."""


def ffn_width(mult: float, hidden: int) -> int:
    """Width of an MLP from its multiplier: two thirds of it, rounded up to `ROUNDED_TO`."""
    width = int(2 * mult * hidden / 3)
    return -(-width // ROUNDED_TO) * ROUNDED_TO


def nemotron_nas(f: Fields) -> Body:
    """Blocks from `block_configs`: attention with a group size or none, an MLP with a multiplier or none."""
    n, hidden, heads = n_layers(f), hidden_of(f), f.whole("num_attention_heads")
    f.skip("num_key_value_heads", "intermediate_size", "block_configs")
    listed = f.items("block_configs", length=n)
    if listed is None:
        raise SpecError(f"{f.place}: no block_configs; add it, an object with attention and ffn for each layer")
    blocks = []
    for i, raw in enumerate(listed):
        if not isinstance(raw, dict):
            raise f.error("block_configs", "an object for each layer")
        block = Fields(raw, f.place, f"block_configs[{i}].")
        blocks.append(_block(block, hidden, heads))
        odd = next(iter(block.unread()), None)
        if odd is not None:
            raise SpecError(
                f"{f.place}: key '{odd}' is not known, so it may change the block; remove it if it does not"
            )
    return body(f, blocks, tied=False)


def _block(block: Fields, hidden: int, heads: int) -> Block:
    mixers: tuple[AbstractMixer, ...] = ()
    attention, ffn = block.nested("attention"), block.nested("ffn")
    for part in (attention, ffn):
        if part is not None:
            part.fixed("replace_with_linear", False)
            part.fixed("sparsify", None)
            part.skip("window_length", "num_sink_tokens", "use_prefill_window_in_sink_attention",
                      "unshifted_sink")  # fmt: skip
            part.fixed("window_length")
    if attention is not None and not attention.flag("no_op", default=False):
        group = attention.whole("n_heads_in_group")
        if heads % group:
            raise attention.error("n_heads_in_group", f"a divisor of the {heads} heads")
        mixers = (Attention(heads, heads // group, hidden // heads),)
    elif attention is not None:
        attention.skip("n_heads_in_group")
    feed = None
    if ffn is not None and not ffn.flag("no_op", default=False):
        mult = ffn.raw.get("ffn_mult")
        ffn.skip("ffn_mult")
        if isinstance(mult, bool) or not isinstance(mult, int | float) or mult <= 0:
            raise ffn.error("ffn_mult", "a positive number")
        feed = Mlp(ffn_width(float(mult), hidden))
    elif ffn is not None:
        ffn.skip("ffn_mult")
    return Block(mixers, feed, bool(mixers) + (feed is not None))


SIZED: dict[str, Builder] = {"nemotron-nas": nemotron_nas}
