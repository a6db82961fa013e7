"""From a published row to a demand on a chip, or the reason why not."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pandas as pd

from ..core.errors import DseError
from ..evaluation.assembly import chip_reference
from ..hardware.chip import Chip
from ..hardware.presets import system as preset_system
from ..hardware.system import Fabric, System, torus_slice
from ..lowering.activations import FUSED, Footprint, footprint
from ..lowering.demand import plan_demand
from ..lowering.headroom import usable_B
from ..lowering.memory import memory_B
from ..lowering.plan import Plan, n_micro_batches
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape
from ..physics.calibration import Calibration, prior_calibration
from ..workload.blocks import Block, Experts, Mlp, Run
from ..workload.mixers import Attention
from ..workload.transformer import Model, Training, total_parameters, uniform
from .measurements import peak_memory_B, step_s

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
    (r"mi210", "mi210", "mi210-4"),
    (r"mi250x", "mi250x", "mi250x-4"),
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
"""Year from which training stacks are taken to fuse attention [dao2022] and models to do without dropout."""


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
    measured_memory_B: float = math.nan
    """Peak memory of a chip, where it was measured."""
    calibrates: bool = True
    """Whether fits may learn from it: not where part of what ran, or of what was timed, is presumed."""


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


def row_number(row: Any, name: str, default: float = math.nan) -> float:
    """The number in a column of a row; `default` where it is absent or text."""
    value = getattr(row, name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return default if math.isnan(number) else number


def row_text(row: Any, name: str) -> str:
    """The text in a column of a row; empty where it is absent."""
    value = getattr(row, name, "")
    return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)


def _score_width(model: Model) -> int:
    """Width of all query heads of the attention, 0 without any."""
    return model.attention.n_heads * model.attention.head_dim if model.attention else 0


DEFAULT_VOCAB = 51200
"""Vocabulary where a row prints none: GPT-2's, padded as in Megatron."""


def row_model(row: Any) -> Model:
    """The model of a row. The MLP is gated if that brings the parameter count nearer to the printed one."""
    hidden, layers, heads = (int(row_number(row, n)) for n in ("hidden", "layers", "heads"))
    kv = int(row_number(row, "kv_heads", heads))
    ffn = int(row_number(row, "ffn_hidden", 4 * hidden))
    n_experts = int(row_number(row, "experts", 0))
    causal = "bert" not in row_text(row, "model").lower()
    attention = Attention(heads, kv, int(row_number(row, "head_dim", hidden // heads)), causal=causal)

    def blocks(n_matrices: int) -> tuple[Run, ...]:
        feed = Mlp(ffn, n_matrices)
        if n_experts > 1:
            feed = Experts(n_experts, int(row_number(row, "active_experts", 2)), ffn, n_matrices=n_matrices)
        return uniform(Block((attention,), feed), layers)

    base = Model(
        name=row_text(row, "model"), hidden=hidden, vocab=int(row_number(row, "vocab", DEFAULT_VOCAB)), runs=blocks(3),
        tied_embeddings=False, norm_passes=4, max_context=int(row_number(row, "seq_len")),
    )  # fmt: skip
    dropout = row_number(row, "year", FUSED_SINCE) < FUSED_SINCE
    plain = dataclasses.replace(base, runs=blocks(2), norm_passes=6, tied_embeddings=True, dropout=dropout)
    printed = row_number(row, "params_B") * 1e9
    if math.isnan(printed):
        return plain if ffn == 4 * hidden else base
    return min((base, plain), key=lambda m: abs(math.log(total_parameters(m) / printed)))


def row_precision(row: Any) -> str:
    """Precision of the linear layers: 16 bit unless the row says FP8, INT8 or FP4."""
    text = row_text(row, "precision").lower()
    if "fp4" in text or "nvfp4" in text:
        return "fp4"
    return "fp8" if re.search(r"fp8|int8|f8", text) else "bf16"


OFFLOADS = r"offload|remat_policy=custom"
"""Words in a row's note that say activations wait in host memory; MaxText's custom policies list which."""


def row_plan(row: Any, devices: int) -> Plan:
    """The plan of a row; what it does not print is taken as its stack's usual choice.

    Recomputation defaults to the scores alone, sequence parallelism to on, optimizer states to sharded.
    """
    tp, pp, cp, ep = (max(int(row_number(row, n, 1)), 1) for n in ("tp", "pp", "cp", "ep"))
    dp = int(row_number(row, "dp", 0)) or max(devices // (tp * pp * cp), 1)
    batch = int(row_number(row, "global_batch"))
    micro = int(row_number(row, "micro_batch", 0)) or max(batch // dp, 1)
    recompute = row_text(row, "recompute").lower()
    zero = int(row_number(row, "zero_stage", 1 if dp > 1 else 0))
    return Plan(
        tp=tp, pp=pp, dp=dp, micro_batch=micro, interleave=max(int(row_number(row, "virtual_pp", 1)), 1), zero=zero,
        recompute=recompute if recompute in ("none", "selective", "full") else "selective", cp=cp, ep=ep,
        sequence_parallel=row_text(row, "sequence_parallel").lower() not in ("no", "false", "0"),
        offload=bool(re.search(OFFLOADS, row_text(row, "note").lower())),
    )  # fmt: skip


def row_workload(row: Any) -> Training:
    """The workload of a row."""
    fused = row_number(row, "year", FUSED_SINCE) >= FUSED_SINCE
    batch, sequence = (int(row_number(row, n)) for n in ("global_batch", "seq_len"))
    return Training(row_model(row), batch, sequence, row_precision(row), fused_attention=fused)


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
    for text in (row_text(row, "framework"), row_text(row, "source"), row_text(row, "note")):
        found = next((stack for pattern, stack in STACKS if re.search(pattern, text.lower())), None)
        if found:
            return found
    return "megatron"


SOFTWARE = {"nanotron": "eager", "xla": "compiled", "neuron": "compiled"}
"""Kind of software, as in the footprints, of the stacks that are not hand-fused."""


FLOP_FORMULA = r"\b6n \+ full\b.*attention"
"""A FLOP count that a row's own convention prints in full: 6 per weight and token, attention without a mask."""


def rated_step_s(point: pd.DataFrame) -> float | None:
    """Step time behind a printed FLOP rate, for rows whose convention says which FLOP were counted; else None.

        t = T (6 N + 12 l a d s) / (chips R)

    with T tokens of a step, N weights, l layers, a heads of width d, s the sequence and R FLOP/s per chip. Other
    rates are left alone: conventions differ by up to a half.

    Source: [narayanan2021megatron] appendix for the count, as the row states it.
    """
    row: Any = next(iter(point.itertuples()))
    rates = point.loc[(point.metric == "tflops_per_chip") & (point.unit == "TFLOP/s"), "value"]
    if rates.empty or not re.search(FLOP_FORMULA, row_text(row, "mfu_convention").lower()):
        return None
    m, w = row_model(row), row_workload(row)
    per_token = 6 * total_parameters(m) + 12 * m.n_layers * _score_width(m) * w.sequence
    tflop = w.global_batch * w.sequence * per_token / TERA
    return tflop / (row_number(row, "num_chips") * float(rates.iloc[0]))


TERA = 1e12
"""What a TFLOP is."""


NETWORKS: tuple[tuple[str, str, str], ...] = ((r"omni-?path", "a100-80", "jean-zay-a100"),)
"""Words in a row's note that name a network, chip preset, and the system with that network."""


SLICED = ("tpu-v4", "tpu-v5p", "tpu-v7")
"""Chips whose pods are cut into tori by optical switches."""


def row_system(row: Any, chip: str, usual: str) -> System:
    """System of a row: its chip's usual one, or one whose network the row's own note names, cut into its slices."""
    note = row_text(row, "note").lower()
    named = [s for pattern, c, s in NETWORKS if re.search(pattern, note) and c == chip]
    system = preset_system(named[0] if named else usual)
    if chip not in SLICED:
        return system
    slices = re.search(r"(\d+) slice", note)
    return torus_slice(system, int(row_number(row, "num_chips")) // (int(slices.group(1)) if slices else 1))


def training_case(point: pd.DataFrame) -> Case | Unmodelled:
    """One training point as a case, or why it cannot be one."""
    row: Any = next(iter(point.itertuples()))
    label = (str(row.point_id), row_text(row, "source"))
    found = preset_for(row_text(row, "chip"))
    if found is None:
        return Unmodelled(*label, row_text(row, "chip"), f"no preset for chip '{row_text(row, 'chip')}'")
    needed = [
        n
        for n in ("layers", "hidden", "heads", "seq_len", "global_batch", "num_chips")
        if not row_number(row, n, 0) > 0
    ]
    if needed:
        return Unmodelled(*label, found[0], f"no {', '.join(needed)}")
    measured = step_s(point) or rated_step_s(point)
    if measured is None:
        return Unmodelled(*label, found[0], "no step time or throughput")
    n_chips = int(row_number(row, "num_chips"))
    try:
        plan = row_plan(row, n_chips)
        size = plan.tp * plan.pp * plan.cp * plan.dp
        per_chip = size // n_chips if size % n_chips == 0 and size // n_chips in (1, 2) else 1
        if size != n_chips * per_chip:
            return Unmodelled(*label, found[0], f"tp*pp*cp*dp = {size} is not the {n_chips} chips or twice as many")
        workload, stack = row_workload(row), row_stack(row)
        if n_micro_batches(plan, workload) < 1:
            return Unmodelled(*label, found[0], f"global batch {workload.global_batch} below dp x micro batch")
        system = per_device(row_system(row, *found), per_chip, n_chips * per_chip)
        plan, software = fitting(plan, workload, system.chip, stack, bool(row_text(row, "recompute")))
        demand = lower(workload, plan, system, prior_calibration(found[0]), software)
    except DseError as error:
        return Unmodelled(*label, found[0], str(error))
    peak_B = peak_memory_B(point, stack)
    return Case(*label, found[0], stack, measured, demand, system.chip, math.nan if peak_B is None else peak_B)


def fitting(plan: Plan, workload: Training, chip: Chip, stack: str, printed: bool) -> tuple[Plan, Footprint]:
    """Plan and footprint of a run, with what it does not print chosen so that it fits, since it ran.

    Software that may keep gathered inputs keeps them where they fit, and a plan whose recomputation is not `printed`
    recomputes everything where nothing less fits.
    """
    usual = footprint(SOFTWARE.get(stack, "fused"))
    softwares = (usual, dataclasses.replace(usual, n_gathered_inputs=0.0))
    ways = (plan,) if printed else (plan, dataclasses.replace(plan, recompute="full"))
    room = float(usable_B(chip))
    fits = ((p, s) for p in ways for s in softwares if memory_B(p, workload, s).total <= room)
    return next(fits, (plan, usual))


def lower(workload: Training, plan: Plan, system: System, c: Calibration, software: Footprint = FUSED) -> StepDemand:
    """Demand of a plan that ran, whatever `check_plan` would say of it."""
    array = array_shape(system.chip.core.tensor)
    d = plan_demand(workload, plan, system, array, chip_reference(system.chip, c))
    return dataclasses.replace(d, memory_B=memory_B(plan, workload, software).total)


def training_cases(rows: pd.DataFrame) -> tuple[list[Case], list[Unmodelled]]:
    """All points of a training table."""
    found = [training_case(point) for _, point in rows.groupby("point_id", sort=False)]
    return [c for c in found if isinstance(c, Case)], [c for c in found if isinstance(c, Unmodelled)]
