"""How much of the HBM tensors may fill, in which blocks a KV cache is laid out, and what SRAM waits for its use."""

from __future__ import annotations

from pathlib import Path

from ..core.provenance import Sourced, load_receipts, number
from ..core.types import FloatLike
from ..hardware.chip import Chip

_FILE = Path(__file__).parent / "data" / "headroom.toml"


def usable_frac() -> float:
    """Share of HBM that tensors may fill; the rest is runtime, buffers and fragmentation."""
    return number(load_receipts(_FILE)["headroom"], "usable_frac")


def usable_B(chip: Chip) -> FloatLike:
    """HBM of a chip that tensors may fill [B]."""
    return usable_frac() * chip.hbm_capacity_B


def n_kv_block_tokens() -> float:
    """Tokens of one block of the KV cache; the last block of a sequence is half empty on average."""
    return number(load_receipts(_FILE)["headroom"], "n_kv_block_tokens")


def prefetch_frac() -> float:
    """Share of the scratchpads that may hold bytes for operators to come."""
    return number(load_receipts(_FILE)["headroom"], "prefetch_frac")


def headroom_receipts() -> list[Sourced]:
    """Receipts of the headroom."""
    return list(load_receipts(_FILE)["headroom"].values())
