"""Kinds of training software: memory traffic besides matrix products, pipeline cuts, kernel launches."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..core.provenance import Receipts, Sourced, load_receipts, number, pick
from .plan import Plan

_DATA = Path(__file__).parent / "data"

COMPILED = "compiled"
"""Software whose kernels a compiler fuses, as on TPU and Trainium; what serves models is fused as well."""
FUSED = "fused"
"""Software whose kernels were fused by hand, such as Megatron."""
DEEPSPEED = "deepspeed"
"""Such kernels under DeepSpeed, whose optimizer adds up gradients by itself."""
SHARDED = "sharded"
"""PyTorch's fully sharded data parallelism: compiled blocks, the framework's loss."""
EAGER = "eager"
"""Software that starts a kernel for every operation."""
EAGER_SHARDED = "eager_sharded"
"""Such software with sharded weights and a fused loss, as LLM Foundry."""


def usual_software(plan: Plan, lane_kind: str) -> str:
    """Software that trains by `plan` where nothing names it; `lane_kind` is of the vector engines, such as "simt".

    Compilers serve chips other than GPUs; on GPUs ZeRO-3 is PyTorch's sharding, the rest is fused by hand.
    """
    # by the kind of lanes, which lowering for a search knows, and not by a chip's name
    if lane_kind != "simt":
        return COMPILED
    return SHARDED if plan.zero >= 3 else FUSED


@cache
def moves(software: str) -> dict[str, float]:
    """Reads and writes per element, bytes per logit and weight, cuts of pipelines; or UnknownNameError."""
    facts = pick(load_receipts(_DATA / "moves.toml"), "software", software)
    return {name: number(facts, name) for name in facts}


def move_receipts(software: str) -> list[Sourced]:
    """Receipts of the moves of a kind of software."""
    return list(pick(load_receipts(_DATA / "moves.toml"), "software", software).values())


def attention_rate_frac(software: str, n_instruction_rows: float) -> float:
    """Share of a matrix unit's rate that attention reaches, by software and rows of the chip's instruction.

    `n_instruction_rows` is 0 where operands never leave the array.
    Assumes: a kernel for instructions of fewer rows than the chip's own runs at the rate of small ones.
    """
    kernel = moves(software)
    # lowering for a search has no rows (NaN, see `evaluation.assembly.Structure`): the kernel then suits the chip
    small = 0 < kernel["attention_rows"] < n_instruction_rows
    return kernel["attention_rate"] * (number(framework(), "small_instruction_rate") if small else 1.0)


@cache
def framework() -> Receipts:
    """What frameworks start beside the operators that the model counts."""
    return load_receipts(_DATA / "framework.toml")["framework"]


def framework_receipts() -> list[Sourced]:
    """Receipts of what frameworks start."""
    return list(framework().values())
