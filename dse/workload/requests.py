"""What users ask of a served model: prompt and output lengths with their shares, and how the model is stored."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeAlias

from ..core.errors import SpecError
from .storage import check_cache, check_storage
from .transformer import Model, Serving, Workload


@dataclasses.dataclass(frozen=True)
class Length:
    """One kind of request."""

    prompt: int
    output: int
    share_frac: float = 1.0
    """Share of requests of this kind."""


@dataclasses.dataclass(frozen=True)
class Requests:
    """A stream of requests to one model."""

    model: Model
    lengths: tuple[Length, ...]
    """Kinds of request; shares add up to 1."""
    weight_precision: str = "bf16"
    kv_precision: str = "bf16"

    def __post_init__(self) -> None:
        check_storage(self.weight_precision)
        check_cache(self.kv_precision)
        if not self.lengths or abs(sum(x.share_frac for x in self.lengths) - 1.0) > 1e-6:
            raise SpecError(f"shares of requests to {self.model.name} must add up to 1")
        for x in self.lengths:
            if x.prompt < 1 or x.output < 1 or not 0 < x.share_frac <= 1:
                raise SpecError(f"a request of {x.prompt} tokens in and {x.output} out: give at least 1 of each")
            if x.prompt + x.output > self.model.max_context:
                raise SpecError(
                    f"{x.prompt} tokens in and {x.output} out exceed the context of {self.model.max_context:,} tokens "
                    f"that {self.model.name} was made for"
                )

    @property
    def n_output(self) -> float:
        """Mean tokens out."""
        return sum(x.share_frac * x.output for x in self.lengths)

    @property
    def n_prompt(self) -> float:
        """Mean tokens in."""
        return sum(x.share_frac * x.prompt for x in self.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest request when its last token is written."""
        return max(x.prompt + x.output for x in self.lengths)

    @property
    def mean_context(self) -> int:
        """Tokens in the cache of a sequence that decodes, averaged over all that decode at one time.

            sum_i p_i o_i (l_i + o_i / 2) / sum_i p_i o_i
        with shares p, prompts l and outputs o: long outputs stay longer, so they weigh more.
        """
        total = sum(x.share_frac * x.output * (x.prompt + x.output / 2) for x in self.lengths)
        return math.ceil(total / self.n_output)


@dataclasses.dataclass(frozen=True)
class FreeBatch:
    """A phase of serving whose batch is chosen with the plan: as many sequences at once as give most tokens in time."""

    of: Serving
    """The phase; its batch stands for no number."""

    @property
    def model(self) -> Model:
        """The model."""
        return self.of.model

    def at(self, batch: int) -> Serving:
        """The phase with `batch` sequences together."""
        return dataclasses.replace(self.of, batch=batch)


Asked: TypeAlias = Workload | Requests | FreeBatch
"""What can be asked of a chip: a phase of a model, one whose batch is chosen, or a model in service."""


def given_batch(asked: Asked) -> Workload | Requests:
    """What is asked with a batch that stands for no number where it is free: for what no batch decides."""
    return asked.of if isinstance(asked, FreeBatch) else asked
