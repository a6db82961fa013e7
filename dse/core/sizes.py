"""Sizes of batches: few of them mean few compilations."""

from __future__ import annotations


def n_padded(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()
