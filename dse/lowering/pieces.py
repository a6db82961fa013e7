"""Pieces in which a compiled program fetches a weight: narrow matrices come in short ones, which cost DMA engines time.

A row of a weight lies in one piece of memory per partition. Tensor ranks make rows shorter, and so do narrow formats.
"""

from __future__ import annotations

from functools import cache

from ..core.provenance import number
from .software import framework


@cache  # a plan asks for every layer, and many plans for the same widths
def piece_B(n_columns: float, element_B: float) -> float:
    """Bytes of a row of a weight of `n_columns` that arrive in one piece, with `element_B` bytes an element.

    Whole rows up to `longest_piece_B`. Longer ones of whole blocks of 128 columns are split into equal pieces of whole
    blocks, so that 43 blocks arrive one by one; others end in a shorter piece, and have the longest before it.
    Source: [aws2026dma] for the length that saturates an engine, [aws2026nki] for the block.
    """
    longest, block = number(framework(), "longest_piece_B"), number(framework(), "column_block")
    blocks = n_columns / block
    if n_columns * element_B <= longest:
        return n_columns * element_B
    if blocks % 1:
        return longest
    most = int(longest / (block * element_B))
    return max(n for n in range(1, most + 1) if blocks % n == 0) * block * element_B


def starting_B(weights_B: float, n_columns: float, element_B: float) -> float:
    """Bytes that DMA engines could move in the time that they take to start the pieces of a weight, beyond long ones.

        B (b_0 / r - b_0 / r_max)
    for `weights_B` B in pieces of r bytes per partition, each with a start of b_0 bytes.
    Source: [aws2026dma]: pieces of 2 KiB reach 82 % of an engine's bandwidth and of 4 KiB 90 %.
    Assumes: calibrated shares of bandwidth are those of the longest pieces, r_max.
    """
    start, longest = number(framework(), "piece_start_B"), number(framework(), "longest_piece_B")
    return weights_B * (start / piece_B(n_columns, element_B) - start / longest)
