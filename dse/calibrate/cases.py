"""Training measurements as cases: from a published row to a demand on a chip, or the reason why it is not modelled."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pandas as pd

from ..core.errors import PlanError
from ..evaluation.assembly import chip_reference
from ..hardware.chip import Chip
from ..hardware.devices import per_device
from ..hardware.system import System
from ..lowering.activations import Footprint, footprint, input_B
from ..lowering.demand import plan_demand
from ..lowering.headroom import usable_B
from ..lowering.memory import memory_B
from ..lowering.plan import Plan, n_micro_batches, plan_text
from ..lowering.software import usual_software
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape, as_run
from ..physics.calibration import Calibration, prior_calibration
from ..workload.transformer import Training
from .measurements import peak_memory_B, step_s
from .published import devices_per_chip, preset_for
from .published_models import unnamed
from .rates import WHOSE
from .reading import Unmodelled, guarded, odd_cell, row_number, row_text
from .training_rows import rated_step_s, row_plan, row_system, row_workload
from .training_stacks import row_software, row_stack


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement ready to be predicted."""

    point_id: str
    source: str
    chip_name: str
    stack: str
    measured_s: float
    demand: Any
    """What the model is asked."""
    chip: Chip
    """On what, names left in place."""
    measured_memory_B: float = math.nan
    """Peak memory of a chip, where it was measured."""
    alike: str = ""
    """What else makes two measurements of a source alike: their model, operator or collective."""
    sweep: str = ""
    """What plans compete for: the same model, sequence and batch on as many of the same chips; empty for none."""
    plan: str = ""
    """With which plan."""
    calibrates: bool = True
    """Whether fits may learn from it: not where part of what ran, or of what was timed, is presumed."""
    counts: bool = True
    """Whether bands count its error: not where nothing can be learnt from it, unless the model is what falls short."""


NUMBERS = (
    "num_chips", "layers", "hidden", "ffn_hidden", "heads", "kv_heads", "vocab", "experts", "active_experts",
    "seq_len", "global_batch", "micro_batch", "tp", "pp", "dp", "cp", "ep", "virtual_pp", "zero_stage", "head_dim",
    "params_B", "year",
)  # fmt: skip
COMPETE = (
    "source", "model", "params_B", "layers", "hidden", "heads", "chip", "num_chips", "seq_len", "global_batch",
    "precision",
)  # fmt: skip
"""Columns that are the same in rows whose plans compete."""
NEEDED = ("layers", "hidden", "heads", "seq_len", "global_batch", "num_chips")
"""Columns without which a step is not known."""


def training_case(point: pd.DataFrame) -> Case | Unmodelled:
    """One training point as a case, or why it cannot be one."""
    row: Any = next(iter(point.itertuples()))
    published = row_text(row, "chip")
    found, label = preset_for(published), (str(row.point_id), row_text(row, "source"))
    if found is None:
        return Unmodelled(*label, published, f"no preset for chip '{published}'")
    needed = [n for n in NEEDED if not row_number(row, n, 0) > 0]
    odd = odd_cell(row, NUMBERS)
    if odd or needed:
        return Unmodelled(*label, found[0], odd or f"no {', '.join(needed)}{unnamed(row) * ('layers' in needed)}")
    return guarded((*label, found[0]), lambda: _readable_case(point, row, label, found))


def _readable_case(point: pd.DataFrame, row: Any, label: tuple[str, str], found: tuple[str, str]) -> Case | Unmodelled:
    """A training point whose cells are numbers as a case, or why it cannot be one."""
    twice = printed_twice(point)
    # a time or a throughput first: a FLOP rate must also say which FLOP it counted
    measured = None if twice else step_s(point) or rated_step_s(point)
    if measured is None:
        return Unmodelled(*label, found[0], twice or f"no step time or throughput that is known, but {_said(point)}")
    n_chips = row_number(row, "num_chips")
    plan = row_plan(row, int(n_chips))
    # expert ranks are among the data ranks, so that they take no chips of their own
    size = plan.tp * plan.pp * plan.cp * plan.dp
    usual = row_system(row, *found)
    per_chip = ranks_per_chip(usual.chip, "tp*pp*cp*dp", size, n_chips)
    workload, stack = row_workload(row), row_stack(row)
    if n_micro_batches(plan, workload) < 1:
        return Unmodelled(*label, found[0], f"global batch {workload.global_batch} below dp x micro batch")
    system = per_device(usual, per_chip, size)
    printed = bool(row_text(row, "recompute")), row_number(row, "micro_batch", 0) > 0
    workload = as_run(workload, array_shape(system.chip.core.tensor))
    software = row_software(row) or usual_software(plan, system.chip.lane_kind)
    plan, kept = fitting(plan, workload, system.chip, software, *printed)
    # algorithms of collectives are those of the prior: if they moved with the fit, its slope would have jumps
    demand = lower(workload, plan, system, prior_calibration(found[0]), software, kept)
    peak_B = peak_memory_B(point, stack)
    return Case(
        *label, found[0], stack, measured, demand, system.chip, math.nan if peak_B is None else peak_B,
        alike=row_text(row, "model"), sweep=" ".join(row_text(row, n) for n in COMPETE), plan=plan_text(plan),
    )  # fmt: skip


def ranks_per_chip(chip: Chip, axes: str, n_ranks: int, n_chips: float) -> int:
    """Ranks of a plan on each chip, its `axes` multiplied; PlanError where they are neither chips nor cores."""
    found = devices_per_chip(chip, n_ranks, n_chips)
    if not found:
        raise PlanError(f"{axes} = {n_ranks} is not the {n_chips:g} chips or their cores")
    return found


def _said(point: pd.DataFrame) -> str:
    """What a point measures, each with its unit."""
    units = (TPS if u == WHOSE else u if isinstance(u, str) else "no unit" for u in point.unit)
    return ", ".join(dict.fromkeys(f"{m} in {u}" for m, u in zip(point.metric, units, strict=True)))


TPS = (
    "tps, of which stacks do not agree whether all chips' or one's: write tok/s or tok/s/gpu, or --given unit=tok/s/gpu"
)


def printed_twice(point: pd.DataFrame) -> str | None:
    """Which metric a point prints with two values, in words; None if none does."""
    seen: dict[tuple[str, str], float] = {}
    for row in point.itertuples():
        label, value = (row_text(row, "metric"), row_text(row, "unit")), row_number(row, "value")
        if seen.setdefault(label, value) != value:
            return f"{label[0]} is printed twice, {seen[label]:g} and {value:g} {label[1]}; keep one"
    return None


def fitting(
    plan: Plan, workload: Training, chip: Chip, software: str, printed: bool, micro_printed: bool = True
) -> tuple[Plan, Footprint]:
    """Plan and footprint of a run, with what its row does not print chosen so that it fits, since it ran.

    Gathered inputs are kept where they fit; where products are of 8 bit, inputs of the activation are kept in 8 bit
    if they must [megatron2025config]; unless `printed`, as many layers as must are recomputed,
    and unless `micro_printed`, fewer sequences are taken at once.
    """
    usual = footprint(software)
    # gathered inputs save a gather in the backward pass: software keeps them while it can
    softwares = [usual, dataclasses.replace(usual, n_gathered_inputs=0.0)]
    if input_B(workload.precision) <= (narrow_B := input_B("fp8")):
        softwares.append(dataclasses.replace(softwares[-1], activation_input_B=narrow_B))
    again = [dataclasses.replace(plan, recompute="full", recompute_frac=f) for f in RECOMPUTED]
    ways = [plan] if printed else [plan, *again]
    if not micro_printed:
        n = plan.micro_batch
        # whole halves alone: they divide the batch of a replica as the micro batch did
        halves = [n // 2**i for i in range(n.bit_length()) if n % 2**i == 0]
        ways = [dataclasses.replace(w, micro_batch=m) for m in halves for w in ways]
    room = float(usable_B(chip))
    # in order of what costs least time: the first that fits is what somebody would have run
    fits = ((p, s) for p in ways for s in softwares if memory_B(p, workload, s).total <= room)
    return next(fits, (plan, usual))


RECOMPUTED = (0.25, 0.5, 0.75, 1.0)
"""Shares of a stage's layers that runs are taken to recompute: the least that fits."""


def lower(
    workload: Training, plan: Plan, system: System, c: Calibration, software: str = "", kept: Footprint | None = None
) -> StepDemand:
    """Demand of a plan that ran, whatever `check_plan` would say of it; kind and footprint of its software if known."""
    array = array_shape(system.chip.core.tensor)
    return plan_demand(workload, plan, system, array, chip_reference(system.chip, c), software, kept)


def training_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """All points of a training table."""
    found = [training_case(point) for _, point in rows.groupby("point_id", sort=False)]
    return [c for c in found if isinstance(c, Case)], [c for c in found if isinstance(c, Unmodelled)]
