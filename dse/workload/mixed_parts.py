"""The mean storage of a part whose matrices are stored in several widths, as MLX's mixed recipes leave them."""

from __future__ import annotations

from collections.abc import Mapping

from .blocks import Block, Experts, Mlp
from .families.common import Body
from .mixers import Attention
from .module_names import LAYER, parts_of
from .storage import stored_B

MATRICES = {"gate_proj": 1, "up_proj": 1, "down_proj": 1}
"""Matrices of an MLP with a gate, all of one size."""


def mean_format(part: str, modules: Mapping[str, str], usual: str, body: Body) -> str | None:
    """`w` and the mean bits of the part's weights, where every matrix in `modules` is known by name; else None.

        b = sum over layers of sum over matrices of n_i b_i / sum of n_i
    with n_i elements of a matrix stored in b_i bits, scales included.
    """
    n_weights = n_bits = 0.0
    by_layer: dict[int, dict[str, str]] = {}
    for name, stored in modules.items():
        # the dot lets the name of a whole layer match as well
        found = LAYER.search(f"{name}.")
        if found is None:
            return None
        by_layer.setdefault(int(found.group(1)), {})[name.rpartition(".")[2]] = stored
    for i in parts_of(body)[part]:
        sizes, own = _sizes(part, body.blocks[i]), by_layer.get(i, {})
        # a matrix of unknown size would drop out of the mean: rather no mean at all
        if not sizes or set(own) - set(sizes):
            return None
        n_weights += sum(sizes.values())
        # 8: bits of a byte, since names of formats count bits
        n_bits += sum(n * 8 * stored_B(own.get(matrix, usual)) for matrix, n in sizes.items())
    # four decimals, as many as the name of a format may have
    return f"w{round(n_bits / n_weights, 4):g}" if n_weights else None


def _sizes(part: str, block: Block) -> dict[str, int]:
    """Relative size of each matrix of a part of a block, by the last word of its name; nothing where not known."""
    # without the model's width, a factor of every matrix that drops out of the mean
    if part == "attention":
        m = block.mixers[0] if len(block.mixers) == 1 else None
        if not isinstance(m, Attention) or not m.own_kv or m.gate_width or m.indexer or m.values_are_keys:
            return {}
        keys, values = m.n_kv_heads * m.head_dim, m.n_kv_heads * m.value_dim
        return {"q_proj": m.n_heads * m.head_dim, "k_proj": keys, "v_proj": values, "o_proj": m.n_heads * m.value_dim}
    gated = isinstance(block.feed, Mlp | Experts) and block.feed.n_matrices == len(MATRICES)
    return dict(MATRICES) if gated else {}
