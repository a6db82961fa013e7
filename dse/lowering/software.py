"""Kinds of software: what each moves beside matrix products, how it cuts pipelines, and what frameworks start."""

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
    """Kind of the software that trains by `plan` where nothing names it.

    Compilers serve chips other than GPUs; on GPUs ZeRO-3 is PyTorch's own sharding of compiled blocks, and the rest
    is fused by hand, as Megatron is.

    Args:
        plan: parallelism.
        lane_kind: of the chip's vector engines, such as "simt".
    """
    if lane_kind != "simt":
        return COMPILED
    return SHARDED if plan.zero >= 3 else FUSED


@cache
def moves(software: str) -> dict[str, float]:
    """Reads and writes per element, bytes per logit and weight, how it cuts pipelines and attends, by kind of software.

    Args:
        software: "fused", "deepspeed", "compiled", "sharded", "eager" or "eager_sharded".

    Raises:
        UnknownNameError: no such kind.
    """
    facts = pick(load_receipts(_DATA / "moves.toml"), "software", software)
    return {name: number(facts, name) for name in facts}


def move_receipts(software: str) -> list[Sourced]:
    """Receipts of the moves of a kind of software."""
    return list(pick(load_receipts(_DATA / "moves.toml"), "software", software).values())


def attention_rate_frac(software: str, n_instruction_rows: float) -> float:
    """Share of a matrix unit's rate that the attention of a kind of software reaches, by its age and instructions.

    Assumes: a kernel written for instructions of fewer rows than the chip's own runs, at the rate of small ones.

    Args:
        software: as in `moves`.
        n_instruction_rows: rows of the chip's own matrix instruction, 0 where operands never leave the array.
    """
    kernel = moves(software)
    small = 0 < kernel["attention_rows"] < n_instruction_rows
    return kernel["attention_rate"] * (number(framework(), "small_instruction_rate") if small else 1.0)


@cache
def framework() -> Receipts:
    """What frameworks start beside the operators that the model counts."""
    return load_receipts(_DATA / "framework.toml")["framework"]


def framework_receipts() -> list[Sourced]:
    """Receipts of what frameworks start."""
    return list(framework().values())
