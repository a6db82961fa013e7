"""Measurements of single operators and collectives as cases of the step model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.assembly import chip_reference
from ..hardware.devices import per_device
from ..hardware.presets import default_system
from ..hardware.presets import system as preset_system
from ..hardware.system import System
from ..lowering.collective import Traffic, across_gather, all_to_all, send
from ..lowering.groups import group, spread
from ..lowering.step_demand import StepDemand, TrafficDemand
from ..lowering.tiling import array_shape, op_demand, rank_ops
from ..physics.calibration import KERNELS, kin_of, prior_calibration
from ..physics.pooled import COMPILED
from ..workload.op import Kind, Op
from .cases import Case
from .libraries import Rounds, as_library_runs, has_library, levels_at_once, library_all_reduce, rounds
from .operators import array_frac, calibrates, is_host_timed, row_ops, splits_contraction
from .published import devices_per_chip, preset_for, system_of
from .rates import SECONDS, SIZED, message_B, rated_s
from .reading import Unmodelled, guarded, odd_cell, row_number, row_text, without_unit
from .spelling import middle_rank


def _step(
    ops: list[Op], tensor: Traffic, system: System, splits: bool = True, busy_frac: float = 1.0, n_host: float = 0.0
) -> StepDemand:
    """A step of the kernels of one operator, or of one collective; cycles of the PE array are scaled by `busy_frac`."""
    array = array_shape(system.chip.core.tensor)
    tiled = rank_ops(ops, array)
    if has_library(system.chip):
        for i, op in enumerate(ops):
            if op.kind in (Kind.LINEAR, Kind.EXPERTS):
                _cut(tiled.columns[:, i], rounds(op, array, system.chip, splits), float(system.chip.n_cores))
    # one more than `CYCLES`: the smallest piece is cut by the same share, or it would bind in place of the sum
    tiled.columns[: CYCLES + 1] *= busy_frac
    macs = tiled.macs.sum(axis=0)
    none = TrafficDemand(*Traffic().parts())
    return StepDemand(
        ops=op_demand(tiled, np.ones(len(ops))), tensor=TrafficDemand(*tensor.parts()), pipeline=none, shard=none,
        data=none, n_host=n_host, n_micro=1.0, bubble_micro=0.0, window_micro=0.5, optimizer_B=0.0, macs=macs,
        memory_B=0.0, tokens=1.0, model_FLOP=2 * float(macs.sum()),
        rate=array.rates[array.executed(ops[-1].precision)],
    )  # fmt: skip


CYCLES = 3
"""How many of an operator's first numbers are cycles of the PE array, one of them used."""


def _cut(column: np.ndarray, r: Rounds, n_cores: float) -> None:
    """Write the cycles of a product into an operator's numbers, as its rounds say: all whole, with no other bound."""
    used = int(np.argmax(column[:CYCLES]))
    # a step divides cycles by the cores, which here work in rounds: times them, so that the rounds come out
    column[used], column[CYCLES] = n_cores * r.n_cycles, 0.0


Lowered = StepDemand | str
"""A demand, or why a row has none."""


NUMBERS = ("num_chips", "num_ranks", "num_nodes", "M", "N", "K", "batch", "seq_len", "head_dim", "elements",
           "message_bytes")  # fmt: skip


TELLING = (
    "op", "shape", "M", "N", "K", "batch", "seq_len", "heads", "head_dim", "elements", "dtype", "collective",
    "algorithm", "message_bytes", "num_ranks",
)  # fmt: skip
"""Columns that tell operators or collectives of one point apart."""


def _first(point: pd.DataFrame, metrics: Sequence[str]) -> Any:
    """The row that stands for a point: a time before a rate, the middle before a tail."""
    rows: list[Any] = list(point.itertuples())
    said = (*metrics, *SIZED)

    # a rate needs the size it counts, which tables round; a time needs nothing
    def rank(row: Any) -> tuple[bool, bool, int, int]:
        stat = row_text(row, "stat").lower()
        timed = row.metric in metrics and row_text(row, "unit") in SECONDS
        unitless = not row_text(row, "unit")
        return not timed, unitless, said.index(row.metric) if row.metric in said else len(said), middle_rank(stat)

    return min(rows, key=rank)


def _points(rows: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, bool]]:
    """Rows of one thing that was timed, and whether it is the first of its point, from which fits learn.

    Of a point that times several operators each has a name of its own; those behind the first test the fits.
    """
    told = [c for c in TELLING if c in rows]
    # in the order of the table: fits learn from the first operator of a point
    for name, point in rows.groupby("point_id", sort=False):
        # pandas leaves out rows with a blank among these columns unless it is told not to
        each = [x for _, x in point.groupby(told, sort=False, dropna=False)]
        for i, one in enumerate(each):
            yield one.assign(point_id=f"{name}:{_told(one, i)}") if len(each) > 1 else one, i == 0


def _told(rows: pd.DataFrame, i: int) -> str:
    """What the `i`-th operator or collective of a point is called, apart from others of its name."""
    row = next(iter(rows.itertuples()))
    return f"{row_text(row, 'op') or row_text(row, 'collective')} {i + 1}".strip()


def _timed_cases(
    rows: pd.DataFrame,
    metrics: Sequence[str],
    lower: Callable[[Any, System, str], Lowered],
    calibrates: Callable[[Any], bool],
) -> tuple[list[Case], list[Unmodelled]]:
    """Points as cases: the time is in one of `metrics` or behind a rate, the demand is what `lower` makes of it."""
    found: list[Case | Unmodelled] = []
    for point, is_first in _points(rows):
        row = _first(point, metrics)
        label = (str(row.point_id), row_text(row, "source"), row_text(row, "chip"))
        learns = is_first and calibrates(row)
        found.append(guarded(label, lambda: _timed_case(row, metrics, lower, learns)))  # noqa: B023 (called here)
    return [c for c in found if isinstance(c, Case)], [u for u in found if isinstance(u, Unmodelled)]


def _timed_case(
    row: Any, metrics: Sequence[str], lower: Callable[[Any, System, str], Lowered], learns: bool
) -> Case | Unmodelled:
    """One point as a case, on the part of a chip that its row names, or why it cannot be one."""
    label, published = (str(row.point_id), row_text(row, "source")), row_text(row, "chip")
    found, odd = preset_for(published), odd_cell(row, NUMBERS)
    if found is None or odd:
        return Unmodelled(*label, published, odd or f"no preset for chip '{published}'")
    timed = row.metric in metrics and row_text(row, "unit") in SECONDS
    seconds = float(row.value) * SECONDS[row_text(row, "unit")] if timed else rated_s(row)
    if seconds is None and not row_text(row, "unit"):
        return Unmodelled(*label, found[0], without_unit(row_text(row, "metric"), "us"))
    if seconds is None:
        return Unmodelled(*label, found[0], f"no time, nor a rate of something whose size is known ('{row.metric}')")
    said = f"{row_text(row, 'topology')} {row_text(row, 'note')}"
    system, share = system_of(*found, said), row_number(row, "num_chips", 1.0)
    cores = devices_per_chip(system.chip, 1.0 if share < 1 else row_number(row, "num_ranks", 0), share)
    if share < 1 and not cores:
        return Unmodelled(*label, found[0], f"{share:g} of a chip is no device that software sees of this one")
    cores = HALVES if row.metric == "bandwidth_per_core" else cores
    if cores > 1:
        system = per_device(system, cores, system.fabric.n_chips * cores)
    demand = lower(row, system, found[0])
    if isinstance(demand, str):
        return Unmodelled(*label, found[0], demand)
    alike = row_text(row, "op") or row_text(row, "collective")
    return Case(
        *label, found[0], KERNELS, seconds, demand, system.chip, alike=alike, calibrates=learns, counts=learns
    )  # fmt: skip


HALVES = 2
"""Cores of a chip whose bandwidth is printed per core: two dies."""


def _lower_operator(row: Any, system: System, chip_name: str) -> Lowered:
    """A row's operator alone."""
    ops = row_ops(row, hosted=kin_of(chip_name, KERNELS).vendor not in COMPILED)
    if isinstance(ops, str):
        return ops
    n_host = float(len(ops)) if is_host_timed(row) else 0.0
    return _step(ops, Traffic(), system, splits_contraction(row), array_frac(row), n_host)


def kernel_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """Operators as cases, on chips with a preset."""
    return _timed_cases(rows, ("latency", "time", "latency_derived"), _lower_operator, calibrates)


def _collective(row: Any, system: System, chip_name: str) -> Traffic | str:
    """Traffic of a row's collective, or why it is not modelled."""
    ranks, message = int(row_number(row, "num_ranks", 0)), message_B(row)
    if ranks < 2 or message <= 0:
        return "fewer than two ranks or no message"
    ref = chip_reference(system.chip, prior_calibration(chip_name))
    # tests of collectives time a library's rings and trees; direct exchanges are kernels of serving stacks
    ref = dataclasses.replace(ref, has_direct="custom" in row_text(row, "algorithm").lower())
    where = spread(system.fabric, 1, ranks)
    nodes = int(row_number(row, "num_nodes", 0))
    if nodes and (ranks % nodes or nodes * _domains_of_node(system, chip_name) < where[1]):
        return f"{ranks} ranks do not share out over {nodes} nodes of this chip"
    # a job may use fewer chips of a server than it has: the row's own nodes count
    if nodes > where[1]:
        where = group(system.fabric, 1, ranks // nodes), nodes
    name = row_text(row, "collective").lower()
    switched = system.fabric.kind == "switched"
    if name == "all_reduce":
        return library_all_reduce(*where, message, ref)
    if name in ("all_gather", "reduce_scatter"):
        found = across_gather(*where, message, ref)
        return levels_at_once(as_library_runs(found, ref), ref) if switched else found
    started = Traffic(n_starts=float(switched and where[1] == 1))
    if name in ("all_to_all", "send_recv"):
        way = None if where[1] > 1 else group(system.fabric, 1, 2)
        found = all_to_all(*where, message) if name == "all_to_all" else send(message, way)
        return as_library_runs(found + started, ref) if switched else found + started
    return f"collective '{name}' is not modelled"


def _domains_of_node(system: System, chip_name: str) -> int:
    """Scale-up domains in a server of a chip: several where its usual network is replaced by smaller ones."""
    return max(preset_system(default_system(chip_name)).fabric.n_chips // system.fabric.n_chips, 1)


def _lower_collective(row: Any, system: System, chip_name: str) -> Lowered:
    """A row's collective; one byte of operator work stands beside it, since a step has work."""
    traffic = _collective(row, system, chip_name)
    idle = Op("idle", Kind.ELEMENTWISE, (), "bf16", hbm_B=1.0, vector_elements=0.0, n_launches=0.0)
    return traffic if isinstance(traffic, str) else _step([idle], traffic, system)


def collective_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """Collectives as cases, on chips with a preset."""
    return _timed_cases(rows, ("time", "latency", "time_derived"), _lower_collective, lambda _: True)
