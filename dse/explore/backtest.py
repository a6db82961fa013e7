"""Back-tests: what would the explorer have proposed with an older chip in hand, and what was built?

The budgets of each study are those of the chip that was built, so that the comparison is of taste, not of means: power
from published estimates, silicon and cost from this package's own models of it.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..evaluation.assembly import evaluate
from ..hardware.chip import Chip
from ..hardware.presets import chip as preset_chip
from ..hardware.presets import system as preset_system
from ..optimize.solution import Solution
from ..optimize.solve import solve
from ..physics.evaluate import chip_technology
from ..study.metrics import METRICS, chip_state
from ..study.study import Study
from ..workload.transformer import Workload

CASES = Path(__file__).parent / "data" / "backtests.toml"
HIT, NEAR = 1.25, 2.0
"""Largest ratio, either way, of proposed to built that counts as a hit, and as near."""


@dataclasses.dataclass(frozen=True)
class Precedent:
    """A study and the chip that was built instead of its answer."""

    study: str
    """Name of the study file, without its ending."""
    built: str
    """Chip preset."""
    system: str
    """System preset of the built chip, for its step times."""
    reasons: dict[str, str]
    """Quantity to what explains a miss."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One quantity of both chips."""

    name: str
    """Canonical name, unit included."""
    proposed: float
    """Of the explorer's design."""
    built: float
    """Of the chip that was built."""
    reason: str
    """What explains a miss, or ""."""
    given: bool = False
    """Whether the study's budget was set from the built chip, so that a hit says nothing."""

    @property
    def ratio(self) -> float:
        """Proposed over built."""
        return self.proposed / self.built

    @property
    def verdict(self) -> str:
        """How close: "given", "hit" within a quarter, "near" within a factor of two, else "miss"."""
        off = max(self.ratio, 1.0 / self.ratio)
        if self.given:
            return "given"
        return "hit" if off <= HIT else "near" if off <= NEAR else "miss"


@dataclasses.dataclass(frozen=True)
class Backtest:
    """What was proposed, what was built, and how both do on the study's workloads."""

    case: Precedent
    """Which back-test."""
    solution: Solution
    """The explorer's answer."""
    rows: tuple[Row, ...]
    """Quantity by quantity."""
    named: tuple[tuple[str, str, str], ...]
    """Discrete choices: what, proposed, built."""
    built_speedup: dict[str, float]
    """Speed-up of the built chip over the older one by workload, in its own system, by the same model."""

    @property
    def built_delivered(self) -> float:
        """Geometric mean of the built chip's speed-ups."""
        return float(np.exp(np.mean(np.log(list(self.built_speedup.values())))))


QUANTITIES = (
    "n_cores", "tensor_pes", "clock_Hz", "peak_bf16_FLOPps", "peak_fp8_FLOPps", "scratchpad_B", "sram_B",
    "vector_lanes", "dma_bandwidth_Bps", "n_stacks", "hbm_capacity_B", "hbm_bandwidth_Bps",
    "scaleup_bandwidth_per_dir_Bps", "n_dies", "silicon_mm2", "package_cost_USD", "full_load_fp8_W",
)  # fmt: skip
"""What is compared, in order; `tensor_pes` counts the processing elements of all cores."""


def cases() -> tuple[Precedent, ...]:
    """The shipped back-tests, oldest first."""
    raw = tomllib.loads(CASES.read_text(encoding="utf-8"))
    return tuple(Precedent(name, c["built"], c["system"], c["reasons"]) for name, c in raw.items())


def quantities(chip: Chip, package: str) -> dict[str, float]:
    """`QUANTITIES` of a chip, by this package's models where they need one."""
    state = chip_state(chip, chip_technology(chip, package))
    extra = {
        "tensor_pes": float(chip.n_cores * chip.core.tensor.rows * chip.core.tensor.cols),
        "n_dies": float(chip.n_dies),
    }
    values = {n: METRICS[n](state) for n in QUANTITIES if n not in extra}
    return {n: extra[n] if n in extra else float(np.asarray(values[n])) for n in QUANTITIES}


def backtest(
    case: Precedent,
    study: Study,
    progress: Callable[[str], None] = lambda _: None,
    answer: Callable[[Study, Callable[[str], None]], Solution] = solve,
) -> Backtest | Solution:
    """Solve a study of the past and set its design beside the chip that was built.

    Args:
        case: the built chip, and what explains the misses.
        study: the older chip with the technology and budgets of the time.
        progress: told what happens, one line at a time.
        answer: how the study is solved; `solve_continuous` is some times faster and leaves counts broken.

    Returns:
        The comparison; the bare solution if there is no design.
    """
    solution = answer(study, progress)
    if solution.chip is None or solution.choice is None:
        return solution
    built, design = preset_chip(case.built), solution.chip
    mine, theirs = quantities(design, study.package), quantities(built, study.package)
    limited = {x.metric for x in study.limits}
    rows = tuple(Row(n, mine[n], theirs[n], case.reasons.get(n, ""), n in limited) for n in QUANTITIES)
    named = (
        ("node", solution.choice.node, built.node),
        ("HBM", solution.choice.hbm, built.hbm),
        ("link", solution.choice.link, built.link),
        ("PE array", solution.choice.pe_array, f"{int(built.core.tensor.rows)}x{int(built.core.tensor.cols)}"),
    )
    return Backtest(case, solution, rows, named, built_speedups(case, solution))


def built_speedups(case: Precedent, solution: Solution) -> dict[str, float]:
    """Speed-up of the built chip by workload, under its best plan, with the study's calibration of the workload."""
    study = solution.study
    before = {w.name: w.baseline_s for w in solution.workloads}
    found = {}
    for name, (workload, n_chips) in study.workloads.items():
        assert isinstance(workload, Workload)
        _, result = evaluate(preset_system(case.system, n_chips), workload, calibration=study.calibrations[name])
        found[name] = before[name] / float(result.step_s)
    return found
