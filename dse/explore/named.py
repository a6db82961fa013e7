"""Chips that exist, on the axes of a front: the same evaluation as everywhere, each chip in its own system."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.errors import DseError
from ..evaluation.assembly import evaluate
from ..hardware.own_chip import short_name
from ..hardware.presets import chip_system
from ..study.metrics import METRICS, OWNED, Load, chip_state
from ..study.study import Study
from ..workload.transformer import Workload

NAMED = ("trainium1", "trainium2", "trainium3", "h100", "b200", "tpu-v7")
"""Chips that are marked on a front where they can run the study's workloads."""


@dataclasses.dataclass(frozen=True)
class Named:
    """A chip that exists, on the axes of a front."""

    name: str
    """Preset, or the name of your own file."""
    values: tuple[float, ...]
    """Metrics, canonical units."""


def named_chips(
    study: Study, metrics: tuple[str, ...], baseline_s: list[float], names: tuple[str, ...] = NAMED
) -> list[Named]:
    """Chips that exist and can run all workloads of a study, each in its own largest system, by their best plans.

    The baseline runs as the study has it: at exactly 1. None on axes that need an owner, nor for models in service.
    """
    if any(m in OWNED for m in metrics) or not all(isinstance(w, Workload) for w, _ in study.workloads.values()):
        return []
    found: list[Named] = []
    own = study.baseline.chip.name
    for name in names:
        try:
            loads = [
                named_load(name, workload, n, base, len(study.workloads), study.streams and name == own)
                for (workload, n), base in zip(study.workloads.values(), baseline_s, strict=True)
                if isinstance(workload, Workload)
            ]
        except DseError:
            continue
        state = chip_state(chip_system(name).chip, loads=loads)
        values = [METRICS[m](state) for m in metrics]
        found.append(Named(short_name(name), tuple(float(max(v) if isinstance(v, list) else v) for v in values)))
    return found


def named_load(
    name: str, workload: Workload, n_chips: int, baseline_s: float, n_workloads: int, streams: bool = False
) -> Load:
    """`workload` on `n_chips` of the chip `name` by its best plan, streamed or not, beside the baseline's step time."""
    e = evaluate(chip_system(name, n_chips), workload, streams=streams).result
    share = np.float64(1.0 / n_workloads)
    return Load(e.step_s, e.power_W, np.float64(baseline_s), e.tokens_per_s * e.step_s / n_chips, share, e.hottest_W)
