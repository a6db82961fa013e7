"""How often components fail, and what a job of many chips keeps of its time: checkpoints, restarts, spares.

Rates scale with the design, and all that multiplies the step time is a posynomial of them, so in the convex core.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

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
    return jnp.maximum(state_B / chip.scaleout_bandwidth_per_dir_Bps, state_B / r.storage_Bps)


def young_interval_s(write_s: FloatLike, mtbf_s: FloatLike) -> FloatLike:
    """Time between checkpoints that loses least: sqrt(2 w M). Source: [young1974]. Valid for: w well below M."""
    return jnp.sqrt(2.0 * write_s * mtbf_s)


def daly_interval_s(write_s: FloatLike, mtbf_s: FloatLike) -> FloatLike:
    """Time between checkpoints that loses least, higher order.

        tau = sqrt(2 w M) (1 + sqrt(w / 2M) / 3 + (w / 2M) / 9) - w   for w < 2M,   M otherwise
    Source: [daly2006] eq. 37. A difference: outside the convex core, which uses Young's interval.
    """
    half = write_s / (2.0 * mtbf_s)
    best = young_interval_s(write_s, mtbf_s) * (1.0 + jnp.sqrt(half) / 3.0 + half / 9.0) - write_s
    return jnp.where(half < 1.0, best, mtbf_s)
