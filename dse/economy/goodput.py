"""What remains of a job's time and of a fleet's chips: the closed forms, all posynomials of the failure rate."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import ndtri

from ..core.types import FloatLike, Scalar, as_float

NO_TIME_s = 1e-300
"""Added below a root, so that its slope is finite where nothing is written; no other number of a job feels it."""
SKEW_POWER = 0.125
"""How the skewness of the number in repair grows with its mean, see `n_spare_units`."""
TERMS = 24
"""Terms kept of the series; exact to rounding while failures per segment stay below about 3."""


def repeats(x: FloatLike) -> FloatLike:
    """(e^x - 1) / x as a power series: mean attempts' worth of time per segment that lasts `x` mean failures.

    h(x) = 1 + x/2 (1 + x/3 (1 + ...)) = sum_k x^k / (k + 1)!,  a posynomial where x is one
    """
    total = jnp.ones_like(jnp.asarray(x, dtype=float))
    for k in range(TERMS, 1, -1):
        total = 1.0 + x / float(k) * total
    return total


def slowdown(failures_per_s: FloatLike, write_s: FloatLike, restart_s: FloatLike) -> FloatLike:
    """Wall time over useful time of a job that checkpoints at Young's interval: one over its goodput in time.

        T / T_useful = e^(l R) (e^(l (tau + w)) - 1) / (l tau) = e^(l R) (1 + w/tau) h(l (tau + w))
    with l the job's failure rate, w `write_s`, R `restart_s` (detection and reading included), tau = sqrt(2 w / l): a
    posynomial times an exponential in l, w and R. Without checkpoints (w = 0) it is e^(l R); without failures, 1.
    Source: [daly2006], the complete model (exponential failures; restarts may fail too).
    Assumes: failures do not depend on each other; a checkpoint in progress is lost; useful segments of equal length.
    """
    root = jnp.sqrt(write_s + NO_TIME_s) * jnp.sqrt(failures_per_s)
    segment = jnp.sqrt(2.0) * root + failures_per_s * write_s
    return jnp.exp(failures_per_s * restart_s) * (1.0 + root / jnp.sqrt(2.0)) * repeats(segment)


def first_order_goodput_frac(
    interval_s: FloatLike, failures_per_s: FloatLike, write_s: FloatLike, restart_s: FloatLike
) -> FloatLike:
    """Effective training time ratio, first order; negative where failures come faster than restarts.

        ETTR = (1 - l (R + tau/2)) / (1 + w/tau)
    Source: [kokolis2025] section III, with a queueing time of zero. A difference: outside the convex core.
    """
    return (1.0 - failures_per_s * (restart_s + interval_s / 2.0)) / (1.0 + write_s / interval_s)


class Sparing(eqx.Module):
    """How many spares suffice for a share of the time, computed once: no function of the chip."""

    sigmas: Scalar = eqx.field(converter=as_float)
    """Standard deviations of a normal number that it does not exceed for that share of the time."""
    skew: Scalar = eqx.field(converter=as_float)
    """What the skewness of a count adds."""


def sparing(covered_frac: FloatLike) -> Sparing:
    """Spares that suffice for `covered_frac` of the time: z = Phi^-1(A) and (z^2 - 1)/6, see `n_spare_units`."""
    z = ndtri(covered_frac)
    return Sparing(z, jnp.maximum(z**2 - 1.0, 0.0) / 6.0)


def n_spare_units(
    hardware_failures_per_s: FloatLike, n_chips: FloatLike, repair_s: FloatLike, wanted: Sparing
) -> FloatLike:
    """Spare units (a host, or a block of a torus) that suffice for a share A of the time, not rounded.

        s = mu + z sqrt(mu) + (z^2 - 1)/6 mu^(1/8),  mu = N l_hw t_repair,  z = Phi^-1(A)
    with N `n_chips` at work and `wanted` the `sparing(A)`: the quantile of a binomial number in repair.
    Source: Cornish and Fisher's expansion of the quantile [cornish1938] of the Poisson number in repair (an
    M/G/infinity queue, by Little's law). Its term of skewness has no mu; the power makes it vanish where nothing fails,
    and was chosen so that s lies within 1.3 of the exact whole number for mu of 0.001 to 15.
    Assumes: failures do not depend on each other; units many against those in repair.
    Valid for: A of at least 0.85; below it the last term is left out.
    """
    mean = n_chips * hardware_failures_per_s * repair_s
    return mean + wanted.sigmas * jnp.sqrt(mean) + wanted.skew * mean**SKEW_POWER


def provision(n_spares: FloatLike, n_blast_chips: FloatLike, n_chips: FloatLike) -> FloatLike:
    """Chips held over chips at work: 1 + s b / N, where each failure takes b chips out until repaired."""
    return 1.0 + n_spares * n_blast_chips / n_chips
