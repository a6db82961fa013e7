"""Software of a training run, from what a row's framework, source and note say: its stack, and its kind of software."""

from __future__ import annotations

import re
from typing import Any

from ..lowering.software import DEEPSPEED, EAGER, EAGER_SHARDED, SHARDED
from .published import usual_on
from .reading import row_text

STACKS: tuple[tuple[str, str], ...] = (
    (r"nanotron", "nanotron"),
    (r"deepspeed|neox", "megatron-deepspeed"),
    (r"megatron|nemo", "megatron"),
    (r"mosaic|llm-foundry|fsdp|torchtitan", "fsdp"),
    (r"maxtext|google|jax|xla|tpu", "xla"),
    (r"neuron|neuronx", "neuron"),
)
"""Words in a row's framework, source or note that name its software stack; its chip's usual one otherwise."""


def row_stack(row: Any) -> str:
    """Software stack of a row: its framework if it names one, else what its source and note say."""
    # the framework column knows best; a note may name another stack to compare with
    for text in (row_text(row, "framework"), row_text(row, "source"), row_text(row, "note")):
        found = next((stack for pattern, stack in STACKS if re.search(pattern, text.lower())), None)
        if found:
            return found
    return usual_on(row, serves=False)


SOFTWARE: tuple[tuple[str, str], ...] = (
    (r"nanotron", EAGER),
    (r"mosaic|llm-foundry", EAGER_SHARDED),
    (r"fsdp|torchtitan", SHARDED),
)
"""Words in a row's framework or source that name software which is not what usually trains on its chip."""


def row_software(row: Any) -> str:
    """Kind of software of a row, "" where nothing names one."""
    said = f"{row_text(row, 'framework')} {row_text(row, 'source')}".lower()
    by_stack = DEEPSPEED if row_stack(row) == "megatron-deepspeed" else ""
    return next((kind for pattern, kind in SOFTWARE if re.search(pattern, said)), by_stack)
