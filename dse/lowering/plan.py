"""Who does which part of the work: discrete choices [shoeybi2019], [narayanan2021megatron]."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import re

from ..core.errors import PlanError
from ..core.frames import AbstractShown
from ..hardware.system import System
from ..workload.blocks import Experts
from ..workload.transformer import Decode, Model, Serving, Training, Workload
from .mixer_ops import mixer_rules

RECOMPUTE = ("none", "selective", "full")
"""What the backward pass computes again: nothing, the attention scores, the whole layer."""
ZERO = (0, 1, 2, 3)
"""What is sharded over replicas: nothing, optimizer states, gradients too, weights too (FSDP)."""
SCHEDULES = ("1f1b", "zb")
"""Pipeline schedules: one forward one backward, and zero bubble (weight gradients fill the drain)."""
ORDERS = ("turn", "stream")
"""How operators of a block follow each other: in turn, or as one stream that reads ahead where SRAM has room."""
MICRO_BATCHES = (1, 2, 4, 8)
"""Micro batches that the enumeration tries."""
MAX_TRAINING_TP = 64
"""Widest tensor parallelism that the enumeration tries for training."""
MAX_INTERLEAVE = 8
MAX_EP = 64
MAX_CP = 64
MAX_SERVING_PP = 8
LONG_SEQUENCE = 32768
"""Tokens from which the enumeration tries context parallelism."""


@dataclasses.dataclass(frozen=True)
class Plan(AbstractShown):
    """Who does which part of the work."""

    tp: int = 1
    """Tensor-parallel ranks; the norms between are split over the sequence."""
    pp: int = 1
    """Pipeline stages."""
    dp: int = 1
    """Data-parallel replicas."""
    micro_batch: int = 1
    """Sequences per micro batch (training); sequences per replica (inference, where it follows from the batch)."""
    interleave: int = 1
    """Virtual stages per device; 1 is plain 1F1B."""
    zero: int = 1
    """One of `ZERO`."""
    recompute: str = "selective"
    """One of `RECOMPUTE`."""
    cp: int = 1
    """Context-parallel ranks: each holds a part of every sequence."""
    ep: int = 1
    """Expert-parallel ranks, among the data-parallel ones: each holds a part of the experts."""
    sequence_parallel: bool = True
    """Whether norms and residuals are split over tensor ranks, with gathers and scatters instead of all-reduces."""
    schedule: str = "1f1b"
    """One of `SCHEDULES`."""
    order: str = "turn"
    """One of `ORDERS`."""
    offload: bool = False
    """Whether what layers keep for the backward pass waits in host memory; its traffic is taken as hidden."""
    recompute_frac: float = 1.0
    """Share of a stage's layers that full recomputation repeats: software may spare the layers that fit."""
    n_copies: int = 1
    """Copies of sharded states: with more than one, each is sharded over neighbours (a slice or a node) and gradients
    are summed between copies (hybrid sharding)."""

    def __str__(self) -> str:
        """As `parse_plan` reads it."""
        return plan_text(self)


_FIELDS = {"micro": "micro_batch"} | {f.name: f.name for f in dataclasses.fields(Plan) if f.name != "micro_batch"}
_WORDS = {"recompute": RECOMPUTE, "schedule": SCHEDULES, "order": ORDERS}
_KEYS = ("tp", "pp", "dp", "micro", "interleave", "zero", "recompute", "cp", "ep", "schedule", "order")
"""Keys in the order in which plan text shows them."""


def _near(word: str, known: tuple[str, ...]) -> str:
    """The nearest of `known` as a question, or nothing."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _check_field(key: str, value: object) -> None:
    """PlanError unless `value` is in the range of the field behind `key`, whatever model or system."""
    if key in _WORDS:
        if value not in _WORDS[key]:
            near = _near(str(value), _WORDS[key])
            raise PlanError(f"plan: {key}={value} is not one of {', '.join(_WORDS[key])}{near}")
    elif key == "zero":
        if isinstance(value, bool) or value not in ZERO:
            raise PlanError(f"plan: zero={value} is not one of {', '.join(map(str, ZERO))}")
    elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PlanError(f"plan: {key}={value} is not allowed; give a whole number, at least 1")


def _pair(part: str) -> tuple[str, int | str]:
    """Key and value of one `key=value`, or PlanError."""
    key, equals, text = (s.strip() for s in part.partition("="))
    if not equals:
        raise PlanError(f"plan: '{part.strip()}' is not key=value; write for example tp=8,pp=4,dp=2")
    if key not in _KEYS:
        raise PlanError(f"plan: unknown key '{key}'; allowed: {', '.join(_KEYS)}{_near(key, _KEYS)}")
    if key not in _WORDS and not re.fullmatch(r"-?[0-9]{1,9}", text):
        allowed = "0 to 3" if key == "zero" else "a whole number, at least 1 and below 1e9"
        raise PlanError(f"plan: {key}={text} is not allowed; give {allowed}")
    value = text if key in _WORDS else int(text)
    _check_field(key, value)
    return key, value


def parse_plan(text: str) -> Plan:
    """The plan written as `tp=8,pp=4,dp=2,micro=1,interleave=2,zero=1,recompute=full`; what is left out is the default.

    >>> parse_plan("tp=8,dp=4").dp
    4

    Raises:
        PlanError: an unknown or repeated key, or a value out of range; names the key and what is allowed.
    """
    values: dict[str, int | str] = {}
    for part in text.split(","):
        key, value = _pair(part)
        if key in values:
            raise PlanError(f"plan: key '{key}' appears twice ({values[key]} and {value}); keep one")
        values[key] = value
    return Plan(**{_FIELDS[k]: v for k, v in values.items()})  # type: ignore[arg-type]


def plan_text(plan: Plan) -> str:
    """`plan` as `parse_plan` reads it: sizes and micro batch always, the rest where it is not the default."""
    default = Plan()
    pairs = {k: (getattr(plan, _FIELDS[k]), getattr(default, _FIELDS[k])) for k in _KEYS}
    return ",".join(f"{k}={v}" for k, (v, usual) in pairs.items() if k in _KEYS[:4] or v != usual)


def layers_per_stage(plan: Plan, model: Model) -> int:
    """Layers of the heaviest stage: ceil(n_layers / pp), so that a pipeline need not divide the model."""
    return -(-model.n_layers // plan.pp)


def n_forward_runs(plan: Plan) -> float:
    """Times that a layer's forward pass runs per micro batch, mean over layers. Source: [korthikanti2022] section 5."""
    return 1.0 + plan.recompute_frac if plan.recompute == "full" else 1.0


def n_micro_batches(plan: Plan, training: Training) -> int:
    """Micro batches per step and replica: global_batch / (dp micro_batch)."""
    return training.global_batch // (plan.dp * plan.micro_batch)


Rule = tuple[bool, str]


def _width_rules(tp: int, model: Model) -> list[Rule]:
    """Whether `tp` splits the widths of dense MLPs, of routed experts and of shared ones evenly."""
    widths: list[tuple[str, int]] = []
    for f, _ in model.feeds:
        if isinstance(f, Experts):
            widths += [("expert", f.ffn), ("shared experts'", f.shared_ffn), ("MLP", f.parallel_ffn)]
        else:
            widths.append(("MLP", f.ffn))
    return [(w % tp == 0, f"tp={tp} does not divide the {what} width {w} of {model.name}") for what, w in widths]


def _tensor_rules(tp: int, model: Model, system: System) -> list[Rule]:
    """Whether `tp` splits heads, states and MLP evenly in one domain; fewer KV heads are replicated equally often."""
    domain = system.fabric.n_chips
    return [
        *(rule for mixer, _ in model.mixers for rule in mixer_rules(mixer, tp, model.name)),
        *_width_rules(tp, model),
        (
            domain % tp == 0,
            f"tp={tp} does not fit the scale-up domain of {domain} chips of {system.name}; use a divisor of {domain}",
        ),
    ]


def _size_rule(plan: Plan, system: System) -> Rule:
    product = plan.tp * plan.cp * plan.pp * plan.dp
    sizes = f"tp*pp*dp = {plan.tp}*{plan.pp}*{plan.dp}"
    if plan.cp > 1:
        sizes = f"tp*cp*pp*dp = {plan.tp}*{plan.cp}*{plan.pp}*{plan.dp}"
    return product == system.n_chips, f"{sizes} = {product}, but {system.name} has {system.n_chips} chips"


def _training_rules(plan: Plan, training: Training) -> list[Rule]:
    """Whether stages, virtual stages and micro batches come out whole."""
    model, batch, v = training.model, training.global_batch, plan.interleave
    per_stage, n_micro = layers_per_stage(plan, model), n_micro_batches(plan, training)
    replica = plan.dp * plan.micro_batch
    experts = model.experts.n_experts if model.experts else 1
    return [
        (training.sequence % plan.cp == 0, f"cp={plan.cp} does not divide the sequence of {training.sequence}"),
        (experts % plan.ep == 0, f"ep={plan.ep} does not divide the {experts} experts of {model.name}"),
        (
            (plan.dp * plan.cp) % plan.ep == 0,
            f"ep={plan.ep} does not divide dp*cp = {plan.dp}*{plan.cp} = {plan.dp * plan.cp}",
        ),
        (plan.pp <= model.n_layers, f"pp={plan.pp} exceeds the {model.n_layers} layers of {model.name}"),
        (
            batch > 0 and batch % replica == 0,
            f"global batch {batch} is not a multiple of dp*micro = {plan.dp}*{plan.micro_batch} = {replica}",
        ),
        (v == 1 or plan.pp > 1, f"interleave={v} needs pp > 1; use interleave=1"),
        (per_stage % v == 0, f"interleave={v} does not divide the {per_stage} layers of a stage (pp={plan.pp})"),
        (
            v == 1 or n_micro % plan.pp == 0,
            f"interleave={v} needs micro batches in multiples of pp={plan.pp}, got {n_micro}",
        ),
    ]


def _serving_rules(plan: Plan, workload: Serving) -> list[Rule]:
    """Whether replicas share the batch evenly, and experts and context come out whole."""
    model, batch = workload.model, workload.batch
    per_replica = batch // plan.dp
    experts = model.experts.n_experts if model.experts else 1
    return [
        (plan.pp <= model.n_layers, f"pp={plan.pp} exceeds the {model.n_layers} layers of {model.name}"),
        (plan.interleave == 1, f"interleave={plan.interleave}: inference has no virtual stages; use interleave=1"),
        (experts % plan.ep == 0, f"ep={plan.ep} does not divide the {experts} experts of {model.name}"),
        (plan.dp % plan.ep == 0, f"ep={plan.ep} does not divide dp={plan.dp}; experts spread over replicas"),
        (batch > 0 and batch % plan.dp == 0, f"batch {batch} is not a multiple of dp={plan.dp}"),
        (
            plan.micro_batch in (1, per_replica),
            f"micro={plan.micro_batch}, but batch {batch} over dp={plan.dp} gives {per_replica}; omit micro",
        ),
    ]


def _length_rules(workload: Serving) -> list[Rule]:
    """Whether context, prompt and chunk are lengths."""
    if isinstance(workload, Decode):
        return [(workload.context >= 1, f"context {workload.context} is not allowed; give at least 1")]
    return [
        (workload.prompt >= 1, f"prompt {workload.prompt} is not allowed; give at least 1"),
        (workload.cached >= 0, f"cached {workload.cached} is not allowed; give 0 or more"),
        (workload.chunk >= 0, f"chunk {workload.chunk} is not allowed; give 0 for none or more"),
    ]


def check_plan(plan: Plan, workload: Workload, system: System) -> None:
    """Nothing for a plan that divides model, batch and system; PlanError with the first rule that fails.

    Source: [narayanan2021megatron] section 2: interleaved schedules take micro batches in multiples of the stages;
    [shoeybi2019] section 3: heads and MLP columns over tensor ranks.
    """
    for key in _KEYS:
        _check_field(key, getattr(plan, _FIELDS[key]))
    rules = [_size_rule(plan, system), *_tensor_rules(plan.tp, workload.model, system)]
    if isinstance(workload, Training):
        rules += _training_rules(plan, workload)
    else:
        rules += [*_serving_rules(plan, workload), *_length_rules(workload)]
    for holds, why in rules:
        if not holds:
            raise PlanError(f"plan {plan_text(plan)}: {why}")


def _divisors(n: int) -> list[int]:
    low = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*low, *(n // d for d in low)})


def _tensor_sizes(model: Model, system: System) -> list[int]:
    """Tensor-parallel sizes that fit model and scale-up domain and divide the system."""
    sizes = [tp for tp in _divisors(system.fabric.n_chips) if system.n_chips % tp == 0]
    return [tp for tp in sizes if all(holds for holds, _ in _tensor_rules(tp, model, system))]


def _interleaves(per_stage: int, pp: int, n_micro: int) -> list[int]:
    """Virtual stages that divide a stage's layers; 1 alone without a pipeline or with a ragged one."""
    if pp == 1 or n_micro % pp:
        return [1]
    return [v for v in range(1, MAX_INTERLEAVE + 1) if per_stage % v == 0]


def _powers_of_two(limit: int) -> list[int]:
    return [2**i for i in range(limit.bit_length())]


def _context_sizes(workload: Training, n_chips: int) -> list[int]:
    """Context-parallel sizes that divide `n_chips` and a long sequence; 1 alone for a short one."""
    if workload.sequence < LONG_SEQUENCE:
        return [1]
    return [cp for cp in _powers_of_two(MAX_CP) if n_chips % cp == 0 and workload.sequence % cp == 0]


def _expert_sizes(model: Model, dp: int) -> list[int]:
    """Expert-parallel sizes that divide experts and replicas; 1 alone for a dense model."""
    if model.experts is None:
        return [1]
    return [ep for ep in _powers_of_two(MAX_EP) if model.experts.n_experts % ep == 0 and dp % ep == 0]


def _shardings(model: Model, pp: int, replicas: int) -> list[int]:
    """`ZERO` stages to try: 1 where there are replicas, and weights too for experts without a pipeline."""
    if replicas == 1:
        return [0]
    return [1, 3] if model.experts is not None and pp == 1 else [1]


def _training_plans(workload: Training, system: System, max_micro_batch: int) -> list[Plan]:
    """All valid training plans within the enumeration's limits."""
    found: list[Plan] = []
    model, micros = workload.model, [m for m in MICRO_BATCHES if m <= max_micro_batch]
    sizes = [tp for tp in _tensor_sizes(model, system) if tp <= MAX_TRAINING_TP]
    grid = [
        (tp, pp, cp)
        for tp in sizes
        for pp in _divisors(system.n_chips // tp)
        if pp <= model.n_layers
        for cp in _context_sizes(workload, system.n_chips // (tp * pp))
    ]
    for tp, pp, cp in grid:
        dp, per_stage = system.n_chips // (tp * pp * cp), -(-model.n_layers // pp)
        splits = list(itertools.product(_shardings(model, pp, dp * cp), _expert_sizes(model, dp)))
        for micro in micros:
            n_micro, rest = divmod(workload.global_batch, dp * micro)
            if rest or not n_micro:
                continue
            choices = itertools.product(_interleaves(per_stage, pp, n_micro), RECOMPUTE, splits)
            found += [Plan(tp, pp, dp, micro, v, zero, r, cp, ep) for v, r, (zero, ep) in choices]
    return found


def _serving_plans(workload: Serving, system: System) -> list[Plan]:
    """All valid inference plans: tensor sizes, stages, context ranks, and experts over replicas."""
    model, batch, found = workload.model, workload.batch, []
    for tp, pp, cp in itertools.product(
        _tensor_sizes(model, system), _stage_sizes(model, system), _serving_context_sizes(workload, system)
    ):
        dp, rest = divmod(system.n_chips, tp * pp * cp)
        if rest or dp == 0 or batch < 1 or batch % dp:
            continue
        found += [Plan(tp=tp, pp=pp, dp=dp, micro_batch=batch // dp, cp=cp, ep=ep) for ep in _expert_sizes(model, dp)]
    return found


def _stage_sizes(model: Model, system: System) -> list[int]:
    """Pipeline lengths tried in inference: 1 where tensor ranks can reach all chips, which is faster, else divisors."""
    if system.n_chips in _tensor_sizes(model, system):
        return [1]
    return [pp for pp in _divisors(system.n_chips) if pp <= min(MAX_SERVING_PP, model.n_layers)]


def _serving_context_sizes(workload: Serving, system: System) -> list[int]:
    """Context ranks tried in inference: powers of two for a long context, else 1."""
    long = workload.context if isinstance(workload, Decode) else workload.cached + workload.prompt
    return [1] if long < LONG_SEQUENCE else [cp for cp in _powers_of_two(MAX_CP) if system.n_chips % cp == 0]


def plans(workload: Workload, system: System, *, max_micro_batch: int = 8, streams: bool = False) -> list[Plan]:
    """All valid plans of `workload` on `system`, whatever memory they need; empty where there is none.

    Training tries tensor sizes, interleaving, and all kinds of recomputation up to the limits above, and every pipeline
    length up to the number of layers. Optimizer states are sharded over replicas: it saves memory and moves no more
    bytes [rajbhandari2020zero]. Long sequences are also split over context ranks, experts over replicas, in powers of
    two, and weights of experts without a pipeline are also tried sharded (stage 3), and with `streams` all as streams.
    """
    trains = isinstance(workload, Training)
    found = _training_plans(workload, system, max_micro_batch) if trains else _serving_plans(workload, system)
    return [*found, *(dataclasses.replace(p, order="stream") for p in found)] if streams else found
