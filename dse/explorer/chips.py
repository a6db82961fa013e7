"""Chips that exist beside the chip at hand: the same workloads, each in its own largest system, by its best plans."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import DseError
from ..core.text import label
from ..evaluation.assembly import evaluate
from ..evaluation.host import evaluated
from ..hardware.presets import chip_system
from ..lowering.plan import plan_text
from ..physics.evaluate import chip_technology, silicon
from ..physics.power import full_load_power_W
from ..study.design import FREE
from ..study.metrics import METRICS, OF_WORKLOADS, OWNED, Load, chip_state
from ..workload.transformer import Workload
from .receipts import receipts_of_chip
from .subject import Subject


def chip_column(subject: Subject, name: str) -> dict[str, Any]:
    """A chip as a column of a comparison: no owners' metrics; why a workload cannot run. DseError for no such chip."""
    system = chip_system(name)
    chip, loads, works = system.chip, [], []
    for w, workload in enumerate(subject.study.workloads):
        try:
            load, work = _work(subject, name, w)
        except DseError as error:
            works.append({"name": workload, "why": str(error)})
            continue
        loads.append(load)
        works.append({"name": workload, **work})
    state = chip_state(chip, loads=loads)
    all_run = bool(loads) and len(loads) == len(works)
    known = [n for n in subject.names if n not in OWNED and (n not in OF_WORKLOADS or all_run)]
    values = {n: METRICS[n](state) for n in known}
    tech = chip_technology(chip)
    s = silicon(chip, tech)
    load_W = full_load_power_W(chip, tech, "fp8", s.area, s.die_mm2, s.supply_V)
    return {
        "name": name,
        "x": {f.name: float(FREE[f.name](chip)) for f in subject.study.free},
        "blank_mm2": float(chip.blank_mm2),
        "works": works,
        "metrics": {n: [float(x) for x in v] if isinstance(v, list) else float(v) for n, v in values.items()},
        "load_W": [float(v) for v in load_W.values()],
        "receipts": receipts_of_chip(name),
        "said": f"{label('power_limit_W')} {float(chip.power_limit_W):,.0f} W, {system.name}",
    }


def _work(subject: Subject, name: str, w: int) -> tuple[Load, dict[str, Any]]:
    space = subject.space
    (workload, n_chips), (own, before_s) = list(subject.study.workloads.values())[w], space.ground.baselines[w]
    if name == subject.study.baseline.chip.name:
        d, chip = space.ground.own[w], subject.study.baseline.chip
        plan, e = own, evaluated(d, chip, chip_technology(chip), space.ground.calibrations[w])
    elif isinstance(workload, Workload):
        found = evaluate(chip_system(name, n_chips), workload)
        plan, e = found.plan, found.result
    else:
        raise DseError("a batch that is chosen with the plan, or a model in service: see `dse portfolio`")
    tokens = float(e.tokens_per_s) * float(e.step_s) / n_chips
    before = np.float64(before_s * tokens * n_chips / float(space.ground.n_tokens[w]))
    load = Load(e.step_s, e.power_W, before, np.float64(tokens), np.float64(1.0), e.hottest_W)
    numbers = {n: float(getattr(e, n)) for n in ("step_s", "power_W", "tokens_per_s", "mfu_frac", "memory_B")}
    return load, {"plan": plan_text(plan), "speedup_frac": float(before / e.step_s), **numbers}
