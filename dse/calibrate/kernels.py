"""Single operators and collectives as cases: the same step model with everything else absent."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DseError
from ..hardware.presets import system as preset_system
from ..hardware.system import System
from ..mapping.tiling import array_shape, op_demand, rank_ops, sram_B
from ..objective.metrics import chip_reference
from ..performance.calibration import KERNELS, prior_calibration
from ..performance.coefficients import StepDemand, TrafficDemand
from ..performance.collective import Traffic, across_all_reduce, across_gather, all_to_all, send, spread
from ..technology.node import PRECISION_BITS
from ..workload.op import Op, fused_attention, linear, passes
from .cases import Case, Unmodelled, _number, _text, preset_for
from .measurements import SECONDS

DTYPES = {
    "bfloat16": "bf16", "fp16": "bf16", "bf16": "bf16", "float16": "bf16", "half": "bf16", "fp8": "fp8",
    "fp8_block": "fp8", "fp8 e4m3": "fp8", "nvfp4": "fp4", "float": "fp32",
}  # fmt: skip
"""Published data type to precision; others (weight-only integers, mixed) are not modelled."""


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


def gemm(m: float, n: float, k: float, precision: str) -> Op:
    """One product with its operands and result moved once, result in bf16."""
    op = linear("gemm", m, k, n, precision)
    operand_B = PRECISION_BITS[precision] / 8
    return dataclasses.replace(op, hbm_B=operand_B * (m * k + k * n) + 2 * m * n)


def _kernel_op(row: Any) -> Op | str:
    """The operator of a row, or why it is not modelled."""
    name, dtype = _text(row, "op").lower(), _text(row, "dtype").lower()
    precision = DTYPES.get(dtype)
    if precision is None:
        return f"data type '{dtype}' is not modelled"
    m, n, k = (_number(row, c, 0) for c in ("M", "N", "K"))
    if ("gemm" in name or "matmul" in name) and "grouped" not in name and min(m, n, k) > 0:
        return gemm(m, n, k, precision)
    if "attention decode" in name:
        heads, length, width, sequences = (_number(row, c, 0) for c in ("heads", "seq_len", "head_dim", "batch"))
        if min(heads, length, width, sequences) > 0:
            softmax = passes()["softmax_forward"]
            return fused_attention(heads, heads, width, 1.0, length, sequences, 2, softmax)
    return f"operator '{name}' is not modelled"


def _label(row: Any) -> tuple[str, str]:
    return str(row.point_id), _text(row, "source")


def kernel_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """Operators as cases: matrix products and decode attention on chips with a preset."""
    cases: list[Case] = []
    rest: list[Unmodelled] = []
    for _, point in rows.groupby("point_id", sort=False):
        timed = point[point.metric.isin(["latency", "time", "latency_derived"])]
        row: Any = next(iter((timed if len(timed) else point).itertuples()))
        found = preset_for(_text(row, "chip"))
        op: Op | str = "no latency" if not len(timed) or _text(row, "unit") not in SECONDS else _kernel_op(row)
        if found is None or isinstance(op, str):
            why = op if isinstance(op, str) else f"no preset for chip '{_text(row, 'chip')}'"
            rest.append(Unmodelled(*_label(row), found[0] if found else _text(row, "chip"), why))
            continue
        try:
            system = preset_system(found[1])
        except DseError as error:
            rest.append(Unmodelled(*_label(row), found[0], str(error)))
            continue
        seconds = float(row.value) * SECONDS[_text(row, "unit")]
        demand = _step([op], Traffic(), system)
        cases.append(Case(*_label(row), found[0], KERNELS, seconds, demand, system.chip))
    return cases, rest


def _collective(row: Any, system: System, chip_name: str) -> Traffic | str:
    """Traffic of a row's collective, or why it is not modelled."""
    ranks, message = int(_number(row, "num_ranks", 0)), _number(row, "message_bytes", 0)
    if ranks < 2 or message <= 0:
        return "fewer than two ranks or no message"
    ref = chip_reference(system.chip, prior_calibration(chip_name))
    ref = dataclasses.replace(ref, has_direct="custom" in _text(row, "algorithm").lower())
    where = spread(system.fabric, 1, ranks)
    per_rank = "per rank" in _text(row, "size_convention").lower()
    name = _text(row, "collective").lower()
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


def collective_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """Collectives as cases; one byte of operator work stands beside them, since a step has work."""
    cases: list[Case] = []
    rest: list[Unmodelled] = []
    for _, point in rows.groupby("point_id", sort=False):
        timed = point[point.metric.isin(["time", "time_derived"])]
        row: Any = next(iter((timed if len(timed) else point).itertuples()))
        found = preset_for(_text(row, "chip"))
        if found is None or not len(timed) or _text(row, "unit") not in SECONDS:
            why = "no time" if found else f"no preset for chip '{_text(row, 'chip')}'"
            rest.append(Unmodelled(*_label(row), found[0] if found else _text(row, "chip"), why))
            continue
        try:
            system = preset_system(found[1])
        except DseError as error:
            rest.append(Unmodelled(*_label(row), found[0], str(error)))
            continue
        traffic = _collective(row, system, found[0])
        if isinstance(traffic, str):
            rest.append(Unmodelled(*_label(row), found[0], traffic))
            continue
        idle = Op("idle", (), "bf16", hbm_B=1.0, vector_elements=0.0, n_launches=0.0)
        seconds = float(row.value) * SECONDS[_text(row, "unit")]
        cases.append(Case(*_label(row), found[0], KERNELS, seconds, _step([idle], traffic, system), system.chip))
    return cases, rest
