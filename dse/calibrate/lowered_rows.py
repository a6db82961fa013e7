"""A row of requests, lowered: its system as ranks see it, prompt and token, and the passes that read and write."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from ..core.errors import PlanError
from ..evaluation.assembly import chip_reference
from ..hardware.chip import Chip
from ..hardware.devices import core_counts, per_device
from ..hardware.system import System
from ..lowering.collective import Reference
from ..lowering.memory import memory_B
from ..lowering.mixed import mixed_demand
from ..lowering.plan import Plan
from ..lowering.serving import pass_demand, useful_FLOP
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape
from ..physics.calibration import FIXED_SHAPES, default_calibration
from ..workload.transformer import Decode, Prefill
from . import loops
from .cases import ranks_per_chip
from .published import system_of
from .reading import row_number
from .request_rows import (
    checkpoint,
    lengths,
    padded_heads,
    row_cache,
    row_plan,
    row_storage,
    served_model,
)


class LoweredRow(NamedTuple):
    """A row's system as its ranks see it, its plan and token, and the passes that read its prompt and write a token."""

    system: System
    plan: Plan
    token: Decode
    first: StepDemand
    """A pass over a prompt, which also writes a token for every sequence where passes mix."""
    each: StepDemand


def lowered_row(row: Any, chip_name: str, system_name: str, stack: str) -> LoweredRow:
    """What a row of requests asks of its system; PlanError where its weights do not fit."""
    sequences, clients = int(row_number(row, "batch", 0)), loops.n_clients(row)
    # a program compiled for one batch runs all of it, whoever is there
    batch = sequences or int(clients) if stack in FIXED_SHAPES else int(clients) or sequences
    usual = system_of(chip_name, system_name)
    plan = row_plan(row, batch, core_counts(usual.chip))
    size = plan.tp * plan.pp * plan.dp
    per_chip = ranks_per_chip(usual.chip, "tp*pp*dp", size, row_number(row, "num_chips"))
    system = per_device(usual, per_chip, size)
    model = padded_heads(served_model(row), plan.tp)
    prompt, context = lengths(row, stack)
    narrow, products = row_storage(row, system.chip, model)
    storage, cache = checkpoint(narrow, model, stack, row_cache(row))
    # clients of a loop ask one by one; a static batch is read in at once
    alone = dataclasses.replace(plan, micro_batch=1) if clients else plan
    prompts = Prefill(model, plan.dp if clients else batch, prompt, storage, cache, product_precision=products)
    token = Decode(model, batch, context, storage, cache, product_precision=products)
    if stack not in FIXED_SHAPES:  # what finds no room for its cache waits, from a client or of a batch
        plan = dataclasses.replace(plan, micro_batch=loops.n_running(plan, token, system.chip))
        token = dataclasses.replace(token, batch=plan.micro_batch * plan.dp)
    _holds(system.chip, plan, token, size)
    ref = chip_reference(system.chip, default_calibration(chip_name, stack))
    ref = dataclasses.replace(ref, ranks_are_cores=per_chip > 1)
    mixed = loops.mixes(clients / plan.dp, stack, plan)
    first, each = _passes(prompts, alone, token, plan, system, ref, mixed)
    if clients > 1:  # a request's own time is hidden behind the running batch, a pass's too unless it writes itself
        first = dataclasses.replace(first, n_requests=0.0, n_calls=each.n_calls if mixed else 0.0)
    return LoweredRow(system, plan, token, first, each)


def _passes(
    prompts: Prefill, alone: Plan, token: Decode, plan: Plan, system: System, ref: Reference, mixed: bool
) -> tuple[StepDemand, StepDemand]:
    """A pass that reads prompts, in which tokens are written too where `mixed`, and one that writes alone."""
    array = array_shape(system.chip.core.tensor)
    each = pass_demand(token, plan, system, array, ref)
    if not mixed:
        return pass_demand(prompts, alone, system, array, ref), each
    both = mixed_demand(token, prompts, plan, system, array, ref)
    # useful for the prompt: what a baseline asks
    return dataclasses.replace(both, model_FLOP=useful_FLOP(prompts, prompts.prompt) / system.n_chips), each


def _holds(chip: Chip, plan: Plan, token: Decode, size: int) -> None:
    """PlanError where a rank's weights exceed its memory: what ran was something else."""
    held_B, room_B = memory_B(plan, token).weights_B, float(chip.hbm_capacity_B)
    if held_B > room_B:
        said = f"{held_B / 1e9:.0f} GB of weights as {token.weight_precision} on each of {size} ranks"
        raise PlanError(f"{said} of {room_B / 1e9:.0f} GB: precision, chips or ranks are not what ran")
