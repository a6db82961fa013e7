"""Transforms of calibration numbers to unbounded coordinates, in which priors are normal and fits are done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.provenance import Sourced
from ..core.types import FloatLike

NUMBERS = (
    "overlap_p", "matmul_frac", "narrow_frac", "attention_frac", "hbm_frac", "vector_frac", "scaleup_frac",
    "scaleout_frac", "launch_s", "host_s", "scaleup_hop_s", "scaleout_hop_s", "collective_s",
    "exchange_s", "call_s", "request_s", "tp_overlap_frac", "dp_overlap_frac",
)  # fmt: skip
"""The numbers that measurements move, in the order of every array of them."""

OF_HOST = ("launch_s", "host_s", "call_s", "request_s")
"""Gaps between kernels and overheads of the host, which depend on the software and hardly on the chip."""

BY_HAND = ("attention_frac",)
"""What kernels reach that are written by hand for one vendor's matrix unit, whatever compiles the rest."""

LEAD, FOLLOW = NUMBERS.index("matmul_frac"), (NUMBERS.index("narrow_frac"), NUMBERS.index("attention_frac"))
"""What slows all matrix work of a stack slows 8-bit products and attention too, unless measurements say otherwise."""


def following(centre: Sequence[float] | Array) -> list[FloatLike]:
    """How far each of `FOLLOW` moves with matrix products, over their own way, both in coordinates.

        (1 - f) / (1 - g),   f, g the priors of matrix products and of what follows
    since a logit moves by dr / (1 - f) for a ratio dr of rates: a clock that is 5 % slower is so for all products. As
    many logits for all would take twice as much from attention, at some 0.6, as from matrix products, at some 0.8.
    """
    return [(1.0 + jnp.exp(jnp.asarray(centre[i]))) / (1.0 + jnp.exp(jnp.asarray(centre[LEAD]))) for i in FOLLOW]


# small enough to stand for none (2 %, a nanosecond, the plain sum), and still within reach of a fit
LEAST_FRAC, LEAST_S, LEAST_EXCESS = 0.02, 1e-9, 0.1
"""Fractions, times and exponents beyond 1 nearer to their bounds than this have no finite coordinate."""
LEAST_DEVIATION = 0.1
"""A prior without a range still gives way this much, in free coordinates."""


def to_free(name: str, value: float) -> float:
    """Logit of a fraction, log of a time, log of what an exponent exceeds 1 by."""
    if name.endswith("_frac"):
        # a prior may say 0 or 1, whose logit is infinite
        f = min(max(value, LEAST_FRAC), 1 - LEAST_FRAC)
        return math.log(f / (1 - f))
    return math.log(max(value - 1.0, LEAST_EXCESS) if name == "overlap_p" else max(value, LEAST_S))


def from_free(name: str, x: Array) -> Array:
    """The number at a coordinate."""
    # beyond 1, since a p-norm below the sum would let one limit shorten another
    return jax.nn.sigmoid(x) if name.endswith("_frac") else jnp.exp(x) + (1.0 if name == "overlap_p" else 0.0)


def number_at(name: str, x: float) -> float:
    """As `from_free`, of a plain number."""
    return 1 / (1 + math.exp(-x)) if name.endswith("_frac") else math.exp(x) + (1.0 if name == "overlap_p" else 0.0)


def centre_and_deviation(facts: Mapping[str, Sourced]) -> tuple[list[float], list[float]]:
    """Coordinates of a prior's values, and half of each range there, read as one standard deviation."""
    centre = [to_free(n, float(facts[n].value)) for n in NUMBERS]
    # half the width, not the way to one end: the value need not lie in the middle
    half = [(to_free(n, facts[n].high) - to_free(n, facts[n].low)) / 2 for n in NUMBERS]
    return centre, [max(h, LEAST_DEVIATION) for h in half]
