"""`dse evaluate`: one model on one chip."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..core.errors import SpecError
from ..report.terminal import screen
from .flags import COUNT, JSON, PRECISION

if TYPE_CHECKING:
    from ..workload.transformer import Workload


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Step time, power, memory and bottlenecks of a model on a chip, with an error band."""

    chip: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHIP")]
    """Chip preset, see `dse chips`."""
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Model preset, see `dse models`, or the path of a Hugging Face config.json."""
    phase: Literal["training", "decode"] = "training"
    """What the model does."""
    chips: COUNT = None
    """Chips; by default one scale-up domain."""
    plan: Annotated[str, tyro.conf.arg(metavar="PLAN")] = "auto"
    """Who does what, such as tp=8,pp=4,dp=2; auto takes the fastest plan that fits."""
    batch: COUNT = None
    """Sequences per step; by default 4 per chip in training, 16 in decode."""
    sequence: COUNT = None
    """Training: tokens per sequence; by default 8192 or the model's longest."""
    context: COUNT = None
    """Decode: tokens in the KV cache of each sequence; by default 8192 or the model's longest."""
    precision: PRECISION = None
    """Training: precision of the linear layers; by default bf16."""
    weights: PRECISION = None
    """Decode: storage of the weights; by default bf16."""
    kv: PRECISION = None
    """Decode: storage of the KV cache; by default bf16."""
    system: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """System preset; by default the largest made of the chip."""
    json: JSON = False
    """Print JSON, canonical units."""

    def run(self) -> int:
        """Evaluate and show."""
        from ..report.session import start_jax

        start_jax()
        from ..hardware.presets import default_system
        from ..hardware.presets import system as preset_system
        from ..mapping.plan import parse_plan
        from ..report.findings import find
        from ..report.results import json_text
        from ..report.tables import evaluation_view, finding_json

        system = preset_system(self.system or default_system(self.chip), self._positive("chips", self.chips))
        if system.chip.name != self.chip:
            raise SpecError(f"--system {self.system} is made of {system.chip.name}, not {self.chip}")
        plan = None if self.plan == "auto" else parse_plan(self.plan)
        finding = find(system, self._workload(system.n_chips), plan)
        if self.json:
            print(json_text(finding_json(finding)))
        else:
            console = screen()
            console.print(evaluation_view(finding, console.width))
        return 0

    def _workload(self, n_chips: int) -> Workload:
        """The workload the flags describe; SpecError for a flag of the other phase."""
        from ..workload.presets import model as preset_model
        from ..workload.transformer import Decode, Training

        mine = {"training": ("sequence", "precision"), "decode": ("context", "weights", "kv")}
        other = "decode" if self.phase == "training" else "training"
        for flag in mine[other]:
            if getattr(self, flag) is not None:
                raise SpecError(
                    f"--{flag} belongs to {other}; with --phase {self.phase} use --{', --'.join(mine[self.phase])}"
                )
        model = preset_model(self.model)
        long = min(8192, model.max_context)
        if self.phase == "training":
            batch = self._positive("batch", self.batch) or 4 * n_chips
            sequence = self._positive("sequence", self.sequence) or long
            return Training(model, batch, sequence, self.precision or "bf16")
        batch, context = self._positive("batch", self.batch) or 16 * n_chips, self._positive("context", self.context)
        return Decode(model, batch, context or long, self.weights or "bf16", self.kv or "bf16")

    def _positive(self, flag: str, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise SpecError(f"--{flag} {value}: give a whole number, at least 1")
        return value
