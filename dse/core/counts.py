"""Random counts: how high a Poisson number may be."""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.special import ndtri

from .types import FloatLike


def n_peak(n_mean: FloatLike, quantile_frac: FloatLike) -> FloatLike:
    """Number that a Poisson count of mean `n_mean` does not exceed with probability `quantile_frac`.

        n + z_q sqrt(n)

    The number of sequences that decode together is Poisson when each starts as it comes and stays its own time
    (M/G/infinity), and so is the number of prefills that one of them meets.

    Source: [kleinrock1975] section 3.6 for M/M/infinity (only the mean stay matters); normal approximation of Poisson.
    Valid for: counts of some ten; lower ones come out a little small.

    Args:
        n_mean: n, mean.
        quantile_frac: q, from one half up.

    Returns:
        Count.
    """
    return n_mean + ndtri(jnp.asarray(quantile_frac, dtype=float)) * jnp.sqrt(n_mean)
