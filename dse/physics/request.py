"""A request as so many passes over its prompt and so many tokens after: what a user waits for."""

from __future__ import annotations

import equinox as eqx

from ..core.types import FloatLike, Scalar, as_float
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from .calibration import Calibration
from .step import step_time


class Request(eqx.Module):
    """Times that add up to what was asked: of a first token, of a next one, of a whole answer."""

    prefill: StepDemand
    """Reading the prompts of the batch."""
    decode: StepDemand
    """One token for every sequence, at the mean context."""
    n_prefill: Scalar = eqx.field(converter=as_float)
    """How many of the first count."""
    n_decode: Scalar = eqx.field(converter=as_float)
    """How many of the second count."""


def request_s(r: Request, chip: Chip, c: Calibration) -> FloatLike:
    """Time of a request.

        t = n_prefill t_prefill + n_decode t_decode

    Source: [agrawal2023sarathi] section 2 for the two phases.
    Assumes: time per token is linear in the context, so the mean context stands for all.

    Args:
        r: the request.
        chip: rates.
        c: achievable fractions.

    Returns:
        Seconds, shape `()`.
    """
    first, each = (step_time(d, chip, c).total_s for d in (r.prefill, r.decode))
    return r.n_prefill * first + r.n_decode * each
