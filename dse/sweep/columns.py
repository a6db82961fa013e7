"""Columns of the results: what can be recorded of a point, what each means, and the version of the whole schema."""

from __future__ import annotations

from collections.abc import Callable

from ..core.types import FloatLike
from ..physics.evaluate import Evaluation
from ..study.design import FREE
from ..study.limits import full_name
from ..study.metrics import METRICS, OF_WORKLOADS, State

SCHEMA_VERSION = 1
"""Raised whenever a column changes its name, type or meaning."""

ALWAYS = {
    "point": "position in the sweep; with the specification it says everything about the point",
    "ok": "whether the point has an answer",
    "reason": "why it has none; empty where ok",
}
"""Columns of every sweep."""
PLAN = "plan"
"""Column with the plan of a point that was searched, or that an axis sets."""

EVALUATED: dict[str, tuple[Callable[[Evaluation], FloatLike], str]] = {
    "step_s": (lambda e: e.step_s, "step time under the chip's power limit"),
    "tokens_per_s": (lambda e: e.tokens_per_s, "tokens per second of the whole system"),
    "power_W": (lambda e: e.power_W, "mean package power"),
    "mfu_frac": (lambda e: e.mfu_frac, "model FLOP over time and peak at the precision that the linear layers run in"),
    "memory_B": (lambda e: e.memory_B, "HBM the plan needs per chip; kept where it does not fit"),
    "unthrottled_s": (lambda e: e.step.total_s, "step time without a power limit; the sum of the seven parts below"),
    "compute_s": (lambda e: e.step.compute_s, "operators of all micro batches"),
    "host_exposed_s": (lambda e: e.step.host_exposed_s, "device waiting for the host"),
    "tensor_exposed_s": (lambda e: e.step.tensor_exposed_s, "tensor-parallel traffic that nothing hides"),
    "pipeline_exposed_s": (lambda e: e.step.pipeline_exposed_s, "stage-to-stage traffic"),
    "bubble_s": (lambda e: e.step.bubble_s, "pipeline fill and drain"),
    "data_exposed_s": (lambda e: e.step.data_exposed_s, "data-parallel traffic that nothing hides"),
    "optimizer_s": (lambda e: e.step.optimizer_s, "optimizer update"),
    "hbm_B": (lambda e: e.step.hbm_B, "memory traffic of one chip per step"),
}
"""What an evaluation says of a point."""

OF_CHIP: dict[str, tuple[Callable[[State], FloatLike], str]] = {
    name: (place, "free number of the chip" if name in FREE else "metric of the chip, as in limits of a study")
    for name, place in METRICS.items()
    if name not in OF_WORKLOADS
}  # type: ignore[assignment]
"""What a chip has at a point, whatever it does."""
DEFAULT_RECORD = ("step_s", "tokens_per_s", "power_W", "mfu_frac", "memory_B", "silicon_mm2", "package_cost_USD")
"""What is recorded unless a specification says otherwise."""

SOLVED = {
    "status": "optimal, local or infeasible",
    "goal": "goal of the rounded design: what the study minimises",
    "delivered_speedup": "geometric mean of the workloads' speed-ups over the baseline",
    "delivered_low": "the same at the worst of the calibration's ends",
    "delivered_high": "the same at the best of them",
    "proved": "whether every term is proved log-log convex",
    "relative_gap": "continuous optimum over its lower bound, minus 1",
    "integer_gap": "rounded design over the best continuous optimum, minus 1",
    "node": "process node chosen",
    "hbm": "memory generation chosen",
    "link": "scale-up link chosen",
    "n_dies": "compute dies chosen",
    "pe_array": "PE array chosen",
    "native_fp4": "whether FP4 runs at twice the FP8 rate",
    "supply_V": "supply",
    "silicon_mm2": "all compute dies",
    "package_cost_USD": "package",
    "peak_bf16_FLOPps": "dense peak",
    "peak_fp8_FLOPps": "dense peak",
    "peak_fp4_FLOPps": "dense peak",
    **{name: "free number of the design" for name in FREE},
}
"""Columns of a sweep of studies; those of `PREFIXES` per workload or limit, and the axes, come on top."""


def full_column(name: str) -> str:
    """The canonical column that `name` means, with or without its unit; UnknownNameError with near matches."""
    return full_name(name, (*EVALUATED, *OF_CHIP), "column")


def meaning(column: str, of_studies: bool) -> str:
    """One line on a column of a sweep."""
    known = {name: text for name, (_, text) in (OF_CHIP | EVALUATED).items()} | {PLAN: "plan used"}
    known = SOLVED if of_studies else known
    found = (text for prefix, text in PREFIXES.items() if column.startswith(prefix))
    start = next(found, "set by the base, an axis or a rule")
    return known.get(column, start)


PREFIXES = {
    "speedup_": "step time of the baseline over the design's",
    "step_s_": "step time of the design",
    "power_W_": "mean package power of the design",
    "plan_": "plan",
    "price_": "d log goal / d log limit: negative where loosening an upper limit helps",
}
"""Columns of solutions that depend on the study's workloads and limits."""
