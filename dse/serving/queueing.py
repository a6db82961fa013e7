"""Waiting in steady state: how long a prompt queues for its prefill (M/G/1), and what prefills cost others' tokens."""

from __future__ import annotations

import jax.numpy as jnp

from ..core.types import FloatLike

FULL_LOAD_FRAC = 1.0 - 2.0**-26
"""Load from which a queue has no steady state: nearer to 1 rounding decides which side it is on."""


def mean_wait_s(service_s: FloatLike, service_cv2: FloatLike, load_frac: FloatLike) -> FloatLike:
    """Mean wait before service in M/G/1, with S `service_s`, c^2 `service_cv2` and rho `load_frac`.

        W = rho S (1 + c^2) / (2 (1 - rho))
    Source: [kleinrock1975] section 5.7 (Pollaczek-Khinchine mean value formula); c = 0 is M/D/1, c = 1 is M/M/1.
    Valid for: rho < 1; infinite from `FULL_LOAD_FRAC` on.
    """
    steady = load_frac < FULL_LOAD_FRAC
    wait = load_frac * service_s * (1.0 + service_cv2) / (2.0 * jnp.where(steady, 1.0 - load_frac, 1.0))
    return jnp.where(steady, wait, jnp.inf)


def wait_quantile_s(
    service_s: FloatLike, service_cv2: FloatLike, load_frac: FloatLike, quantile_frac: FloatLike
) -> FloatLike:
    """Wait that a share `quantile_frac` of requests does not exceed in M/G/1.

        P(wait > w) = rho exp(-rho w / W)   =>   w_q = W / rho ln(rho / (1 - q)), at least 0
    with W the mean wait, rho `load_frac`, q `quantile_frac`. Exact for M/M/1; for M/D/1 a little high at light load.
    Source: [kingman1961] for the exponential tail; [kleinrock1975] section 5.7 for its mean.
    """
    waiting = mean_wait_s(service_s, service_cv2, load_frac) / jnp.maximum(load_frac, jnp.finfo(float).tiny)
    excess = jnp.maximum(load_frac / (1.0 - quantile_frac), 1.0)
    return jnp.where(load_frac < FULL_LOAD_FRAC, waiting * jnp.log(excess), jnp.inf)


def settling_s(service_s: FloatLike, load_frac: FloatLike) -> FloatLike:
    """Time in which a queue forgets how it began: before several of these pass it is in no steady state.

        T = S / (1 - sqrt(rho))^2,  S `service_s`, rho `load_frac`
    Source: [kleinrock1975] section 2.14: M/M/1 from any start decays as exp(-(sqrt(mu) - sqrt(lambda))^2 t).
    Assumes: service times as in M/M/1. Valid for: rho < 1; infinite from 1 on.
    """
    idle = 1.0 - jnp.sqrt(load_frac)
    return jnp.where(idle > 0, service_s / jnp.square(jnp.where(idle > 0, idle, 1.0)), jnp.inf)


def n_accepted_tokens(acceptance_frac: FloatLike, n_drafted: int) -> FloatLike:
    """Tokens that one verification pass yields with speculative decoding.

        1 + a + a^2 + ... + a^g = (1 - a^(g+1)) / (1 - a)
    with a the chance that each of g drafted tokens is accepted. Source: [leviathan2023] eq. 1.
    Assumes: tokens are accepted independently.
    """
    total = jnp.ones_like(jnp.asarray(acceptance_frac, dtype=float))
    for _ in range(n_drafted):
        total = 1.0 + acceptance_frac * total
    return total
