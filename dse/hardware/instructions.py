"""Matrix instructions of GPUs by result size, and facts of multithreaded cores, for designs that choose among them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..core.provenance import Receipts, load_receipts, number_or
from .chip import TensorEngine, sides

_DATA = Path(__file__).parent / "data"
INSTRUCTION = ("instruction_depth", "instruction_results")
"""Facts that an instruction's size determines."""


@cache
def instructions() -> dict[str, Receipts]:
    """Facts of every instruction by its result size, such as "16x8"."""
    return load_receipts(_DATA / "instructions.toml")


@cache
def threads() -> Receipts:
    """Facts of multithreaded (GPU) cores."""
    return load_receipts(_DATA / "threads.toml")["simt"]


def known_instruction(n_rows: float, n_cols: float) -> Receipts:
    """Depth and shared results of an instruction of this size; empty if unknown."""
    # a chip holds sizes as floats, and names of instructions are of whole numbers
    return instructions().get(f"{int(n_rows)}x{int(n_cols)}", {})


def instruction_of(written: str, base: TensorEngine) -> tuple[float, ...]:
    """Rows, columns, depth and shared results of a matrix instruction: those of `base`, or of the size written."""
    own = (float(base.instruction_rows), float(base.instruction_cols))
    size = tuple(float(n) for n in sides(written, "matrix_instruction")) if written else own
    if size == own:
        return (*own, float(base.instruction_depth), float(base.instruction_results))
    known = known_instruction(*size)
    return (*size, *(number_or(known, f, 0.0) for f in INSTRUCTION))
