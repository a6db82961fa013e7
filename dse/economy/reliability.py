"""Failure rates of components, and goodput of large jobs: checkpointing, restarts, spares.

Rates scale with the design; the factor on the step time is a posynomial of them, so it is in the convex core.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import ndtri

from ..core.types import FloatLike, Scalar, as_float
from ..hardware.chip import Chip


class Reliability(eqx.Module):
    """Failure rates by component, and how an operator recovers."""

    name: str = eqx.field(static=True)
    die_failures_per_s_per_mm2: Scalar = eqx.field(converter=as_float)
    """Failures of compute dies, which grow with their area."""
    hbm_failures_per_s_per_stack: Scalar = eqx.field(converter=as_float)
    network_failures_per_s_per_Bps: Scalar = eqx.field(converter=as_float)
    """Cards, cables and switches of the network."""
    scaleup_failures_per_s_per_Bps: Scalar = eqx.field(converter=as_float)
    host_failures_per_s: Scalar = eqx.field(converter=as_float)
    software_failures_per_s: Scalar = eqx.field(converter=as_float)
    """Software, per chip; takes no hardware away."""
    level: Scalar = eqx.field(converter=as_float)
    """Factor on all rates: how a cluster compares with that of the shares."""
    detect_s: Scalar = eqx.field(converter=as_float)
    """Time from a failure to the alarm."""
    restart_s: Scalar = eqx.field(converter=as_float)
    """From alarm to the first step, without reading the checkpoint."""
    stall_s: Scalar = eqx.field(converter=as_float)
    """Time that work stands still for a checkpoint, on top of moving its bytes."""
    storage_Bps: Scalar = eqx.field(converter=as_float)
    checkpoint_B_per_weight: Scalar = eqx.field(converter=as_float)
    """Bytes written to a checkpoint for every weight of the model."""
    repair_s: Scalar = eqx.field(converter=as_float)
    """Time until failed hardware is back in the pool."""
    spare_frac: Scalar = eqx.field(converter=as_float)
    """Share of the time in which spares suffice for all hardware in repair."""
    n_pool_chips: Scalar = eqx.field(converter=as_float)
    """Chips at work that share one pool of spares, where no job is larger."""


class FailureRates(eqx.Module):
    """Interruptions that one chip causes, by component."""

    die_per_s: FloatLike
    hbm_per_s: FloatLike
    network_per_s: FloatLike
    host_per_s: FloatLike
    """This chip's share of the failures of its server."""
    software_per_s: FloatLike


def failure_rates(chip: Chip, silicon_mm2: FloatLike, n_chips: FloatLike, r: Reliability) -> FailureRates:
    """Interruptions that one chip causes, by component [1/s]; `n_chips` share a host.

        l = L (A f_die + n_stacks f_hbm + b_out f_net + b_up f_up + f_host / n_host + f_software)
    with A `silicon_mm2` of all compute dies: a posynomial in the chip.
    Source: division among components of [grattafiori2024llama3] table 5; level of [kokolis2025].
    Assumes: constant rates (no infant mortality, no lemons), independent components.
    """
    network = chip.scaleout_bandwidth_per_dir_Bps * r.network_failures_per_s_per_Bps
    cables = chip.scaleup_bandwidth_per_dir_Bps * r.scaleup_failures_per_s_per_Bps
    return FailureRates(
        die_per_s=r.level * silicon_mm2 * r.die_failures_per_s_per_mm2,
        hbm_per_s=r.level * chip.n_stacks * r.hbm_failures_per_s_per_stack,
        network_per_s=r.level * (network + cables),
        # one failure of a host stops all of its chips, and counts once among them
        host_per_s=r.level * r.host_failures_per_s / n_chips,
        software_per_s=r.level * r.software_failures_per_s,
    )


def total_per_s(rates: FailureRates) -> FloatLike:
    """All components together [1/s]."""
    return sum(rates.__dict__.values(), start=0.0 * rates.die_per_s)


def hardware_per_s(rates: FailureRates) -> FloatLike:
    """Failures that take hardware away until it is repaired: all but software and the network beyond the server."""
    return rates.die_per_s + rates.hbm_per_s + rates.host_per_s


def transfer_s(state_B: FloatLike, chip: Chip, r: Reliability) -> FloatLike:
    """Time to move one chip's share B of a checkpoint to or from storage: max(B / b_out, B / b_storage)."""
    # bytes stream through both ends at once, so that the slower one sets the time
    return jnp.maximum(state_B / chip.scaleout_bandwidth_per_dir_Bps, state_B / r.storage_Bps)


def young_interval_s(write_s: FloatLike, mtbf_s: FloatLike) -> FloatLike:
    """Time between checkpoints that loses least: sqrt(2 w M). Source: [young1974]. Valid for: w well below M."""
    # least of w / tau + tau / (2 M): what is written, and half an interval lost per failure
    return jnp.sqrt(2.0 * write_s * mtbf_s)


def daly_interval_s(write_s: FloatLike, mtbf_s: FloatLike) -> FloatLike:
    """Time between checkpoints that loses least, higher order.

        tau = sqrt(2 w M) (1 + sqrt(w / 2M) / 3 + (w / 2M) / 9) - w   for w < 2M,   M otherwise
    Source: [daly2006] eq. 37. A difference: outside the convex core, which uses Young's interval.
    """
    half = write_s / (2.0 * mtbf_s)
    best = young_interval_s(write_s, mtbf_s) * (1.0 + jnp.sqrt(half) / 3.0 + half / 9.0) - write_s
    return jnp.where(half < 1.0, best, mtbf_s)


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
    # as a series because (e^x - 1) / x, a difference, is no posynomial, and is 0/0 without failures
    total = jnp.ones_like(jnp.asarray(x, dtype=float))
    # Horner from the innermost term: no factorial, no power, and only positive terms
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
    # with tau put in: w/tau = sqrt(l w / 2) and l (tau + w) = sqrt(2 l w) + l w, so that tau is no variable
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
    # negative below z = 1: a posynomial has no negative term, so that it is left out there
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
