"""One question, asked in every way the tool has: small models on few chips, so that the grid stays affordable."""

import dataclasses

import pytest

import dse
from dse.workload.requests import workload_of

CHIPS = {"trainium2": 8, "trainium1": 16, "h100": 8, "tpu-v5p": 8, "trainium3": 8, "mi300x": 8}
"""Chip, and how many of it in its largest system."""
MODELS = {"dense": "llama-3.1-8b", "moe": "gpt-oss-20b"}
SIZES = {
    "training": {"batch": 16, "sequence": 2048},
    "prefill": {"batch": 4, "prompt": 2048},
    "decode": {"batch": 32, "context": 2048},
}


@dataclasses.dataclass(frozen=True)
class Question:
    """A workload on some chips."""

    chip: str
    model: str
    phase: str

    @property
    def system(self):
        from dse.hardware.presets import default_system

        return dse.system(default_system(self.chip), CHIPS[self.chip])

    @property
    def workload(self):
        return workload_of(self.phase, dse.model(self.model), self.system.n_chips, SIZES[self.phase])


GRID = ("trainium2", "trainium1", "h100", "tpu-v5p")
"""Chips that are asked everything; the others stand for a maker or a generation in some questions."""


def questions(chips=GRID, phases=tuple(SIZES), models=tuple(MODELS)):
    """The grid as parameters of a test."""
    return [pytest.param(Question(c, MODELS[m], p), id=f"{c}-{m}-{p}") for c in chips for m in models for p in phases]
