"""Matrix instructions of GPUs by size, and the cores that run them: facts that a design takes with its choice."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..core.provenance import Receipts, load_receipts

_DATA = Path(__file__).parent / "data"
INSTRUCTION = ("instruction_depth", "instruction_results")
"""What comes with the size of an instruction."""


@cache
def instructions() -> dict[str, Receipts]:
    """Facts of every instruction by its rows and columns, such as "16x8"."""
    return load_receipts(_DATA / "instructions.toml")


@cache
def threads() -> Receipts:
    """Facts of a core whose threads take turns."""
    return load_receipts(_DATA / "threads.toml")["simt"]


def known_instruction(n_rows: float, n_cols: float) -> Receipts:
    """Depth and shared results of an instruction of this size; empty where nothing is known of one."""
    return instructions().get(f"{int(n_rows)}x{int(n_cols)}", {})
