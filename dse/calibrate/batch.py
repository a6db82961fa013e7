"""Batched prediction of measurements: rows of one kind stacked for one compiled program, each with its calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.types import NAMES, unnamed
from ..evaluation.breakdown import PARTS
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.calibration import FACTS, Calibration, prior_calibration
from ..physics.step import Request, Step, request_s, step_time
from .cases import Case


def padded(demands: Sequence[StepDemand | Request]) -> StepDemand | Request:
    """Demands of different operator counts as one batch: missing operators read a byte and run zero times."""
    # prompts and tokens are padded apart: their operators differ in number
    requests = [d for d in demands if isinstance(d, Request)]
    if requests:
        phases = [padded_steps([getattr(d, phase) for d in requests]) for phase in ("prefill", "decode")]
        return Request(*phases, *(np.stack([getattr(d, n) for d in requests]) for n in ("n_prefill", "n_decode")))
    return padded_steps([d for d in demands if isinstance(d, StepDemand)])


def padded_steps(demands: Sequence[StepDemand]) -> StepDemand:
    """As `padded`, of steps alone."""
    widest = max(d.ops.runs.shape[0] for d in demands)

    def pad(d: StepDemand) -> StepDemand:
        short = widest - d.ops.runs.shape[0]
        fields: dict[str, Any] = {}
        for name in (f.name for f in dataclasses.fields(d.ops)):
            values = np.asarray(getattr(d.ops, name))
            room = [(0, short), *[(0, 0)] * (values.ndim - 1)]  # MACs have an axis of precisions behind
            # a byte in place of none: a time of exactly 0 has no slope under the p-norm
            fields[name] = np.pad(values, room, constant_values=float(name == "hbm_B"))
        return dataclasses.replace(d, ops=dataclasses.replace(d.ops, **fields))

    return jax.tree.map(lambda *xs: np.stack(xs), *(pad(d) for d in demands))


UNREAD = (*NAMES, "lane_kind", "sram_kind", "narrow_products")
"""Text fields of a chip that `step_time` does not read: blank, so that chips of all families stack into one batch."""


def batch(cases: Sequence[Case]) -> tuple[StepDemand | Request, Chip]:
    """Demands and chips of `cases`, stacked."""
    chips = jax.tree.map(lambda *xs: np.stack(xs), *(unnamed(c.chip, UNREAD) for c in cases))
    return padded([c.demand for c in cases]), chips


def calibration_of(numbers: Mapping[str, Any]) -> Calibration:
    """A nameless calibration of `numbers`, which may be traced, also the exponent that is structure elsewhere."""
    # any calibration will do: every number of it is replaced
    c = dataclasses.replace(prior_calibration("h100"), name="")
    fields = {k: v for k, v in numbers.items() if k != "overlap_p"}
    c = eqx.tree_at(lambda t: [getattr(t, k) for k in fields], c, list(fields.values()))
    # the exponent is static in a calibration, where it prunes the graph; here it is a number that the fit moves
    if "overlap_p" in numbers:
        object.__setattr__(c, "overlap_p", numbers["overlap_p"])
    return c


def parts_s(d: StepDemand | Request, chip: Chip, c: Calibration) -> tuple[Array, dict[str, Array]]:
    """Time of a step or request, and its parts [s]."""
    if isinstance(d, StepDemand):
        step: Step = step_time(d, chip, c)
        return jnp.asarray(step.total_s), {p: jnp.asarray(getattr(step, p)) for p in PARTS}
    first, each = step_time(d.prefill, chip, c), step_time(d.decode, chip, c)
    parts = {p: jnp.asarray(d.n_prefill * getattr(first, p) + d.n_decode * getattr(each, p)) for p in PARTS}
    return jnp.asarray(request_s(d, chip, c)), parts


@jax.jit
def _predict(demands: StepDemand | Request, chips: Chip, numbers: Float[Array, "rows fields"]):
    def one(d: StepDemand | Request, chip: Chip, values: Array):
        return parts_s(d, chip, calibration_of({f: values[i] for i, f in enumerate(FACTS)}))

    return jax.vmap(one)(demands, chips, numbers)


def predict(cases: Sequence[Case], served: Sequence[Calibration]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Time of each case, all of steps or all of requests, under its own calibration, and the parts of it [s]."""
    numbers = jnp.asarray([[float(getattr(c, f)) for f in FACTS] for c in served])
    seconds, parts = _predict(*batch(cases), numbers)
    return np.asarray(seconds), {p: np.asarray(v) for p, v in parts.items()}
