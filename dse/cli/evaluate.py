"""`dse evaluate`: one model on one chip."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..report.session import start_jax
from ..report.terminal import show
from .flags import CHIP, COUNT, JSON, MODEL, PRECISION, STORAGE, counted

if TYPE_CHECKING:
    from ..workload.transformer import Workload


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Step time, power, memory and bottlenecks of a model on a chip, with an error band."""

    chip: CHIP
    model: MODEL
    phase: Literal["training", "prefill", "decode"] = "training"
    """What the model does."""
    chips: COUNT = None
    """Chips; by default one scale-up domain, or as many domains as hold the model."""
    plan: Annotated[str, tyro.conf.arg(metavar="PLAN")] = "auto"
    """Who does what, such as tp=8,pp=4,dp=2; auto takes the fastest plan that fits."""
    batch: COUNT = None
    """Sequences per step; by default 4 per chip in training, 16 in decode, 1 in all in prefill."""
    sequence: COUNT = None
    """Training: tokens per sequence; by default 8192 or the model's longest."""
    context: COUNT = None
    """Decode: tokens in the KV cache of each sequence; by default 8192 or the model's longest."""
    prompt: COUNT = None
    """Prefill: new tokens of each sequence; by default 8192 or the model's longest."""
    chunk: COUNT = None
    """Prefill: tokens per pass; by default the whole prompt."""
    cached: COUNT = None
    """Prefill: tokens of each sequence that are in the cache already; by default none."""
    precision: PRECISION = None
    """Training: precision of the linear layers; by default bf16."""
    weights: STORAGE = None
    """Inference: storage of the weights, by default as the file says: bf16, fp8, mxfp4 (or fp4), nvfp4, int8, int4;
    parts may differ, such as bf16,experts=mxfp4."""
    kv: STORAGE = None
    """Inference: storage of the KV cache, likewise; by default bf16."""
    system: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """System preset; by default the largest made of the chip."""
    json: JSON = False

    def run(self) -> int:
        """Evaluate and show."""
        start_jax()
        from ..economy.presets import own_terms
        from ..evaluation.breakdown import find
        from ..evaluation.room import find_room
        from ..hardware.presets import chip_system
        from ..lowering.plan import parse_plan
        from ..report.evaluated import evaluation_view, finding_json

        counted("chips", self.chips)
        own_terms(self.chip)
        system = chip_system(self.chip, self.chips, self.system)
        plan = None if self.plan == "auto" else parse_plan(self.plan)
        note = ""
        if self.chips is None:
            n, trains = system.n_chips, self.phase == "training"
            at = partial(
                chip_system, self.chip, within=self.system
            )  # requests do not grow more because the model needs more room
            finding, note = find_room(at, n, lambda chips: self._workload(chips if trains else n), plan)
        else:
            finding = find(system, self._workload(system.n_chips), plan)
        if note:
            print(note, file=sys.stderr)
        show(self.json, lambda: finding_json(finding), lambda width: evaluation_view(finding, width))
        return 0

    def _workload(self, n_chips: int) -> Workload:
        from ..workload.presets import model as preset_model
        from ..workload.written import SIZES, workload_of

        flags = {flag: getattr(self, flag) for flags in SIZES.values() for flag in flags}
        given = {flag: value for flag, value in flags.items() if value is not None}
        return workload_of(self.phase, preset_model(self.model), n_chips, given, mark="--")
