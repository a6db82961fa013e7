"""Serving requests (`Requests`: prompt and output lengths, storage formats), and workloads from a phase and sizes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeAlias

from ..core.errors import SpecError, UnknownNameError
from .storage import check_cache, check_storage
from .transformer import PHASES, Decode, Model, Prefill, Serving, Training, Workload, check_precision, why_no_decode


@dataclasses.dataclass(frozen=True)
class Length:
    """One kind of request: prompt and output length [tokens]."""

    prompt: int
    output: int
    share_frac: float = 1.0
    """Share of requests of this kind."""


@dataclasses.dataclass(frozen=True)
class Requests:
    """The mix of requests to one model."""

    model: Model
    lengths: tuple[Length, ...]
    """Kinds of request; shares add up to 1."""
    weight_precision: str = "bf16"
    kv_precision: str = "bf16"

    def __post_init__(self) -> None:
        check_storage(self.weight_precision)
        if any(x.output > 1 for x in self.lengths):
            check_decodes(self.model)
        check_cache(self.kv_precision)
        # not exactly 1: ten shares of 0.1 are not, in floats
        if not self.lengths or abs(sum(x.share_frac for x in self.lengths) - 1.0) > 1e-6:
            raise SpecError(f"shares of requests to {self.model.name} must add up to 1")
        for x in self.lengths:
            if not 0 < x.share_frac <= 1:
                raise SpecError(f"a share of {x.share_frac:g} of the requests: give more than 0, at most 1")
            if x.prompt < 1 or x.output < 1:
                raise SpecError(f"a request of {x.prompt} tokens in and {x.output} out: give at least 1 of each")
            if x.prompt + x.output > self.model.max_context:
                raise SpecError(
                    f"{x.prompt} tokens in and {x.output} out exceed the context of {self.model.max_context:,} tokens "
                    f"that {self.model.name} was made for"
                )

    @property
    def n_output(self) -> float:
        """Mean output length [tokens]."""
        return sum(x.share_frac * x.output for x in self.lengths)

    @property
    def n_decoded(self) -> float:
        """Mean tokens of an answer that decode passes write: all but the first, which the prefill makes."""
        # so that decode passes and time per output token count the same tokens
        return self.n_output - 1.0

    @property
    def n_prompt(self) -> float:
        """Mean prompt length [tokens]."""
        return sum(x.share_frac * x.prompt for x in self.lengths)

    @property
    def longest(self) -> int:
        """Longest prompt plus output of any request [tokens]."""
        return max(x.prompt + x.output for x in self.lengths)

    @property
    def mean_context(self) -> int:
        """Mean context of the sequences that decode at one time [tokens].

            sum_i p_i (o_i - 1) (l_i + o_i / 2) / sum_i p_i (o_i - 1)
        with shares p, prompts l and outputs o: long outputs decode longer, so they have more weight. Where every
        answer is one token none decodes; the mean of all requests then.
        """
        # a request stands in the batch for as long as it decodes, so a snapshot meets it that much more often
        weights = [x.share_frac * (x.output - 1 if self.decodes else 1) for x in self.lengths]
        # a snapshot finds a request in the middle of its answer, on average
        total = sum(w * (x.prompt + x.output / 2) for w, x in zip(weights, self.lengths, strict=True))
        return math.ceil(total / sum(weights))

    @property
    def decodes(self) -> bool:
        """Whether any answer has more than the token that its prefill makes."""
        return any(x.output > 1 for x in self.lengths)

    def check_decodes(self) -> None:
        """SpecError where every answer is one token: then nothing decodes, and there is no time per token."""
        if not self.decodes:
            raise SpecError(
                f"answers of one token from {self.model.name}: the prefill makes the first token, so nothing decodes; "
                "give 2 tokens out or more, or ask for the prefill phase alone"
            )


@dataclasses.dataclass(frozen=True)
class FreeBatch:
    """A serving phase whose batch is chosen with the plan, for the highest throughput within its time limit."""

    of: Serving
    """The phase; its batch is a placeholder."""

    @property
    def model(self) -> Model:
        """The model."""
        return self.of.model

    def at(self, batch: int) -> Serving:
        """The phase with a batch of `batch` sequences."""
        return dataclasses.replace(self.of, batch=batch)


Asked: TypeAlias = Workload | Requests | FreeBatch
"""A workload of a study: a phase of a model, a phase with a free batch, or a served model."""


def given_batch(asked: Asked) -> Workload | Requests:
    """The workload, a free batch replaced by its placeholder, for uses that do not depend on the batch."""
    return asked.of if isinstance(asked, FreeBatch) else asked


SIZES = {
    "training": ("batch", "sequence", "precision"),
    "decode": ("batch", "context", "weights", "kv"),
    "prefill": ("batch", "prompt", "chunk", "cached", "weights", "kv"),
}
"""Sizes of each phase besides its model; all are optional."""
WORDS = ("precision", "weights", "kv")
"""Those that are names, not numbers."""
USUAL_TOKENS, TRAINING_BATCH, DECODE_BATCH, PREFILL_BATCH = 8192, 4, 16, 1
"""Defaults: tokens of a sequence; sequences per chip in training and decode, in total in prefill."""


def phases_with(size: str) -> tuple[str, ...]:
    """Phases that have this size; all phases for an unknown size."""
    return tuple(p for p, sizes in SIZES.items() if size in sizes) or PHASES


def check_decodes(model: Model) -> None:
    """SpecError for a model that has no decode phase, with what it has instead."""
    why = why_no_decode(model)
    if why:
        raise SpecError(f"{model.name} has no decode phase: {why}; its inference is dse evaluate --phase prefill")


def check_phase(phase: str) -> str:
    """`phase` if there is one of that name, else UnknownNameError."""
    if phase not in PHASES:
        raise UnknownNameError("phase", phase, PHASES)
    return phase


def workload_of(
    phase: str, model: Model, n_chips: int, sizes: Mapping[str, int | str], mark: str = ""
) -> Workload:  # fmt: skip
    """The workload of a phase and its sizes, with defaults for missing ones; errors write `mark` before a size.

    SpecError: a size of another phase, not a whole number of at least 1, or beyond the model's; an unknown precision.
    UnknownNameError: no such phase.
    """
    allowed = SIZES[check_phase(phase)]
    for key, value in sizes.items():
        if key not in allowed:
            others, own = " and ".join(phases_with(key)), ", ".join(mark + x for x in allowed)
            raise SpecError(f"{mark}{key} belongs to {others}; {phase} takes {own}")
        if key not in WORDS and (not isinstance(value, int) or value < 1):
            raise SpecError(f"{mark}{key} {value}: give a whole number, at least 1")
    count = {k: int(v) for k, v in sizes.items() if k not in WORDS}
    if phase == "prefill":
        # what is cached takes its place in the context
        count.setdefault("prompt", max(min(USUAL_TOKENS, model.max_context - count.get("cached", 0)), 1))
    _check_fits(phase, model, count, mark)
    usual = min(USUAL_TOKENS, model.max_context)
    if phase == "training":
        precision = check_precision(str(sizes.get("precision", "bf16")))
        return Training(model, count.get("batch", TRAINING_BATCH * n_chips), count.get("sequence", usual), precision)
    # weights as the checkpoint has them; a cache has no file, so that it is as wide as products are
    stored = check_storage(str(sizes.get("weights", model.weight_format))), check_cache(str(sizes.get("kv", "bf16")))
    if phase == "decode":
        return Decode(model, count.get("batch", DECODE_BATCH * n_chips), count.get("context", usual), *stored)
    batch, chunk, cached = count.get("batch", PREFILL_BATCH), count.get("chunk", 0), count.get("cached", 0)
    return Prefill(model, batch, count["prompt"], *stored, chunk=chunk, cached=cached)


def _check_fits(phase: str, model: Model, count: Mapping[str, int], mark: str) -> None:
    """SpecError for a phase that the model lacks, or sequences beyond its context; training extends it `LENGTHENED`."""
    if phase == "decode":
        check_decodes(model)
    sizes = [s for s in ("context", "cached", "prompt", "sequence") if s in count]
    # a phase has one of context and sequence, or prompt after cached: the sum is its longest sequence
    total, trains = sum(count[s] for s in sizes), phase == "training"
    if total > model.max_context * (LENGTHENED if trains else 1):
        said = " and ".join(f"{mark}{s} {count[s]:,}" for s in sizes)
        beyond = f"{LENGTHENED} times the" if trains else "the"
        longest = f"{model.max_context:,} tokens that {model.name} was made for"
        raise SpecError(f"{said}: more than {beyond} {longest}; give fewer")


LENGTHENED = 16
"""Largest published context extension in training: 8,192 to 131,072 [grattafiori2024llama3] section 3.4.2."""
