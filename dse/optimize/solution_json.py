"""A solution as plain data for JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.files import picked
from ..hardware.chip import Chip
from ..study.design import choice_technology
from ..study.metrics import HOTTEST, LOADS, METRICS, chip_state
from .solution import Solution, WorkloadReport

if TYPE_CHECKING:
    pass


def loads(s: Solution) -> dict[str, float]:
    """Package power of a design: full load by precision, and the operator with the highest power."""
    if s.chip is None or s.choice is None:
        return {}
    state = chip_state(s.chip, choice_technology(s.choice, s.study.package))
    found = {name: float(np.asarray(METRICS[name](state))) for name in LOADS if name.startswith("full_load")}
    # of the evaluations, since this state has no loads that a metric could read
    hottest = [float(w.evaluation.hottest_W) for w in s.workloads]
    return found | ({HOTTEST: max(hottest)} if hottest else {})


def solution_json(solution: Solution) -> dict[str, Any]:
    """`solution` as plain data for JSON, in canonical units; the status is the name of `Status` in lower case."""
    s = solution
    out: dict[str, Any] = {
        "study": s.study.name,
        "status": s.status.name.lower(),
        "explanation": s.status.value,
        "alternatives": [
            {"choice": a.choice.written(), "goal": a.goal if np.isfinite(a.goal) else None} for a in s.alternatives
        ],
        "relaxations": [dataclasses.asdict(r) for r in s.relaxations],
        "unfinished": list(s.unfinished),
        **({"stopped": s.stopped_text} if s.stopped else {}),
    }
    if s.what_ifs:
        # JSON has no infinity
        each = (dataclasses.asdict(w) for w in s.what_ifs)
        out["what_ifs"] = [{k: None if v == math.inf else v for k, v in w.items()} for w in each]
    if s.near:
        out["near"] = [dataclasses.asdict(n) for n in s.near]
    if s.chip is None or s.silicon is None or s.certificate is None or s.choice is None:
        return out
    numbers = _numbers_json(s.chip, float(s.silicon.supply_V))
    out["design"] = {"choice": s.choice.written(), **numbers, "continuous": s.continuous}
    out["metrics"] = {
        "goal": s.goal,
        "delivered_speedup": s.delivered if s.workloads else None,
        "delivered_range": sorted(s.delivered_range) if s.workloads else None,
        "die_mm2": float(s.silicon.die_mm2),
        "static_W": float(s.silicon.static_W),
        **loads(s),
        "sram_B": float(s.chip.n_cores * s.chip.core.scratchpad_B),
        "workloads": {w.name: _workload_json(w) for w in s.workloads},
    }
    if s.rack is not None:
        out["rack"] = dataclasses.asdict(s.rack)
    out["certificate"] = dataclasses.asdict(s.certificate)
    out["limits"] = [{**dataclasses.asdict(x), "margin": x.margin} for x in s.limits]
    return out


def _numbers_json(chip: Chip, supply_V: float) -> dict[str, float]:
    core = chip.core
    return {
        **picked(chip, "n_cores", "clock_Hz"),
        "supply_V": supply_V,
        **{f"{n}_per_core": v for n, v in picked(core, "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps").items()},
        **picked(chip, "n_stacks", "hbm_bandwidth_Bps", "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps"),
    }


def _workload_json(w: WorkloadReport) -> dict[str, Any]:
    e = w.evaluation
    return {
        "plan": dataclasses.asdict(w.plan),
        **picked(e, "step_s"),
        "unthrottled_s": float(e.step.total_s),
        "speedup": w.speedup,
        **picked(e, "tokens_per_s", "power_W", "mfu_frac", "memory_B"),
    }
