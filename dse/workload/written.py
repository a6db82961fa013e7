"""A workload as people write it, in flags, sweeps and studies: a phase, a model and the sizes that phase takes."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.errors import SpecError, UnknownNameError
from .storage import check_cache, check_storage
from .transformer import PHASES, Decode, Model, Prefill, Training, Workload, check_precision

SIZES = {
    "training": ("batch", "sequence", "precision"),
    "decode": ("batch", "context", "weights", "kv"),
    "prefill": ("batch", "prompt", "chunk", "cached", "weights", "kv"),
}
"""What each phase takes beside its model; all may be left out."""
USUAL_TOKENS, TRAINING_BATCH, DECODE_BATCH, PREFILL_BATCH = 8192, 4, 16, 1
"""Tokens of a sequence where nothing is said; sequences per chip in training and decode, in all in prefill."""


def phases_with(size: str) -> tuple[str, ...]:
    """Phases that take a size; all of them where it is none."""
    return tuple(p for p, sizes in SIZES.items() if size in sizes) or PHASES


def check_phase(phase: str) -> str:
    """`phase` if there is one of that name, else UnknownNameError."""
    if phase not in PHASES:
        raise UnknownNameError("phase", phase, PHASES)
    return phase


def workload_of(
    phase: str, model: Model, n_chips: int, sizes: Mapping[str, int | str], mark: str = ""
) -> Workload:  # fmt: skip
    """The workload that a phase and its sizes describe; what is left out is usual; errors write `mark` before a size.

    SpecError: a size of another phase, not a whole number of at least 1, or beyond the model's; an unknown precision.
    UnknownNameError: no such phase.
    """
    allowed = SIZES[check_phase(phase)]
    for key, value in sizes.items():
        if key not in allowed:
            others, own = " and ".join(phases_with(key)), ", ".join(mark + x for x in allowed)
            raise SpecError(f"{mark}{key} belongs to {others}; {phase} takes {own}")
        if not isinstance(value, str) and value < 1:
            raise SpecError(f"{mark}{key} {value}: give a whole number, at least 1")
    count = {k: int(v) for k, v in sizes.items() if not isinstance(v, str)}
    _check_length(phase, model, count, mark)
    usual = min(USUAL_TOKENS, model.max_context)
    if phase == "training":
        precision = check_precision(str(sizes.get("precision", "bf16")))
        return Training(model, count.get("batch", TRAINING_BATCH * n_chips), count.get("sequence", usual), precision)
    stored = (
        check_storage(str(sizes.get("weights", model.weight_format))),
        check_cache(str(sizes.get("kv", "bf16"))),
    )
    if phase == "decode":
        return Decode(model, count.get("batch", DECODE_BATCH * n_chips), count.get("context", usual), *stored)
    batch, prompt = count.get("batch", PREFILL_BATCH), count.get("prompt", usual)
    return Prefill(model, batch, prompt, *stored, chunk=count.get("chunk", 0), cached=count.get("cached", 0))


def _check_length(phase: str, model: Model, count: Mapping[str, int], mark: str) -> None:
    """Refuse requests longer than the model was made for; training may lengthen a model, as far as one was."""
    sizes = [s for s in ("context", "cached", "prompt", "sequence") if s in count]
    total, trains = sum(count[s] for s in sizes), phase == "training"
    if total > model.max_context * (LENGTHENED if trains else 1):
        said = " and ".join(f"{mark}{s} {count[s]:,}" for s in sizes)
        beyond = f"{LENGTHENED} times the" if trains else "the"
        longest = f"{model.max_context:,} tokens that {model.name} was made for"
        raise SpecError(f"{said}: more than {beyond} {longest}; give fewer")


LENGTHENED = 16
"""Longest sequences trained on later over the first: 8,192 to 131,072 [grattafiori2024llama3] section 3.4.2."""
