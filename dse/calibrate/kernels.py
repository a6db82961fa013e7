"""Single operators and collectives as cases: the same step model with everything else absent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.assembly import chip_reference
from ..hardware.presets import system as preset_system
from ..hardware.system import System
from ..lowering.collective import Traffic, across_all_reduce, across_gather, all_to_all, send, spread
from ..lowering.step_demand import StepDemand, TrafficDemand
from ..lowering.tiling import array_shape, op_demand, rank_ops, sram_B
from ..physics.calibration import KERNELS, prior_calibration
from ..workload.op import Kind, Op
from .cases import Case, Unmodelled, preset_for, row_number, row_text
from .measurements import SECONDS
from .operators import calibrates, row_op


def _step(ops: list[Op], tensor: Traffic, system: System) -> StepDemand:
    """A step that is one operator or one collective."""
    array = array_shape(system.chip.core.tensor)
    tiled = rank_ops(ops, array)
    macs = tiled.macs.sum(axis=0)
    none = TrafficDemand(*Traffic().parts())
    return StepDemand(
        ops=op_demand(tiled, np.ones(len(ops))), tensor=TrafficDemand(*tensor.parts()), pipeline=none, shard=none,
        data=none, n_host=0.0, n_sync=0.0, n_micro=1.0, bubble_micro=0.0, window_micro=0.5, optimizer_B=0.0, macs=macs,
        sram_B=sram_B(macs, array), memory_B=0.0, tokens=1.0, model_FLOP=2 * float(macs.sum()),
        rate=array.rates[array.executed(ops[0].precision)],
    )  # fmt: skip


Lowered = StepDemand | str
"""A demand, or why a row has none."""


def _timed_cases(
    rows: pd.DataFrame,
    metrics: Sequence[str],
    lower: Callable[[Any, System, str], Lowered],
    calibrates: Callable[[Any], bool],
) -> tuple[list[Case], list[Unmodelled]]:
    """Points as cases: the time is in one of `metrics`, the demand is what `lower` makes of row, system and chip."""
    cases: list[Case] = []
    rest: list[Unmodelled] = []
    for _, point in rows.groupby("point_id", sort=False):
        timed = point[point.metric.isin(metrics) & point.unit.isin(SECONDS)]
        row: Any = next(iter((timed if len(timed) else point).itertuples()))
        label = (str(row.point_id), row_text(row, "source"))
        found = preset_for(row_text(row, "chip"))
        if found is None:
            published = row_text(row, "chip")
            rest.append(Unmodelled(*label, published, f"no preset for chip '{published}'"))
            continue
        system = preset_system(found[1])
        demand = lower(row, system, found[0]) if len(timed) else "no time"
        if isinstance(demand, str):
            rest.append(Unmodelled(*label, found[0], demand))
            continue
        seconds = float(row.value) * SECONDS[row_text(row, "unit")]
        learnt = calibrates(row)
        cases.append(Case(*label, found[0], KERNELS, seconds, demand, system.chip, calibrates=learnt))
    return cases, rest


def _lower_operator(row: Any, system: System, chip_name: str) -> Lowered:
    """A row's operator alone."""
    op = row_op(row)
    return op if isinstance(op, str) else _step([op], Traffic(), system)


def kernel_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """Operators as cases, on chips with a preset."""
    return _timed_cases(rows, ("latency", "time", "latency_derived"), _lower_operator, calibrates)


def _collective(row: Any, system: System, chip_name: str) -> Traffic | str:
    """Traffic of a row's collective, or why it is not modelled."""
    ranks, message = int(row_number(row, "num_ranks", 0)), row_number(row, "message_bytes", 0)
    if ranks < 2 or message <= 0:
        return "fewer than two ranks or no message"
    ref = chip_reference(system.chip, prior_calibration(chip_name))
    ref = dataclasses.replace(ref, has_direct="custom" in row_text(row, "algorithm").lower())
    where = spread(system.fabric, 1, ranks)
    per_rank = "per rank" in row_text(row, "size_convention").lower()
    name = row_text(row, "collective").lower()
    whole = message * ranks if per_rank and "gather" in name else message
    if name == "all_reduce":
        return across_all_reduce(*where, message, ref)
    if name in ("all_gather", "reduce_scatter"):
        return across_gather(*where, whole, ref)
    started = Traffic(n_starts=float(system.fabric.kind == "switched" and where[1] == 1))
    if name == "all_to_all":
        return all_to_all(*where, message) + started
    if name == "send_recv":
        return send(message, inside=where[1] == 1) + started
    return f"collective '{name}' is not modelled"


def _lower_collective(row: Any, system: System, chip_name: str) -> Lowered:
    """A row's collective; one byte of operator work stands beside it, since a step has work."""
    traffic = _collective(row, system, chip_name)
    idle = Op("idle", Kind.ELEMENTWISE, (), "bf16", hbm_B=1.0, vector_elements=0.0, n_launches=0.0)
    return traffic if isinstance(traffic, str) else _step([idle], traffic, system)


def collective_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """Collectives as cases, on chips with a preset."""
    return _timed_cases(rows, ("time", "time_derived"), _lower_collective, lambda _: True)
