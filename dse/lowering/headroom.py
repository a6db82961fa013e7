"""Usable share of HBM, block size of the KV cache, and share of SRAM for prefetching."""

from __future__ import annotations

from pathlib import Path

from ..core.provenance import Sourced, load_receipts, number
from ..core.types import FloatLike
from ..hardware.chip import Chip

_FILE = Path(__file__).parent / "data" / "headroom.toml"


def usable_frac() -> float:
    """Share of HBM available to tensors; the rest is for runtime, buffers and fragmentation."""
    return number(load_receipts(_FILE)["headroom"], "usable_frac")


def usable_B(chip: Chip) -> FloatLike:
    """HBM capacity of a chip available to tensors [B]."""
    # a share, not a number of bytes: buffers and fragments grow with what is allocated
    return usable_frac() * chip.hbm_capacity_B


def n_kv_block_tokens() -> float:
    """Tokens of one block of the KV cache; the last block of a sequence is half empty on average."""
    return number(load_receipts(_FILE)["headroom"], "n_kv_block_tokens")


def prefetch_frac() -> float:
    """Share of the scratchpads that may hold prefetched bytes."""
    return number(load_receipts(_FILE)["headroom"], "prefetch_frac")


def headroom_receipts() -> list[Sourced]:
    """Receipts of the headroom."""
    return list(load_receipts(_FILE)["headroom"].values())
