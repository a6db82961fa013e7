"""Divisibility rules of plan sizes (TP, PP, DP, CP, EP), and the sizes that plan enumeration tries."""

from __future__ import annotations

import itertools

from ..hardware.system import System
from ..workload.blocks import Experts
from ..workload.transformer import Decode, Model, Serving, Training
from .mixer_ops import mixer_rules

# limits of the search alone: a plan that a user writes may go beyond any of them
MAX_TRAINING_TP = 64
"""Widest tensor parallelism that the enumeration tries for training."""
MAX_INTERLEAVE = 8
MAX_EP = 64
MAX_CP = 64
MAX_SERVING_PP = 8
LONG_SEQUENCE = 32768
"""Tokens from which the enumeration tries context parallelism."""

Rule = tuple[bool, str]


def _width_rules(tp: int, model: Model) -> list[Rule]:
    """Whether `tp` splits the widths of dense MLPs, of routed experts and of shared ones evenly."""
    widths: list[tuple[str, int]] = []
    for f, _ in model.feeds:
        if isinstance(f, Experts):
            widths += [("expert", f.ffn), ("shared experts'", f.shared_ffn), ("MLP", f.parallel_ffn)]
        else:
            widths.append(("MLP", f.ffn))
    # a width of 0, which the model lacks, passes
    return [(w % tp == 0, f"tp={tp} does not divide the {what} width {w} of {model.name}") for what, w in widths]


def tensor_rules(tp: int, model: Model, system: System) -> list[Rule]:
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


def _divisors(n: int) -> list[int]:
    # up to the root: a system may have millions of chips
    low = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*low, *(n // d for d in low)})


def _powers_of_two(limit: int) -> list[int]:
    return [2**i for i in range(limit.bit_length())]


def _tensor_sizes(model: Model, system: System) -> list[int]:
    """Tensor-parallel sizes that fit model and scale-up domain and divide the system."""
    # a size that does not divide the domain would straddle two, over links a tenth as fast
    sizes = [tp for tp in _divisors(system.fabric.n_chips) if system.n_chips % tp == 0]
    return [tp for tp in sizes if all(holds for holds, _ in tensor_rules(tp, model, system))]


def _stage_sizes(model: Model, system: System) -> list[int]:
    """Pipeline lengths tried in inference: 1 where tensor ranks can reach all chips, which is faster, else divisors."""
    if system.n_chips in _tensor_sizes(model, system):
        return [1]
    return [pp for pp in _divisors(system.n_chips) if pp <= min(MAX_SERVING_PP, model.n_layers)]


def _context_sizes(workload: Training, n_chips: int) -> list[int]:
    """Context-parallel sizes that divide `n_chips` and a long sequence; 1 alone for a short one."""
    if workload.sequence < LONG_SEQUENCE:
        return [1]
    return [cp for cp in _powers_of_two(MAX_CP) if n_chips % cp == 0 and workload.sequence % cp == 0]


def _serving_context_sizes(workload: Serving, system: System) -> list[int]:
    """Context ranks tried in inference: powers of two for a long context, else 1."""
    # a short cache takes less time to read than its partial results take to add up
    long = workload.context if isinstance(workload, Decode) else workload.cached + workload.prompt
    return [1] if long < LONG_SEQUENCE else [cp for cp in _powers_of_two(MAX_CP) if system.n_chips % cp == 0]


def expert_sizes(model: Model, dp: int) -> list[int]:
    """Expert-parallel sizes that divide experts and replicas; 1 alone for a dense model."""
    if model.experts is None:
        return [1]
    return [ep for ep in _powers_of_two(MAX_EP) if model.experts.n_experts % ep == 0 and dp % ep == 0]


def interleaves(per_stage: int, pp: int, n_micro: int) -> list[int]:
    """Virtual stages that divide a stage's layers; 1 alone without a pipeline or with a ragged one."""
    if pp == 1 or n_micro % pp:
        return [1]
    # interleaving takes micro batches in groups of as many as stages, and whole layers
    return [v for v in range(1, MAX_INTERLEAVE + 1) if per_stage % v == 0]


def shardings(model: Model, pp: int, replicas: int) -> list[int]:
    """`ZERO` stages to try: 1 where there are replicas, and weights too for experts without a pipeline."""
    # sharded states move as many bytes as replicated ones, so unsharded ones are tried for a lone replica alone
    if replicas == 1:
        return [0]
    return [1, 3] if model.experts is not None and pp == 1 else [1]


def training_sizes(workload: Training, system: System) -> list[tuple[int, int, int, int]]:
    """Tensor, pipeline, data and context ranks of training to try."""
    model, n_chips = workload.model, system.n_chips
    return [
        (tp, pp, n_chips // (tp * pp * cp), cp)
        for tp in _tensor_sizes(model, system)
        if tp <= MAX_TRAINING_TP
        for pp in _divisors(n_chips // tp)
        if pp <= model.n_layers
        for cp in _context_sizes(workload, n_chips // (tp * pp))
    ]


def serving_sizes(workload: Serving, system: System) -> list[tuple[int, int, int, int, int]]:
    """Tensor, pipeline, data, context and expert ranks of inference to try, where replicas share the batch."""
    model, batch, found = workload.model, workload.batch, []
    contexts = _serving_context_sizes(workload, system)
    for tp, pp, cp in itertools.product(_tensor_sizes(model, system), _stage_sizes(model, system), contexts):
        dp, rest = divmod(system.n_chips, tp * pp * cp)
        # replicas of unequal batches would wait for the fullest
        if rest == 0 and batch >= 1 and batch % dp == 0:
            found += [(tp, pp, dp, cp, ep) for ep in expert_sizes(model, dp)]
    return found
