"""`Plan`, how a workload is parallelised (TP, PP, DP, CP, EP, ZeRO, recomputation); parsing, checks, enumeration."""

from __future__ import annotations

import dataclasses
import itertools

from ..core.errors import PlanError
from ..core.frames import AbstractShown
from ..core.takes import takes
from ..hardware.devices import core_counts
from ..hardware.system import System
from ..workload.transformer import Model, Serving, Training, Workload
from . import plan_sizes
from .plan_keys import KEYS, RECOMPUTE, check_value, read_pairs, written

MICRO_BATCHES = (1, 2, 4, 8)
"""Micro batches that the enumeration tries."""


@dataclasses.dataclass(frozen=True)
class Plan(AbstractShown):
    """How a workload is parallelised and scheduled [shoeybi2019], [narayanan2021megatron]."""

    tp: int = 1
    """Tensor-parallel ranks."""
    pp: int = 1
    """Pipeline stages."""
    dp: int = 1
    """Data-parallel replicas."""
    micro_batch: int = 1
    """Sequences per micro batch (training); sequences per replica, set by the batch (inference)."""
    interleave: int = 1
    """Virtual pipeline stages per device; 1 is plain 1F1B."""
    zero: int = 1
    """ZeRO stage, one of `plan_keys.ZERO`."""
    recompute: str = "selective"
    """One of `plan_keys.RECOMPUTE`."""
    cp: int = 1
    """Context-parallel ranks: each has a part of every sequence."""
    ep: int = 1
    """Expert-parallel ranks, a subset of the data-parallel ranks: each has a part of the experts."""
    sequence_parallel: bool = True
    """Whether norms and residuals are split over tensor ranks (all-gather, reduce-scatter instead of all-reduce)."""
    schedule: str = "1f1b"
    """One of `plan_keys.SCHEDULES`."""
    order: str = "turn"
    """One of `plan_keys.ORDERS`."""
    offload: bool = False
    """Whether activations wait in host memory, with full recomputation the inputs of layers and results of mixers'
    products; the traffic is assumed to be hidden."""
    recompute_frac: float = 1.0
    """Share of a stage's layers with full recomputation; the others keep their activations."""
    n_copies: int = 1
    """Copies of sharded states (hybrid sharding): each is sharded over a slice or node, and gradients are summed
    between copies."""

    def __str__(self) -> str:
        """Text that `parse_plan` reads."""
        return plan_text(self)


_FIELDS = {"micro": "micro_batch"} | {f.name: f.name for f in dataclasses.fields(Plan) if f.name != "micro_batch"}


@takes(text=str)
def parse_plan(text: str) -> Plan:
    """The plan of a text such as `tp=8,pp=4,dp=2,micro=1,interleave=2,zero=1,recompute=full`; missing keys: defaults.

    >>> parse_plan("tp=8,dp=4").dp
    4

    Raises:
        PlanError: an unknown or repeated key, or a value out of range; names the key and the allowed values.
    """
    return Plan(**{_FIELDS[k]: v for k, v in read_pairs(text).items()})  # type: ignore[arg-type]


def plan_text(plan: Plan) -> str:
    """`plan` as a text for `parse_plan`: sizes and micro batch always, other keys if not the default."""
    default = Plan()
    pairs = {k: (getattr(plan, _FIELDS[k]), getattr(default, _FIELDS[k])) for k in KEYS}
    return ",".join(written(k, v) for k, (v, usual) in pairs.items() if k in KEYS[:4] or v != usual)


def layers_per_stage(plan: Plan, model: Model) -> int:
    """Layers of the heaviest pipeline stage: ceil(n_layers / pp)."""
    return -(-model.n_layers // plan.pp)


def idle_frac(layers: float, n_layers: int, n_stages: int) -> float:
    """Layers of the mean stage besides the slowest, which has `layers`, over these; 1 without a pipeline."""
    return 1.0 if n_stages == 1 else (n_layers - layers) / (n_stages - 1) / layers


def n_forward_runs(plan: Plan) -> float:
    """Forward passes of a layer per micro batch, mean over layers. Source: [korthikanti2022] section 5."""
    # what "selective" repeats is among the products of attention (`training_ops`), and no run of a layer
    return 1.0 + plan.recompute_frac if plan.recompute == "full" else 1.0


def n_micro_batches(plan: Plan, training: Training) -> int:
    """Micro batches per step and replica: global_batch / (dp micro_batch)."""
    # exact where `check_plan` has passed: it refuses a rest
    return training.global_batch // (plan.dp * plan.micro_batch)


def _size_rule(plan: Plan, system: System) -> plan_sizes.Rule:
    product = plan.tp * plan.cp * plan.pp * plan.dp
    sizes = f"tp*pp*dp = {plan.tp}*{plan.pp}*{plan.dp}"
    if plan.cp > 1:
        sizes = f"tp*cp*pp*dp = {plan.tp}*{plan.cp}*{plan.pp}*{plan.dp}"
    # a fact of a file, which thousands of plans that fit need not ask for
    counts = core_counts(system.chip) if product != system.n_chips else ()
    cores = [f"{n * system.n_chips} ({n} a chip)" for n in counts]
    or_cores = f"; ranks are chips, or all of their logical cores: {' or '.join(cores)}" if cores else ""
    return product == system.n_chips, f"{sizes} = {product}, but {system.name} has {system.n_chips} chips{or_cores}"


def _training_rules(plan: Plan, training: Training) -> list[plan_sizes.Rule]:
    """Divisibility rules of stages, virtual stages and micro batches in training."""
    model, batch, v = training.model, training.global_batch, plan.interleave
    per_stage, n_micro = layers_per_stage(plan, model), n_micro_batches(plan, training)
    replica = plan.dp * plan.micro_batch
    experts = model.experts.n_experts if model.experts else 1
    return [
        (training.sequence % plan.cp == 0, f"cp={plan.cp} does not divide the sequence of {training.sequence}"),
        (experts % plan.ep == 0, f"ep={plan.ep} does not divide the {experts} experts of {model.name}"),
        (
            # experts spread over replicas and context ranks alike: both hold all weights
            (plan.dp * plan.cp) % plan.ep == 0,
            f"ep={plan.ep} does not divide dp*cp = {plan.dp}*{plan.cp} = {plan.dp * plan.cp}",
        ),
        (plan.pp <= model.n_layers, f"pp={plan.pp} exceeds the {model.n_layers} layers of {model.name}"),
        (
            batch % replica == 0,
            f"global batch {batch} is not a multiple of dp*micro = {plan.dp}*{plan.micro_batch} = {replica}",
        ),
        (v == 1 or plan.pp > 1, f"interleave={v} needs pp > 1; use interleave=1"),
        (per_stage % v == 0, f"interleave={v} does not divide the {per_stage} layers of a stage (pp={plan.pp})"),
        (
            v == 1 or n_micro % plan.pp == 0,
            f"interleave={v} needs micro batches in multiples of pp={plan.pp}, got {n_micro}",
        ),
    ]


def _serving_rules(plan: Plan, workload: Serving) -> list[plan_sizes.Rule]:
    """Divisibility rules of batch, experts and stages in inference."""
    model, batch = workload.model, workload.batch
    per_replica = batch // plan.dp
    experts = model.experts.n_experts if model.experts else 1
    return [
        (plan.pp <= model.n_layers, f"pp={plan.pp} exceeds the {model.n_layers} layers of {model.name}"),
        (plan.interleave == 1, f"interleave={plan.interleave}: inference has no virtual stages; use interleave=1"),
        (experts % plan.ep == 0, f"ep={plan.ep} does not divide the {experts} experts of {model.name}"),
        (plan.dp % plan.ep == 0, f"ep={plan.ep} does not divide dp={plan.dp}; experts spread over replicas"),
        (batch % plan.dp == 0, f"batch {batch} is not a multiple of dp={plan.dp}"),
        (
            # 1 is also what a plan has that says nothing: the batch decides then
            plan.micro_batch in (1, per_replica),
            f"micro={plan.micro_batch}, but batch {batch} over dp={plan.dp} gives {per_replica}; omit micro",
        ),
    ]


def check_values(plan: Plan) -> None:
    """PlanError for a value that its field never has: a plan made in code has passed no parser."""
    for key in KEYS:
        check_value(key, getattr(plan, _FIELDS[key]))


def check_plan(plan: Plan, workload: Workload, system: System) -> None:
    """PlanError with the first rule that fails, unless the plan divides model, batch and system.

    Source: [narayanan2021megatron] section 2: interleaved schedules need micro batches in multiples of the stages;
    [shoeybi2019] section 3: heads and MLP columns over tensor ranks.
    """
    check_values(plan)
    rules = [_size_rule(plan, system), *plan_sizes.tensor_rules(plan.tp, workload.model, system)]
    if isinstance(workload, Training):
        rules += _training_rules(plan, workload)
    else:
        rules += _serving_rules(plan, workload)
    for holds, why in rules:
        if not holds:
            raise PlanError(f"plan {plan_text(plan)}: {why}")


def _training_plans(workload: Training, system: System, max_micro_batch: int) -> list[Plan]:
    """All valid training plans within the enumeration's limits."""
    found: list[Plan] = []
    model, micros = workload.model, [m for m in MICRO_BATCHES if m <= max_micro_batch]
    for tp, pp, dp, cp in plan_sizes.training_sizes(workload, system):
        per_stage = -(-model.n_layers // pp)
        # a list: every micro batch goes through it again
        splits = list(itertools.product(plan_sizes.shardings(model, pp, dp * cp), plan_sizes.expert_sizes(model, dp)))
        for micro in micros:
            n_micro, rest = divmod(workload.global_batch, dp * micro)
            if rest or not n_micro:  # a ragged last micro batch would leave replicas waiting
                continue
            choices = itertools.product(plan_sizes.interleaves(per_stage, pp, n_micro), RECOMPUTE, splits)
            found += [Plan(tp, pp, dp, micro, v, zero, r, cp, ep) for v, r, (zero, ep) in choices]
    return found


@takes(workload=Workload, system=System)
def plans(workload: Workload, system: System, *, max_micro_batch: int = 8, streams: bool = False) -> list[Plan]:
    """All valid plans of `workload` on `system` that are worth trying, not checked for memory; [] if there is none.

    Training enumerates tensor and pipeline sizes, interleaving and recomputation within the limits of `plan_sizes`,
    micro batches up to `max_micro_batch`, context ranks for long sequences and expert ranks in powers of two. Optimizer
    states are sharded over replicas: less memory for the same traffic [rajbhandari2020zero]; models with experts also
    try ZeRO-3 without a pipeline. `streams` adds every plan with prefetching (`order="stream"`).
    """
    if isinstance(workload, Training):
        found = _training_plans(workload, system, max_micro_batch)
    else:
        sizes = plan_sizes.serving_sizes(workload, system)
        found = [Plan(tp, pp, dp, workload.batch // dp, cp=cp, ep=ep) for tp, pp, dp, cp, ep in sizes]
    return [*found, *(dataclasses.replace(p, order="stream") for p in found)] if streams else found
