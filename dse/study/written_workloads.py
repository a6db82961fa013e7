"""Schema of the workloads of a study file: a table per phase, and what all tables of the file have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from ..core.schemas import STRICT, Named, Seconds
from ..core.text import spelled
from ..technology.node import PRECISION_BITS
from ..workload.presets import model_names

ModelName = Annotated[str, Named(model_names, ".json")]
"""A model preset, or the path of a Hugging Face config.json."""


class _Strict(pydantic.BaseModel):
    model_config = STRICT


class _PhaseTable(_Strict):
    model: ModelName
    """Model preset, or the path of a config.json."""
    chips: pydantic.PositiveInt
    """Chips in all."""
    weight: pydantic.PositiveFloat = 1.0
    """How much the workload counts in means over workloads, such as the goal, beside the others."""


class TrainingTable(_PhaseTable):
    """A training step of one model."""

    phase: Literal["training"]
    """Training: forward, backward and optimiser."""
    global_batch: pydantic.PositiveInt
    """Sequences of a step."""
    sequence: pydantic.PositiveInt
    """Tokens of a sequence."""
    precision: Annotated[str, Named(lambda: PRECISION_BITS)] = "bf16"
    """Precision of the matrix products."""
    stored_scores: bool = False
    """Whether attention writes its scores to memory and reads them back, as before FlashAttention (2022)."""


class _ServingTable(_PhaseTable):
    weights: str | None = None
    """Stored format of the weights, such as "fp8" or "bf16,experts=mxfp4"; left out, as the model file says."""
    kv: str = "bf16"
    """Stored format of keys and values."""


def _sequences(written: Any) -> Any:
    """A whole number of at least 1, or "free"."""
    # True is a whole number to Python, and no batch
    if written == FREE_BATCH or (isinstance(written, int) and not isinstance(written, bool) and written > 0):
        return written
    # of all errors pydantic tells this kind with the key that it stands under
    raise ValueError(f"{spelled(written)}: expected a whole number of at least 1, or '{FREE_BATCH}'")


FREE_BATCH = "free"
"""A batch that is chosen with the plan, in powers of two per replica."""
Sequences = Annotated[int | Literal["free"], pydantic.BeforeValidator(_sequences)]
"""Sequences together: a number, or "free"."""


class DecodeTable(_ServingTable):
    """A decoding step of one model: one token for every sequence of a batch."""

    phase: Literal["decode"]
    """Decode: one token more for every sequence."""
    batch: Sequences
    """Sequences decoded together; "free" chooses them with the plan, for most tokens within `tpot`."""
    context: pydantic.PositiveInt
    """Tokens that each sequence attends to."""
    tpot: Seconds | None = None
    """Longest time per token; left out, any."""


class PrefillTable(_ServingTable):
    """Reading the prompts of a batch."""

    phase: Literal["prefill"]
    """Prefill: all tokens of the prompts at once, or in chunks."""
    batch: Sequences = 1
    """Prompts read together; "free" chooses them with the plan, for most tokens within `ttft`."""
    prompt: pydantic.PositiveInt
    """Tokens of a prompt."""
    cached: pydantic.NonNegativeInt = 0
    """Tokens before the prompt that are in the cache already."""
    chunk: pydantic.NonNegativeInt = 0
    """Tokens read at once; 0 for all."""
    ttft: Seconds | None = None
    """Longest time until the first token, waiting not counted; left out, any."""
