"""From a published row to a demand on a chip, or the reason why not."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pandas as pd

from ..core.errors import DseError
from ..hardware.chip import Chip
from ..hardware.presets import system as preset_system
from ..hardware.system import Fabric, System
from ..mapping.plan import Plan, n_micro_batches
from ..mapping.tiling import array_shape
from ..objective.metrics import chip_reference
from ..performance.calibration import Calibration, prior_calibration
from ..performance.coefficients import StepDemand
from ..performance.demand import plan_demand
from ..workload.transformer import Experts, Model, Training, total_parameters
from .measurements import step_seconds

CHIPS: tuple[tuple[str, str, str], ...] = (
    (r"trainium1|trn1", "trainium1", "trn1-16"),
    (r"trainium2|trn2", "trainium2", "trn2-16"),
    (r"trainium3|trn3", "trainium3", "trn3-gen2-144"),
    (r"inferentia2", "inferentia2", "inf2-48xlarge"),
    (r"a100.*40", "a100-40", "dgx-a100-40"),
    (r"a100", "a100-80", "dgx-a100"),
    (r"h800", "h800", "dgx-h800"),
    (r"gh200|h200", "h200", "hgx-h200"),
    (r"h100", "h100", "dgx-h100"),
    (r"gb300", "gb300", "gb300-nvl72"),
    (r"gb200", "gb200", "gb200-nvl72"),
    (r"b300", "b300", "hgx-b300"),
    (r"b200", "b200", "hgx-b200"),
    (r"mi300x", "mi300x", "mi300x-8"),
    (r"mi325x", "mi325x", "mi325x-8"),
    (r"mi355x", "mi355x", "mi355x-8"),
    (r"v5e", "tpu-v5e", "tpu-v5e-256"),
    (r"v5p", "tpu-v5p", "tpu-v5p-8960"),
    (r"v6e|trillium", "tpu-v6e", "tpu-v6e-256"),
    (r"tpu ?7|v7|ironwood", "tpu-v7", "tpu-v7-9216"),
    (r"tpu v4", "tpu-v4", "tpu-v4-4096"),
    (r"tpu v3", "tpu-v3", "tpu-v3-32"),
    (r"gaudi ?2", "gaudi2", "gaudi2-8"),
    (r"gaudi ?3", "gaudi3", "gaudi3-8"),
)
"""Pattern in a chip's published name, preset and system; the first that matches counts."""

FUSED_SINCE = 2023
"""Year from which training stacks are taken to fuse attention [dao2022]."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement ready to be predicted."""

    point_id: str
    """Identifier of the measurement."""
    source: str
    """Who published it."""
    chip_name: str
    """Preset."""
    stack: str
    """Software stack."""
    measured_s: float
    """What was measured."""
    demand: Any
    """What the model is asked."""
    chip: Chip
    """On what, names left in place."""


@dataclasses.dataclass(frozen=True)
class Unmodelled:
    """A measurement that cannot be predicted."""

    point_id: str
    """Identifier of the measurement."""
    source: str
    """Who published it."""
    chip_name: str
    """As published."""
    why: str
    """The reason, in words."""


def preset_for(published: str) -> tuple[str, str] | None:
    """Chip preset and system of a published chip name."""
    lower = published.lower()
    return next(((chip, system) for pattern, chip, system in CHIPS if re.search(pattern, lower)), None)


def _number(row: Any, name: str, default: float = math.nan) -> float:
    value = getattr(row, name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return default if math.isnan(number) else number


def _text(row: Any, name: str) -> str:
    value = getattr(row, name, "")
    return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)


DEFAULT_VOCAB = 51200
"""Vocabulary where a row prints none: GPT-2's, padded as in Megatron."""


def row_model(row: Any) -> Model:
    """The model of a row. The MLP is gated if that brings the parameter count nearer to the printed one."""
    hidden, layers, heads = (int(_number(row, n)) for n in ("hidden", "layers", "heads"))
    kv = int(_number(row, "kv_heads", heads))
    ffn = int(_number(row, "ffn_hidden", 4 * hidden))
    n_experts = int(_number(row, "experts", 0))
    experts = None
    if n_experts > 1:
        experts = Experts(n_experts, int(_number(row, "active_experts", 2)), ffn)
    base = Model(
        name=_text(row, "model"), n_layers=layers, hidden=hidden, n_heads=heads, n_kv_heads=kv,
        head_dim=int(_number(row, "head_dim", hidden // heads)), ffn=ffn,
        vocab=int(_number(row, "vocab", DEFAULT_VOCAB)),
        n_mlp_matrices=3, tied_embeddings=False, norm_passes=4, max_context=int(_number(row, "seq_len")),
        experts=experts, causal="bert" not in _text(row, "model").lower(),
    )  # fmt: skip
    plain = dataclasses.replace(base, n_mlp_matrices=2, norm_passes=6, tied_embeddings=True)
    printed = _number(row, "params_B") * 1e9
    if math.isnan(printed):
        return plain if ffn == 4 * hidden else base
    return min((base, plain), key=lambda m: abs(math.log(total_parameters(m) / printed)))


def row_precision(row: Any) -> str:
    """Precision of the linear layers: 16 bit unless the row says FP8, INT8 or FP4."""
    text = _text(row, "precision").lower()
    if "fp4" in text or "nvfp4" in text:
        return "fp4"
    return "fp8" if re.search(r"fp8|int8|f8", text) else "bf16"


def row_plan(row: Any, devices: int) -> Plan:
    """The plan of a row; what it does not print is taken as its stack's usual choice.

    Recomputation defaults to the scores alone, sequence parallelism to on, optimizer states to sharded.
    """
    tp, pp, cp, ep = (max(int(_number(row, n, 1)), 1) for n in ("tp", "pp", "cp", "ep"))
    dp = int(_number(row, "dp", 0)) or max(devices // (tp * pp * cp), 1)
    batch = int(_number(row, "global_batch"))
    micro = int(_number(row, "micro_batch", 0)) or max(batch // dp, 1)
    recompute = _text(row, "recompute").lower()
    zero = int(_number(row, "zero_stage", 1 if dp > 1 else 0))
    return Plan(
        tp=tp, pp=pp, dp=dp, micro_batch=micro, interleave=max(int(_number(row, "virtual_pp", 1)), 1), zero=zero,
        recompute=recompute if recompute in ("none", "selective", "full") else "selective", cp=cp, ep=ep,
        sequence_parallel=_text(row, "sequence_parallel").lower() not in ("no", "false", "0"),
    )  # fmt: skip


def per_device(system: System, per_chip: int, n_devices: int) -> System:
    """`system` cut into devices of 1/per_chip of a chip, as frameworks that count cores see it.

    The cores of a chip become the innermost axis, as fast as the chip's outward links together (a guess).
    """
    if per_chip == 1:
        return dataclasses.replace(system, n_chips=n_devices)
    c, k = system.chip, float(per_chip)
    chip = dataclasses.replace(
        c, n_cores=c.n_cores / k, n_stacks=c.n_stacks / k, hbm_bandwidth_Bps=c.hbm_bandwidth_Bps / k,
        hbm_capacity_B=c.hbm_capacity_B / k, scaleup_bandwidth_per_dir_Bps=2 * c.scaleup_bandwidth_per_dir_Bps / k,
        scaleout_bandwidth_per_dir_Bps=c.scaleout_bandwidth_per_dir_Bps / k,
    )  # fmt: skip
    fabric = system.fabric
    if fabric.kind == "switched":
        return System(system.name, chip, dataclasses.replace(fabric, dims=(fabric.n_chips * per_chip,)), n_devices)
    shares = (0.5, *(0.5 * s for s in fabric.axis_share))
    return System(system.name, chip, Fabric("torus", (per_chip, *fabric.dims), shares), n_devices)


STACKS: tuple[tuple[str, str], ...] = (
    (r"nanotron", "nanotron"),
    (r"mosaic|llm-foundry|fsdp|torchtitan", "fsdp"),
    (r"maxtext|google|jax|xla|tpu", "xla"),
    (r"neuron|neuronx", "neuron"),
)
"""Words in a row's framework, source or note that name its software stack; Megatron and its kin otherwise."""


def row_stack(row: Any) -> str:
    """Software stack of a row: its framework if it names one, else what its source and note say."""
    for text in (_text(row, "framework"), _text(row, "source"), _text(row, "note")):
        found = next((stack for pattern, stack in STACKS if re.search(pattern, text.lower())), None)
        if found:
            return found
    return "megatron"


NETWORKS: tuple[tuple[str, str, str], ...] = ((r"omni-?path", "a100-80", "jean-zay-a100"),)
"""Words in a row's note that name a network, chip preset, and the system with that network."""


def row_system(row: Any, usual: str) -> str:
    """System of a row: its chip's usual one, or one whose network the row's own note names."""
    note = _text(row, "note").lower()
    named = [s for pattern, chip, s in NETWORKS if re.search(pattern, note) and preset_system(s).chip.name == chip]
    return named[0] if named else usual


def training_case(point: pd.DataFrame) -> Case | Unmodelled:
    """One training point as a case, or why it cannot be one."""
    row: Any = next(iter(point.itertuples()))
    label = (str(row.point_id), _text(row, "source"))
    found = preset_for(_text(row, "chip"))
    if found is None:
        return Unmodelled(*label, _text(row, "chip"), f"no preset for chip '{_text(row, 'chip')}'")
    measured = step_seconds(point)
    needed = [
        n for n in ("layers", "hidden", "heads", "seq_len", "global_batch", "num_chips") if not _number(row, n, 0) > 0
    ]
    if measured is None or needed:
        why = f"no {', '.join(needed)}" if needed else "no step time or throughput"
        return Unmodelled(*label, found[0], why)
    n_chips = int(_number(row, "num_chips"))
    try:
        plan = row_plan(row, n_chips)
        size = plan.tp * plan.pp * plan.cp * plan.dp
        per_chip = size // n_chips if size % n_chips == 0 and size // n_chips in (1, 2) else 1
        if size != n_chips * per_chip:
            return Unmodelled(*label, found[0], f"tp*pp*cp*dp = {size} is not the {n_chips} chips or twice as many")
        workload = Training(
            row_model(row), int(_number(row, "global_batch")), int(_number(row, "seq_len")), row_precision(row),
            fused_attention=_number(row, "year", FUSED_SINCE) >= FUSED_SINCE,
        )  # fmt: skip
        if n_micro_batches(plan, workload) < 1:
            return Unmodelled(*label, found[0], f"global batch {workload.global_batch} below dp x micro batch")
        system = per_device(preset_system(row_system(row, found[1])), per_chip, n_chips * per_chip)
        demand = lower(workload, plan, system, prior_calibration(found[0]))
    except DseError as error:
        return Unmodelled(*label, found[0], str(error))
    return Case(*label, found[0], row_stack(row), measured, demand, system.chip)


def lower(workload: Training, plan: Plan, system: System, c: Calibration) -> StepDemand:
    """Demand of a plan that ran, whatever `check_plan` would say of it."""
    array = array_shape(system.chip.core.tensor)
    return plan_demand(workload, plan, system, array, chip_reference(system.chip, c))


def training_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """All points of a training table."""
    found = [training_case(point) for _, point in rows.groupby("point_id", sort=False)]
    return [c for c in found if isinstance(c, Case)], [c for c in found if isinstance(c, Unmodelled)]
