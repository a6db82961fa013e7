"""Inference measurements as cases: from a published row to a request on a chip, or the reason why it is not modelled.

A row is a TTFT, a TPOT or a request time; the throughput of a static batch gives its request time.
"""

from __future__ import annotations

import dataclasses
import math
import re
from types import SimpleNamespace
from typing import Any

import pandas as pd

from ..core.errors import PlanError, SpecError
from ..evaluation.assembly import chip_reference
from ..hardware.chip import Chip, native_precisions, peak_FLOPps
from ..hardware.system import System
from ..lowering.memory import memory_B
from ..lowering.plan import Plan
from ..lowering.serving import pass_demand
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape
from ..physics.calibration import FIXED_SHAPES, on_stack, prior_calibration
from ..physics.step import Request
from ..workload.blocks import Run
from ..workload.mixers import AbstractMixer, Attention, Latent
from ..workload.module_names import WIDE
from ..workload.storage import format_of, n_element_bits, storage_names
from ..workload.transformer import Decode, Model, Prefill, Serving
from . import loops
from .cases import Case, row_model
from .measurements import SECONDS
from .published import devices_per_chip, per_device, preset_for, system_of
from .published_models import known_model
from .rates import rate
from .reading import Unmodelled, guarded, odd_cell, row_number, row_text, weights_only

STACKS: tuple[tuple[str, str], ...] = (
    (r"neuron|nxdi", "neuronx"),
    (r"fastertransformer", "fastertransformer"),
    (r"trt|tensorrt", "trtllm"),
    (r"deepspeed", "deepspeed"),
    (r"sglang", "sglang"),
    (r"jetstream|maxtext|google|tpu", "jetstream"),
)
"""Words in a row's framework that name its serving stack; vLLM otherwise."""
SMALLEST_BUCKET = 128
"""Shortest prompt a program is compiled for; buckets are powers of two."""
KINDS = {
    "ttft": "ttft",
    "prefill_latency": "ttft",
    "prefill_device_time_derived": "ttft",
    "tpot": "tpot",
    "tpot_derived": "tpot",
    "tpot_device_derived": "tpot",
    "latency_per_token": "tpot",
    "request_latency": "request",
    "request_latency_derived": "request",
    "output_throughput": "request",
    "throughput": "request",
    "throughput_per_chip": "request",
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


def row_stack(row: Any) -> str:
    """Serving stack of a row."""
    said = row_text(row, "framework").lower()
    return next((stack for pattern, stack in STACKS if re.search(pattern, said)), "vllm")


DEVICE = "_device_"
"""What is in the name of a metric that times the device alone, without the serving loop."""


def served_model(row: Any) -> Model:
    """The preset of a row's model where there is one, since rows do not print windows; else the row's own sizes."""
    known = known_model(row_text(row, "model"), row_number(row, "layers"), row_number(row, "hidden"))
    if known is not None:
        return known
    sizes = {name: getattr(row, name) for name in row._fields}
    return row_model(SimpleNamespace(**sizes, seq_len=row_number(row, "in_len", 1.0) + row_number(row, "out_len", 1.0)))


def padded_heads(model: Model, tp: int) -> Model:
    """`model` with its heads padded to a multiple of the ranks, as stacks do that shard whole heads."""
    runs = tuple(Run(dataclasses.replace(r.block, mixers=_padded(r.block.mixers, tp)), r.n) for r in model.runs)
    return dataclasses.replace(model, runs=runs)


def _padded(mixers: tuple[AbstractMixer, ...], tp: int) -> tuple[AbstractMixer, ...]:
    """`mixers` with heads that `tp` divides; other kinds than attention as they are."""
    found: list[AbstractMixer] = []
    for m in mixers:
        if isinstance(m, Attention) and m.n_heads % tp:
            # KV heads too, or copied where there are fewer than ranks: each rank holds the same whole number
            heads, kv_heads = (-(-n // tp) * tp for n in (m.n_heads, m.n_kv_heads))
            m = dataclasses.replace(m, n_heads=heads, n_kv_heads=kv_heads)
        elif isinstance(m, Latent) and m.n_heads % tp:
            m = dataclasses.replace(m, n_heads=-(-m.n_heads // tp) * tp)
        found.append(m)
    return tuple(found)


def row_storage(row: Any, chip: Chip) -> tuple[str, str]:
    """Format of most weights and precision of products; 4-bit weights meet 16-bit activations on chips without FP4."""
    said = weights_only(row_text(row, "precision")).lower()
    native = native_precisions(chip)
    weights = re.search(r"weights (\w+)", said)
    if weights and weights.group(1) in ("int8", "int4"):
        return weights.group(1), ""
    by_name = next((w for w in re.findall(r"\b(?:i?q\d\w+|nf4)\b", said) if w in storage_names()), "")
    if by_name or re.search(r"1\.58[ -]?bit|ternary", said):
        return by_name or "ternary", ""
    if re.search(r"fp4", said):
        return "nvfp4" if "nvfp4" in said else "mxfp4", "" if "fp4" in native else "bf16"
    if re.search(r"fp8|e4m3", said):
        return "fp8", ""
    if re.search(r"int4|w4a16|awq|gptq", said):
        return "int4", ""
    if re.search(r"w8a16|int8[ _-]*(weight|wo\b)", said):
        return "int8", ""
    if re.search(r"w8a8|int8|smoothquant", said):
        return "int8", "int8"
    if said and not re.search(SIXTEEN_BIT, said):
        raise SpecError(f"precision '{row_text(row, 'precision')}' is not known")
    return "bf16", ""


def checkpoint(narrow: str, model: Model, stack: str) -> tuple[str, str]:
    """Storage of all weights and of the cache where most weights are `narrow`.

    A maker's own checkpoint says which parts stay wide, and nothing of the cache. One narrowed later keeps embedding
    and head in 16 bit; floating-point weights bring scales for an FP8 cache, but fixed shapes use the maker's.
    Source: [vllm2025modelopt] reads modules left out and `kv_cache_quant_algo` from the checkpoint, which is FP8 or
    nothing; [nvidia2026trtllmquant] takes the cache's format from it too.
    """
    bits = n_element_bits(narrow)
    if bits == n_element_bits("bf16"):
        return narrow, "bf16"
    if n_element_bits(format_of(model.weight_format, "experts")) == bits:
        return model.weight_format, "bf16"
    kept = "fp8" if "fp" in narrow and stack not in FIXED_SHAPES else "bf16"
    wide = WIDE[2:] if re.match(WHOLE_FILE, narrow) else WIDE
    return ",".join((narrow, *(f"{p}=bf16" for p in wide))), kept


WHOLE_FILE = r"i?q\d"
"""Types of GGUF: bits of a whole file, tables included."""


SIXTEEN_BIT = r"bf16|fp16|float16|bfloat16|half|16[- ]?bit|not stated|default|auto|unknown"
"""Words for 16 bit, and for a precision that nobody chose."""


def row_plan(row: Any, batch: int) -> Plan:
    """The plan of a row; what it does not print is 1."""
    tp, pp, ep, dp = (max(int(row_number(row, n, 1)), 1) for n in ("tp", "pp", "ep", "dp"))
    # some stacks print as tensor ranks all ranks that share the experts, data ranks of attention included
    tp = max(tp // dp, 1) if dp > 1 and tp * pp * dp > 2 * row_number(row, "num_chips", 1) >= tp * pp else tp
    return Plan(tp=tp, pp=pp, dp=dp, micro_batch=max(batch // dp, 1), ep=min(ep, dp), sequence_parallel=False)


DRAWN = re.compile(r"(\d+)-(\d+) % of nominal")
"""How a row's note says that lengths of requests are drawn between two shares of those in its columns."""


def drawn_frac(row: Any) -> float:
    """Mean length of a row's requests over that in its columns: the middle of the range that its note gives."""
    found = DRAWN.search(row_text(row, "note"))
    return (float(found[1]) + float(found[2])) / 200 if found else 1.0


def lengths(row: Any, stack: str) -> tuple[int, int]:
    """Prompt that is computed and mean context of a token, as the stack lays them out."""
    prompt, out = (max(round(drawn_frac(row) * row_number(row, n, 1)), 1) for n in ("in_len", "out_len"))
    if stack in FIXED_SHAPES:  # a compiled program reads its whole bucket and cache, whatever is in them
        return max(SMALLEST_BUCKET, 2 ** math.ceil(math.log2(prompt))), prompt + out
    return prompt, prompt + max(out // 2, 1)


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
    lengths_ = ("in_len", "out_len") if kind == "request" else ("in_len",)
    needed = [n for n in ("num_chips", *lengths_, "layers", "hidden", "heads") if not row_number(row, n, 0) > 0]
    if not max(row_number(row, "batch", 0), row_number(row, "concurrency", 0)) > 0:
        needed.append("batch")
    if odd or needed:
        return odd or f"no {', '.join(needed)}"
    if "request_latency_derived" in others and metric in ("latency_per_token", "throughput"):
        return "request time over all tokens, in and out: said by the request's latency"
    if "throughput" in metric and others & {"ttft", "tpot", "latency_per_token", "request_latency"}:
        return "throughput of a point whose latencies are scored"
    if "round_latency" in others and kind != "ttft":
        return "passes write several tokens each (a round's time is printed): how many is in no column"
    return loops.why_not(row, kind, others)


def _seconds(row: Any, metric: str) -> float | None:
    """Measured time, from a throughput where that is printed; None for an unknown unit."""
    value, unit = float(row.value), row_text(row, "unit")
    if "throughput" in metric:
        said = rate(unit)
        if said is None or said.of == "steps" or value <= 0:
            return None
        each = drawn_frac(row) * row_number(row, "out_len") if said.of == "tokens" else 1.0
        chips = row_number(row, "num_chips") if said.per_chip or metric.endswith("chip") else 1.0
        # Little's law: requests at once over requests per second
        return (loops.n_clients(row) or row_number(row, "batch")) * each / (value * said.per_s * chips)
    return value * SECONDS[unit] if unit in SECONDS else None


def _lowered(
    row: Any, chip_name: str, system_name: str, stack: str
) -> tuple[System, list[tuple[Serving, Plan, StepDemand]]]:
    """The system as its ranks see it, and prompt and token of a row on it."""
    sequences, clients = int(row_number(row, "batch", 0)), int(loops.n_clients(row))
    closed = loops.n_clients(row) > 0
    # a program compiled for one batch runs all of it, whoever is there
    batch = sequences or clients if stack in FIXED_SHAPES else clients or sequences
    plan = row_plan(row, batch)
    n_chips, size, usual = row_number(row, "num_chips"), plan.tp * plan.pp * plan.dp, system_of(chip_name, system_name)
    per_chip = devices_per_chip(usual.chip, size, n_chips)
    if not per_chip:
        raise PlanError(f"tp*pp*dp = {size} is not the {n_chips:g} chips or their cores")
    system = per_device(usual, per_chip, size)
    model = padded_heads(served_model(row), plan.tp)
    prompt, context = lengths(row, stack)
    narrow, products = row_storage(row, system.chip)
    storage, cache = checkpoint(narrow, model, stack)
    # clients of a loop ask one after the other, so prompts come singly; a static batch is read in at once
    alone = dataclasses.replace(plan, micro_batch=1) if closed else plan
    prompts = Prefill(model, plan.dp if closed else batch, prompt, storage, cache, product_precision=products)
    token = Decode(model, batch, context, storage, cache, product_precision=products)
    if closed and stack not in FIXED_SHAPES:
        plan = dataclasses.replace(plan, micro_batch=loops.n_running(plan, token, system.chip))
        token = dataclasses.replace(token, batch=plan.micro_batch * plan.dp)
    both: list[tuple[Serving, Plan]] = [(prompts, alone), (token, plan)]
    ref = on_stack(chip_reference(system.chip, prior_calibration(chip_name)), stack)
    array = array_shape(system.chip.core.tensor)
    return system, [(w, p, pass_demand(w, p, system, array, ref)) for w, p in both]


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
        return Unmodelled(*label, found[0], why or f"unit '{row_text(row, 'unit')}' is no time or rate that is known")
    stack = row_stack(row)
    system, ((_, _, first), (token, plan, each)) = _lowered(row, *found, stack)
    n_prefill, n_decode = loops.n_passes(row, KINDS[metric], plan, drawn_frac(row) * row_number(row, "out_len", 1))
    # of a lone request the loop's own time is on the clock; beside others it is hidden behind the running batch
    if loops.n_clients(row) > 1:
        first = dataclasses.replace(first, n_requests=0.0, n_calls=0.0)
    if DEVICE in metric:
        first, each = (dataclasses.replace(d, n_requests=0.0, n_calls=0.0) for d in (first, each))
    held = memory_B(plan, token)
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
    metrics = rows.groupby("point_id")["metric"].agg(set).to_dict()
    typed: list[Any] = list(rows.itertuples(index=False))
    found = [inference_case(row, metrics[row.point_id] - {row.metric}) for row in typed]
    return [c for c in found if isinstance(c, Case)], [u for u in found if isinstance(u, Unmodelled)]
