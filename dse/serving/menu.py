"""Every engine that could serve some requests: who writes, who reads prompts, and which scheduler has them meet."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.errors import PlanError
from ..lowering import engines as make
from ..lowering.collective import Reference
from ..lowering.engines import CHUNKS, PROMPT_LOADS, SCHEDULERS, Policy, Reader, Shape, Writer
from ..lowering.headroom import usable_B
from ..lowering.memory import memory_B
from ..lowering.step_demand import StepDemand
from ..workload.requests import Requests


@dataclasses.dataclass(frozen=True, eq=False)
class Menu:
    """Every engine to be priced, as positions and numbers: leading axis over engines where arrays."""

    writers: list[Writer]
    readers: list[Reader]
    writer_index: np.ndarray
    reader_index: np.ndarray
    scheduler_index: np.ndarray
    prompt_load_frac: np.ndarray
    """Load of engines that only read prompts."""
    transfer_s: np.ndarray

    @property
    def demands(self) -> list[StepDemand]:
        """Of every pass: those of writers, then those of readers by kind of request."""
        return [*(w.demand for w in self.writers), *(d for r in self.readers for d in r.demands)]


def menu_of(
    requests: Requests, writers: list[Writer], shapes: list[Shape], policy: Policy, ref: Reference
) -> Menu:  # fmt: skip
    """Every writer with every way to read prompts: its own, whole or in chunks, and any engine apart at any load."""
    whole = [make.reader(requests, s, ref) for s in shapes if _reads(requests, s)]
    position = {r.shape: i for i, r in enumerate(whole)}
    # a row: writer, reader, scheduler, load and transfer; shared chips have the load that follows, and move no cache
    readers, rows = list(whole), []
    for i, w in enumerate(writers):
        if w.shape in position:
            rows.append((i, position[w.shape], 0, 0.0, 0.0))
        for chunk in _chunks(requests):
            ride = make.chunked_reader(requests, w, chunk, ref, policy.n_drafted)
            if ride is not None:
                rows.append((i, len(readers), 1, 0.0, 0.0))
                readers.append(ride)
    # both ends hold the cache over all of their chips, so the end with fewer of them takes longest
    held = {s: cache_B(requests, s) for s in {w.shape for w in writers} | set(position)}
    apart = [
        (i, j, 2, load, max(held[w.shape], held[r.shape]) / ref.out_Bps + ref.out_hop_s)
        for i, w in enumerate(writers)
        for j, r in enumerate(whole)
        for load in PROMPT_LOADS
    ]
    allowed = [x for x in rows + apart if SCHEDULERS[int(x[2])] in policy.schedulers]
    if not allowed:
        raise PlanError(f"no engine of {requests.model.name} can run {' or '.join(policy.schedulers)}; allow another")
    table = np.asarray(allowed, dtype=float).T
    writer_index, reader_index, scheduler_index = table[:3].astype(int)
    return Menu(writers, readers, writer_index, reader_index, scheduler_index, table[3], table[4])


def _chunks(requests: Requests) -> tuple[int, ...]:
    """Chunk sizes worth a try: those shorter than the longest prompt, and one that holds it."""
    longest = max(x.prompt for x in requests.lengths)
    # a chunk beyond the longest prompt reads it whole: one of them is enough
    shorter = tuple(c for c in CHUNKS if c < longest)
    return (*shorter, *CHUNKS[len(shorter) : len(shorter) + 1])


def _reads(requests: Requests, shape: Shape) -> bool:
    prefills = make.prefills(requests, shape, 0)
    return all(memory_B(shape.plan, p).total <= float(usable_B(shape.system.chip)) for p in prefills)


def cache_B(requests: Requests, shape: Shape) -> float:
    """Cache of a mean prompt on one chip, which moves over the chip's share of the network [patel2024splitwise]."""
    decode, plan = make.decode_of(requests, shape, 1, round(requests.n_prompt))
    return memory_B(plan, decode).kv_B
