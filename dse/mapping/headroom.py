"""How much of the HBM tensors may fill."""

from __future__ import annotations

from pathlib import Path

from ..core.provenance import Sourced, load_receipts, number

_FILE = Path(__file__).parent / "data" / "headroom.toml"


def usable_frac() -> float:
    """Share of HBM that tensors may fill; the rest is runtime, buffers and fragmentation."""
    return number(load_receipts(_FILE)["headroom"], "usable_frac")


def headroom_receipts() -> list[Sourced]:
    """Receipts of the headroom."""
    return list(load_receipts(_FILE)["headroom"].values())
