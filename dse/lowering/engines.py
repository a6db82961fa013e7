"""Serving engines: all sizes, plans, batches and schedulers for a model, lowered on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from ..core.counts import check_count, n_peak
from ..core.errors import PlanError, SpecError
from ..hardware.system import System, torus_slice
from ..workload.requests import Requests
from ..workload.transformer import Decode, Prefill
from .collective import Reference
from .demand import demand
from .headroom import usable_B
from .memory import Memory, memory_B
from .mixed import chunk_demand, verify_demand
from .plan import Plan, plans
from .step_demand import StepDemand
from .tiling import array_shape

CHUNKS = (512, 2048)
"""Chunk sizes of chunked prefill [tokens], for strict and relaxed latency limits [agrawal2024sarathi]."""
PROMPT_LOADS = (0.2, 0.4, 0.6, 0.75, 0.85, 0.92)
"""Utilisations tried for prefill-only engines."""
MAX_SEQUENCES = 4096
"""Most sequences per rank that are tried."""
MOST_DRAFTED = 1_000
"""Most tokens that are drafted ahead: all of them are verified in one pass."""
SCHEDULERS = ("prefill first", "chunked", "apart")
"""Schedulers, by how a prefill delays decoding: by its whole time, by a longer mixed pass, or not at all."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """Options of engines: schedulers, most sequences, speculative decoding."""

    schedulers: tuple[str, ...] = SCHEDULERS
    max_sequences: int = 2**20
    """Most sequences that decode together on one engine."""
    acceptance_frac: float = 0.0
    """Speculative decoding: chance that a drafted token is accepted."""
    n_drafted: int = 0
    """Tokens drafted ahead; 0 is plain decoding."""
    draft_frac: float = 0.0
    """Time to draft one token over the time of a verification pass."""

    def __post_init__(self) -> None:
        """Check the ranges; SpecError otherwise."""
        if self.max_sequences < 1:
            raise SpecError(f"a batch of {self.max_sequences} serves nobody; give at least 1")
        if not 0 <= self.acceptance_frac <= 1:
            raise SpecError(f"acceptance {self.acceptance_frac:g} is not a share; give 0 to 1")
        check_count("drafted tokens", self.n_drafted, 0, MOST_DRAFTED)
        # not <, which NaN would pass
        if not self.draft_frac >= 0:
            raise SpecError(f"{self.n_drafted} drafted tokens at {self.draft_frac:g} each: give 0 or more of both")
        unknown = [s for s in self.schedulers if s not in SCHEDULERS]
        if unknown or not self.schedulers:
            raise SpecError(f"scheduler '{', '.join(unknown)}' is not one of {', '.join(SCHEDULERS)}")


# not by value: arrays in a system have no hash, and compare to no single truth
@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """Chips and plan of an engine, without its number of sequences; compares by identity."""

    system: System
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Writer:
    """An engine that decodes with a given number of sequences."""

    shape: Shape
    n_sequences: int
    """Mean number of sequences per data-parallel rank."""
    memory: Memory
    """HBM of its fullest chip, cache for the peak number of sequences."""
    demand: StepDemand


@dataclasses.dataclass(frozen=True)
class Reader:
    """Prefill passes of an engine, by kind of request."""

    shape: Shape
    chunk: int
    """Prompt tokens per mixed pass (chunked prefill); 0 for separate prefill passes."""
    n_passes: tuple[int, ...]
    """Passes over a prompt, by kind of request."""
    demands: tuple[StepDemand, ...]


def part_of(system: System, n_chips: int) -> System | None:
    """A part of `n_chips`: any number behind a switch, else divisors or multiples of a domain; None if impossible."""
    domain = system.fabric.n_chips
    if system.fabric.kind == "switched" and n_chips <= domain:
        return dataclasses.replace(system, fabric=dataclasses.replace(system.fabric, dims=(n_chips,)), n_chips=n_chips)
    if n_chips % domain and domain % n_chips:
        return None
    return torus_slice(system, n_chips)


def engine_sizes(system: System) -> list[int]:
    """Engine sizes to try [chips]: divisors of the system, and powers of two behind one switch."""
    domain = system.fabric.n_chips if system.fabric.kind == "switched" else 0
    # a switch has no shape: part of its ports are a smaller switch, whether the rest divides or not
    powers = {2**i for i in range(min(domain, system.n_chips).bit_length())} if domain else set()
    return sorted({n for n in range(1, system.n_chips + 1) if system.n_chips % n == 0} | powers)


def shapes(system: System, requests: Requests) -> list[Shape]:
    """Every engine size with every valid plan; replicas that share no experts are separate engines."""
    found = []
    for n in engine_sizes(system):
        part = part_of(system, n)
        if part is None:
            continue
        # as many sequences as chips: every number of replicas that divides the chips divides that batch too
        decode = Decode(requests.model, n, requests.longest, requests.weight_precision, requests.kv_precision)
        # plans that differ in their batch alone are one shape: `batch_sizes` goes through the batches
        every = [dataclasses.replace(p, micro_batch=1) for p in plans(decode, part)]
        found += [Shape(part, p) for p in dict.fromkeys(every) if p.dp == p.ep]
    return found


def decode_of(requests: Requests, shape: Shape, n_sequences: int, context: int) -> tuple[Decode, Plan]:
    """The decode workload of `n_sequences` per rank with `context` tokens each, and its plan."""
    stored = requests.weight_precision, requests.kv_precision
    decode = Decode(requests.model, n_sequences * shape.plan.dp, context, *stored)
    return decode, dataclasses.replace(shape.plan, micro_batch=n_sequences)


def _decode_memory(requests: Requests, shape: Shape, n_sequences: int, context: int, n_each: int) -> Memory:
    decode, plan = decode_of(requests, shape, n_sequences, context)
    return memory_B(plan, decode, n_each=n_each)


def writer_memory(
    requests: Requests, shape: Shape, n_sequences: int, quantile_frac: float, n_drafted: int = 0
) -> Memory:
    """HBM of the fullest chip: weights, working set, one prompt, and a cache for the peak number of sequences.

    The peak is that of a Poisson number (see `steady`) with the mean context; at least the longest request alone. The
    cache has blocks for `n_drafted` tokens after the last of every sequence.
    Assumes: who drafts needs no memory of its own, as heads or n-grams nearly do.
    """
    # sequences are at random places of their lives: the mean context fills memory, not the longest
    mean = _decode_memory(requests, shape, n_sequences, requests.mean_context, n_drafted + 1)
    longest = _decode_memory(requests, shape, 1, requests.longest, n_drafted + 1)
    peak = float(n_peak(np.asarray(float(n_sequences)), np.asarray(NormalDist().inv_cdf(quantile_frac))))
    # one more: a prompt that is read has its cache already, and joins the sequences after its first token
    cache = max(mean.kv_B * (peak + 1.0) / n_sequences, longest.kv_B)
    return dataclasses.replace(mean, kv_B=cache)


def batch_sizes(
    requests: Requests, shape: Shape, quantile_frac: float, n_drafted: int = 0
) -> Iterator[tuple[int, Memory]]:
    """Sequences per rank from 1 in powers of two, and the most that memory holds, each with its memory."""
    room, best = float(usable_B(shape.system.chip)), 0

    def need(size: int) -> Memory:
        return writer_memory(requests, shape, size, quantile_frac, n_drafted)

    size = 1
    # doubling, then halving what is between: memory grows with the batch
    while size <= MAX_SEQUENCES:
        memory = need(size)
        if memory.total > room:
            break
        yield size, memory
        best, size = size, 2 * size
    low, high = best, min(size, MAX_SEQUENCES)  # the last that fits and the first that does not
    while best and high - low > 1:
        middle = (low + high) // 2
        fits = need(middle).total <= room
        low, high = (middle, high) if fits else (low, middle)
    if low > best:
        yield low, need(low)


def writers(
    requests: Requests, every: list[Shape], policy: Policy, quantile_frac: float, ref: Reference
) -> list[Writer]:
    """Every decode engine that fits in memory."""
    found = []
    for shape in every:
        array = array_shape(shape.system.chip.core.tensor)
        for n, memory in batch_sizes(requests, shape, quantile_frac, policy.n_drafted):
            # batches ascend, so that all that follow are too large as well
            if n * shape.plan.dp > policy.max_sequences:
                break
            decode, plan = decode_of(requests, shape, n, requests.mean_context)
            # one more than was drafted: a pass writes a token of its own, whatever becomes of the drafts
            d = verify_demand(decode, policy.n_drafted + 1, plan, shape.system, array, ref)
            found.append(Writer(shape, n, memory, d))
    return found


def prefills(requests: Requests, shape: Shape, chunk: int) -> list[Prefill]:
    """One prompt per data-parallel rank, by kind of request."""
    stored = requests.weight_precision, requests.kv_precision
    return [Prefill(requests.model, shape.plan.dp, x.prompt, *stored, chunk=chunk) for x in requests.lengths]


def reader(requests: Requests, shape: Shape, ref: Reference) -> Reader:
    """Reader of whole prompts, each in a separate pass."""
    array = array_shape(shape.system.chip.core.tensor)
    demands = [demand(p, shape.plan, shape.system, ref, array) for p in prefills(requests, shape, 0)]
    # taking a request in delays it, not the engine, so `steady_state` adds it to the first token alone
    demands = [dataclasses.replace(d, n_requests=np.asarray(0.0)) for d in demands]
    return Reader(shape, 0, (1,) * len(demands), tuple(demands))


def chunked_reader(requests: Requests, writer: Writer, chunk: int, ref: Reference, n_drafted: int = 0) -> Reader | None:
    """Reader of prompts in chunks within the passes of `writer`, drafted tokens included; None for a pipeline."""
    shape, array = writer.shape, array_shape(writer.shape.system.chip.core.tensor)
    decode, plan = decode_of(requests, shape, writer.n_sequences, requests.mean_context)
    whole = prefills(requests, shape, chunk)
    try:
        demands = [chunk_demand(decode, p, plan, shape.system, array, ref, n_drafted + 1) for p in whole]
    except PlanError:
        return None
    return Reader(shape, chunk, tuple(p.n_chunks for p in whole), tuple(demands))
