"""Inference measurements as cases: from a published row to a request on a chip, or the reason why it is not modelled.

A row is a TTFT, a TPOT or a request time; the throughput of a static batch gives its request time.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from ..hardware.chip import peak_FLOPps
from ..lowering.memory import memory_B
from ..physics.calibration import FIXED_SHAPES
from ..physics.step import Request
from . import loops
from .cases import Case
from .lowered_rows import lowered_row
from .published import preset_for
from .published_models import unnamed
from .rates import SECONDS, rate
from .reading import Unmodelled, guarded, odd_cell, row_number, row_text, without_unit
from .request_rows import drawn_frac, otherwise, row_stack

KINDS = {
    "ttft": "ttft",
    "prefill_latency": "ttft",
    "prefill_device_time_derived": "ttft",
    "tpot": "tpot",
    "tpot_derived": "tpot",
    "tpot_device_derived": "tpot",
    "latency_per_token": "tpot",
    # tokens per second of a user, whose inverse it is
    "interactivity": "tpot",
    "request_latency": "request",
    "request_latency_derived": "request",
    "latency": "request",
    # Little's law turns a rate at a known number at once into the time of one
    "output_throughput": "request",
    "throughput": "request",
    "throughput_per_chip": "request",
    "total_throughput": "request",
    "total_throughput_per_chip": "request",
}
"""Published metric to what is predicted."""
STATISTICS = ("p50", "mean", "median", "not stated", "single run", "")
"""Statistics that the model predicts; tails are noise of the system."""


@dataclasses.dataclass(frozen=True)
class InferenceCase(Case):
    """A request ready to be predicted, with what a simple baseline knows."""

    metric: str = ""
    """"ttft", "tpot" or "request"."""
    ideal_s: float = 0.0
    """Weights and cache over peak bandwidth, useful FLOP over peak rate."""
    n_passes: float = 1.0
    """Passes over the model."""


DEVICE = "_device_"
"""What is in the name of a metric that times the device alone, without the serving loop."""
NUMBERS = (
    "num_chips", "layers", "hidden", "ffn_hidden", "heads", "kv_heads", "vocab", "experts", "active_experts", "tp",
    "pp", "ep", "dp", "batch", "concurrency", "in_len", "out_len",
)  # fmt: skip


def _why_not(row: Any, metric: str, others: set[str]) -> str | None:
    """Why a row of a point with the metrics `others` is not predicted, or None."""
    kind = KINDS.get(metric)
    if kind is None:
        return f"metric '{metric}' is not modelled"
    if row_text(row, "stat").lower() not in STATISTICS:
        return f"a tail ({row_text(row, 'stat')}), not the middle"
    odd = odd_cell(row, NUMBERS)
    if other := otherwise(row, kind):
        return other
    lengths_ = ("in_len", "out_len") if kind == "request" else ("in_len",)
    needed = [n for n in ("num_chips", *lengths_, "layers", "hidden", "heads") if not row_number(row, n, 0) > 0]
    if not max(row_number(row, "batch", 0), row_number(row, "concurrency", 0)) > 0:
        needed.append("batch")
    if odd or needed:
        return odd or f"no {', '.join(needed)}{unnamed(row) * ('layers' in needed)}"
    return _said_better(row, metric, others) or loops.why_not(row, kind, {KINDS[m] for m in others if m in KINDS})


def _said_better(row: Any, metric: str, others: set[str]) -> str | None:
    """Why another metric of a row's point says what `metric` does, or None."""
    if "request_latency_derived" in others and metric in ("latency_per_token", "throughput"):
        return "request time over all tokens, in and out: said by the request's latency"
    if metric == "interactivity" and any(KINDS.get(m) == "tpot" for m in others):
        return "tokens per second of a user, whose time per token is printed"
    if metric.startswith("total") and any("throughput" in m and not m.startswith("total") for m in others):
        return "throughput of prompts too, beside that of tokens alone"
    if "throughput" in metric and _scored(row, others):
        return "throughput of a point whose latencies are scored"
    if "round_latency" in others and KINDS[metric] != "ttft":
        return "passes write several tokens each (a round's time is printed): how many is in no column"
    return None


def _scored(row: Any, others: set[str]) -> bool:
    """Whether a time among the metrics `others` of a row's point is predicted, so that a throughput says no more."""
    times = {m: kind for m, kind in KINDS.items() if m in others and "throughput" not in m}
    return any(loops.why_not(row, kind, set(times.values())) is None for kind in times.values())


def _seconds(row: Any, metric: str) -> float | None:
    """Measured time, from a throughput where that is printed; None for an unknown unit."""
    value, unit = float(row.value), row_text(row, "unit")
    if metric == "interactivity":
        return 1.0 / value if value > 0 and unit == PER_USER else None
    if "throughput" in metric:
        said = rate(unit)
        if said is None or said.of == "steps" or value <= 0:
            return None
        counted = row_number(row, "out_len") + (row_number(row, "in_len") if metric.startswith("total") else 0.0)
        each = drawn_frac(row) * counted if said.of == "tokens" else 1.0
        chips = row_number(row, "num_chips") if said.per_chip or metric.endswith("chip") else 1.0
        # Little's law: requests at once over requests per second
        return (loops.n_clients(row) or row_number(row, "batch")) * each / (value * said.per_s * chips)
    return value * SECONDS[unit] if unit in SECONDS else None


PER_USER = "tok/s/user"


def _no_unit(row: Any) -> str:
    """Why the value of a row tells no time."""
    unit, metric = row_text(row, "unit"), row_text(row, "metric")
    if not unit:
        return without_unit(metric, "ms")
    return f"unit '{unit}' is no time or rate that is known"


def inference_case(row: Any, others: set[str]) -> InferenceCase | Unmodelled:
    """One row as a case, or why it cannot be one."""
    metric = row_text(row, "metric")
    label = (f"{row.point_id}:{metric}", row_text(row, "source"))
    found = preset_for(row_text(row, "chip"))
    if found is None:
        return Unmodelled(*label, row_text(row, "chip"), f"no preset for chip '{row_text(row, 'chip')}'")
    return guarded((*label, found[0]), lambda: _readable_case(row, metric, others, label, found))


def _readable_case(
    row: Any, metric: str, others: set[str], label: tuple[str, str], found: tuple[str, str]
) -> InferenceCase | Unmodelled:
    """As `inference_case`, where the row may still hold what no formula takes.

    Prompts of experts in fixed shapes are scored but teach only bands: their kernels reach about half of dense
    products, for no reason that a term has.
    """
    why, seconds = _why_not(row, metric, others), _seconds(row, metric)
    if why or seconds is None:
        return Unmodelled(*label, found[0], why or _no_unit(row))
    stack = row_stack(row)
    system, plan, token, first, each = lowered_row(row, *found, stack)
    n_prefill, n_decode = loops.n_passes(row, KINDS[metric], plan, stack)
    if DEVICE in metric:
        first, each = (dataclasses.replace(d, n_requests=0.0, n_calls=0.0) for d in (first, each))
    held = memory_B(plan, token)
    # for the baseline alone: what anybody would reckon without a model of the chip
    read_s = (held.weights_B + held.kv_B) / float(system.chip.hbm_bandwidth_Bps)
    n_ranks = min(plan.tp * plan.pp * plan.dp, system.n_chips)
    compute_s = float(first.model_FLOP) * system.n_chips / n_ranks / float(peak_FLOPps(system.chip, "bf16"))
    return InferenceCase(
        *label, found[0], stack, seconds, Request(first, each, n_prefill, n_decode), system.chip,
        alike=row_text(row, "model"), metric=KINDS[metric],
        ideal_s=n_prefill * compute_s + n_decode * read_s, n_passes=n_prefill + n_decode,
        calibrates=not (KINDS[metric] == "ttft" and stack in FIXED_SHAPES and token.model.experts is not None),
    )  # fmt: skip


def inference_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """All rows of an inference table."""
    rows = rows.assign(metric=[row_text(row, "metric") for row in rows.itertuples()])
    # a value without a unit is of no use, and stands in no other's way
    metrics = rows[rows["unit"].notna()].groupby("point_id")["metric"].agg(set).to_dict()
    typed: list[Any] = list(rows.itertuples(index=False))
    found = [inference_case(row, metrics.get(row.point_id, set()) - {row.metric}) for row in typed]
    return [c for c in found if isinstance(c, Case)], [u for u in found if isinstance(u, Unmodelled)]
