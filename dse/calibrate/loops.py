"""Requests that run together or wait: clients of closed loops, and batches larger than the memory."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from ..core.errors import PlanError
from ..core.provenance import number
from ..hardware.chip import Chip
from ..lowering.headroom import usable_B
from ..lowering.memory import memory_B
from ..lowering.plan import Plan
from ..lowering.software import framework
from ..workload.transformer import Decode
from .reading import row_number, row_text
from .request_rows import drawn_frac, row_stack

RUNNING = 256
"""Sequences that serving loops run at once unless told otherwise; further requests wait outside the batch."""


IN_FLIGHT = ("vllm", "trtllm", "deepspeed")
"""Stacks that read a prompt in a pass that writes tokens of others. Source: [agrawal2023sarathi] section 4."""
PROMPTS_FIRST = ("sglang",)
"""Stacks that write no token while a prompt waits to be read."""


def n_clients(row: Any) -> float:
    """Clients of a closed loop, one request each: as noted, else the batch over data ranks; 0 where none is said."""
    said = row_number(row, "concurrency", 0)
    closed = said > 0 or "closed loop" not in row_text(row, "note").lower()
    return said if closed else row_number(row, "batch", 0) * max(row_number(row, "dp", 1), 1)


def why_not(row: Any, kind: str, beside: Collection[str]) -> str | None:
    """Why a row of `kind`, whose requests come by a rate or in a loop, is not predicted; None where it is.

    `beside` are the kinds of the other metrics of its point.
    """
    rate = row_number(row, "request_rate", math.inf)
    if math.isfinite(rate):
        return f"open loop at {rate:g} requests/s: the load says how many run at once; dse serve has its queue"
    clients = n_clients(row)
    if clients > RUNNING:
        return f"{clients:.0f} clients, more than a stack runs at once by default: the batch is not known"
    if clients > 1 and kind == "ttft" and not comes_in_waves(row, row_stack(row)):
        return "closed loop: the first token waits in a queue; see the service model"
    if clients > 1 and kind == "request" and "tpot" in beside:
        return "request time of a closed loop whose time per token is scored"
    return None


def n_running(plan: Plan, token: Decode, chip: Chip) -> int:
    """Sequences of a data rank that run at once: those whose mean contexts fit into the memory beside the weights.

    Source: [kwon2023paged]: a request waits until there are blocks for its cache.
    """
    # weights and activations stay whatever runs; only caches give way
    held = memory_B(plan, token)
    room = float(usable_B(chip)) - (held.total - held.kv_B)
    # a model of recurrences alone has no cache, and waits for no room
    return max(math.floor(plan.micro_batch * min(room / held.kv_B, 1.0)), 1) if held.kv_B else plan.micro_batch


def mixes(row: Any, stack: str, plan: Plan) -> bool:
    """Whether prompts are read in passes that write tokens of others, which none does for a lone client."""
    return n_clients(row) > 1 and stack in IN_FLIGHT and plan.pp == 1


def comes_in_waves(row: Any, stack: str) -> bool:
    """Whether clients start and end together: prompts are read before anybody writes, and all answers are as long."""
    return stack in PROMPTS_FIRST and drawn_frac(row) == 1.0


def waiting_frac(row: Any, stack: str) -> float:
    """Share of the others' prompts that are read while a request waits for its next token, not for its first.

    All of them in a steady loop. A wave of N tokens of prompts is read in k = N / budget passes, of which
        (k - 1) / 2
    come after the mean request's own. Source: [sglang2025arguments] for the order and the budget.
    """
    if not comes_in_waves(row, stack):
        return 1.0
    wave = n_clients(row) * row_number(row, "in_len", 1)
    return 0.5 * (1.0 - 1.0 / max(wave / number(framework(), "prompt_budget"), 1.0))


def n_passes(row: Any, kind: str, plan: Plan, stack: str) -> tuple[float, float]:
    """Passes over prompts and tokens that a row's time holds.

    A static batch has its prompts read in one pass, and as many turns of tokens as it takes for all to have run. In a
    closed loop every other client's prompt is read once while a request writes. Of c clients, data ranks have c /
    dp each, and read a prompt each in the pass that reads one. b of them run at once, the others wait their turn:

        t_request = c prompts + c/b (out - 1) tokens
    whatever the order of the queue: by Little's law the time of a request is clients over requests per second.
    Where a stack `mixes`, a pass that reads a prompt writes a token too. Source: [kleinrock1975].
    """
    n_out = drawn_frac(row) * row_number(row, "out_len", 1)
    own = n_clients(row) / plan.dp
    turns = max((own or row_number(row, "batch") // plan.dp) / plan.micro_batch, 1.0)
    if kind == "ttft":
        if own and turns > 1:
            raise PlanError(f"{own:.0f} clients, of whom {plan.micro_batch} fit: the first token waits in a queue")
        # a lone client's own prompt; in a wave those before it too
        return max((1.0 - waiting_frac(row, stack)) * own, 1.0), 0.0
    if kind == "tpot":
        # while one request writes n_out tokens, each of the others at work has its prompt read once
        prompts, tokens = waiting_frac(row, stack) * max(own / turns - 1, 0.0) / n_out, 1.0
    else:
        prompts, tokens = max(own, 1.0), turns * max(n_out - 1.0, 0.0)
    written = prompts if mixes(row, stack, plan) else 0.0
    return prompts, max(tokens - written, 0.0)
