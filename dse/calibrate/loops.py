"""Requests that run together or wait: clients of closed loops, and batches larger than the memory."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from ..core.provenance import number
from ..hardware.chip import Chip
from ..lowering.headroom import usable_B
from ..lowering.memory import memory_B
from ..lowering.plan import Plan
from ..lowering.software import framework
from ..workload.transformer import Decode
from .reading import row_number, row_text
from .request_rows import drawn_frac, lengths

RUNNING = 256
"""Sequences that serving loops run at once unless told otherwise; further requests wait outside the batch."""
MIXES = ("vllm", "trtllm", "deepspeed")
"""Stacks that read a prompt in a pass that also writes tokens of others."""
READS_FIRST = ("sglang",)
"""Stacks that read all prompts that wait before they write on."""


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
    if clients > 1 and kind == "ttft":
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


def mixes(n_at_once: float, stack: str, plan: Plan) -> bool:
    """Whether prompts are read in passes that write for the other clients [agrawal2023sarathi] section 4.2."""
    return n_at_once > 1 and stack in MIXES and plan.pp == 1


def comes_in_waves(row: Any, stack: str) -> bool:
    """Whether clients start and end together: prompts are read before anybody writes, and all answers are as long."""
    return stack in READS_FIRST and drawn_frac(row) == 1.0


def n_met(row: Any, n_at_once: float, stack: str) -> float:
    """Prompts that are read while one of n clients, `n_at_once`, writes its answer; from end to end all others' are.

        one after another: n - 1, less 2 where passes mix        a wave, in p passes (at most n): n (p - 1) / (2 p)
    What is read while a request waits for its first token, by passes that were ahead of it or those up to its own in
    a wave, delays no later one.
    Source: [kleinrock1975]: by Little's law first tokens and later ones share what all prompts take; counts elementary.
    Assumes: a prompt a pass where passes mix; of clients out of step elsewhere none waits while another is read.
    """
    if comes_in_waves(row, stack):
        p = math.ceil(n_at_once * lengths(row, stack)[0] / number(framework(), "prompt_budget"))
        # a prompt of several passes ends in one; a static batch has no clients, and whoever is alone meets nobody
        p = max(min(p, n_at_once), 1.0)
        return n_at_once * (p - 1.0) / (2.0 * p)
    return max(n_at_once - 1.0 - (number(framework(), "passes_ahead") if stack in MIXES else 0.0), 0.0)


def n_passes(row: Any, kind: str, plan: Plan, stack: str) -> tuple[float, float]:
    """Passes over prompts and tokens that a row's time holds.

    A static batch has its prompts read in one pass, and as many turns of tokens as it takes for all to have run. In a
    closed loop `n_met` prompts are read while a request writes, or those of all others at work where some wait outside
    the batch, whose turn comes when another ends. Of c clients, data ranks have c / dp each, and read a prompt each in
    the pass that reads one. b of them run at once, the others wait their turn:

        t_request = c prompts + c/b (out - 1) tokens, less c tokens where passes mix
    whatever the order of the queue: by Little's law the time of a request is clients over requests per second.
    Source: [kleinrock1975].
    """
    n_out = drawn_frac(row) * row_number(row, "out_len", 1)
    own = n_clients(row) / plan.dp
    turns = max((own or row_number(row, "batch") // plan.dp) / plan.micro_batch, 1.0)
    if kind == "ttft":
        return 1.0, 0.0
    if kind == "tpot":
        met = n_met(row, own, stack) if turns == 1.0 else max(own / turns - 1.0, 0.0)
        read, written = met / max(n_out - 1.0, 1.0), 1.0  # the first token is the prompt's
    else:
        read, written = max(own, 1.0), turns * max(n_out - 1.0, 0.0)
    # passes that read write as well
    return read, max(written - read * mixes(own, stack, plan), 0.0)
