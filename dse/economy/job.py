"""A job on many chips with failures: wall time, cost, energy and carbon per step and token; `Economy`, `Upkeep`."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from ..core.types import FloatLike, Scalar, as_float
from ..hardware.chip import Chip
from ..workload.requests import Requests
from ..workload.transformer import Prefill, Training, Workload, total_parameters
from .ownership import ChipRate, Ownership, Recovery, chip_hour_USD, chip_rate, rate_USD_per_s
from .reliability import (
    FailureRates,
    Reliability,
    Sparing,
    failure_rates,
    hardware_per_s,
    n_spare_units,
    provision,
    slowdown,
    total_per_s,
    transfer_s,
)
from .server import (
    Carbon,
    Embodied,
    Host,
    Rack,
    ServerCost,
    capital_USD,
    embodied,
    embodied_kg,
    running_kg_per_s,
    server_cost,
    server_W,
    switch_W,
)

MEGAWATT_W = 1e6


class Job(eqx.Module):
    """Size of a job: chips, tokens per step, checkpoint bytes."""

    n_chips: Scalar = eqx.field(converter=as_float)
    """Chips at work together: the failure of one stops all."""
    tokens: Scalar = eqx.field(converter=as_float)
    state_B: Scalar = eqx.field(converter=as_float)
    """Bytes that one chip saves per checkpoint; 0 for serving."""
    stall_s: Scalar = eqx.field(converter=as_float)
    """Standstill per checkpoint beside its transfer; 0 for serving."""


class Economy(eqx.Module):
    """Economic surroundings of a chip: host, ownership, failures, spares, carbon, margin, rack."""

    host: Host
    ownership: Ownership
    recovery: Recovery
    """Cost per second and dollar of capital."""
    reliability: Reliability
    sparing: Sparing
    carbon: Carbon
    margin: Scalar = eqx.field(converter=as_float)
    """Package price over its manufacturing cost."""
    n_blast_chips: Scalar = eqx.field(converter=as_float)
    """Most chips that one hardware failure takes out until it is repaired: a host's, or a whole torus."""
    n_pool_chips: Scalar = eqx.field(converter=as_float)
    """Chips of the largest job, which share one pool of spares with those of others up to the usual pool."""
    rack: Rack


class Owned(eqx.Module):
    """One chip in its rack, before any job runs on it."""

    cost: ServerCost
    failures: FailureRates
    embodied: Embodied
    provisioned_W: FloatLike
    """Server power the building is sized for."""


class Upkeep(eqx.Module):
    """Time, cost, energy and carbon of a job's step, with failures, spares and capital."""

    wall_step_s: FloatLike
    """Mean wall time per useful step, with checkpoints and failures."""
    held: FloatLike
    """Chips held over chips at work."""
    rate: ChipRate
    """USD per second of one chip held."""
    chip_hour_USD: FloatLike
    cost_per_token_USD: FloatLike
    """Total cost (TCO) over useful tokens."""
    energy_per_token_J: FloatLike
    """At the facility's meter, with PUE."""
    carbon_per_token_kg: FloatLike
    """Embodied carbon, depreciated over the server's life, plus operational carbon."""
    rack_W: FloatLike
    """Provisioned power of a rack: chips, hosts, switches, conversion."""
    rack_USD: FloatLike
    rack_time_per_token_s: FloatLike
    """Time per useful token of one rack, spares included: the inverse of throughput per rack."""
    megawatt_time_per_token_s: FloatLike
    """Time per useful token of one megawatt at the facility's meter: the inverse of throughput per megawatt."""
    rack_scaleup_Bps: FloatLike
    """Scale-up bandwidth of all chips of a rack, one direction."""
    rack_scaleout_Bps: FloatLike
    """Scale-out bandwidth of all chips of a rack, one direction."""


def job_of(workload: Workload | Requests, n_chips: int, r: Reliability) -> Job:
    """The job that a workload on `n_chips` is; training saves its share of weights and optimizer states.

    Tokens of a model in service follow from engine and batch. Assumes: a failure stops all chips of all engines.
    """
    if isinstance(workload, Requests):  # a "step" is then the time of one token on each chip
        # nothing is saved in service: what was lost is asked again
        return Job(n_chips, n_chips, 0.0, 0.0)  # type: ignore[arg-type]
    if isinstance(workload, Training):
        # chips write at once, each its own share
        saved = float(r.checkpoint_B_per_weight) * total_parameters(workload.model) / n_chips
        return Job(n_chips, workload.global_batch * workload.sequence, saved, r.stall_s)  # type: ignore[arg-type]
    # a prefill has read whole prompts, a decode step has made one token of each sequence
    each = workload.prompt if isinstance(workload, Prefill) else 1
    return Job(n_chips, workload.batch * each, 0.0, 0.0)  # type: ignore[arg-type]


def owned(
    chip: Chip, package_USD: FloatLike, silicon_mm2: FloatLike, started_mm2: FloatLike, chip_W: FloatLike, e: Economy
) -> Owned:
    """A chip in its rack, its package bought for `e.margin` times its cost; all posynomials of the chip."""
    switches = switch_W(chip, e.rack)
    watts = server_W(chip_W, e.host, switches)
    return Owned(
        cost=server_cost(chip, package_USD * e.margin, chip_W, e.host, switches),
        failures=failure_rates(chip, silicon_mm2, e.host.n_chips, e.reliability),
        embodied=embodied(chip, started_mm2, chip_W, watts, e.host, e.carbon),
        provisioned_W=watts,
    )


def job_slowdown(o: Owned, chip: Chip, job: Job, r: Reliability) -> FloatLike:
    """Wall time over useful time of `job`: at least 1."""
    move = transfer_s(job.state_B, chip, r)
    # independent rates add up; a restart reads what a checkpoint wrote, over the same links
    return slowdown(job.n_chips * total_per_s(o.failures), job.stall_s + move, r.detect_s + r.restart_s + move)


def n_spare_chips(job: Job, e: Economy) -> FloatLike:
    """Chips that one failure takes from `job`, and that a spare unit has: a host behind switches.

    On a torus the job's block, at least a host and at most the torus, since cables cannot go around a lost one.
    """
    return jnp.minimum(jnp.maximum(job.n_chips, e.host.n_chips), e.n_blast_chips)


def held_over_used(o: Owned, job: Job, e: Economy) -> FloatLike:
    """Chips held over chips at work: the spares that failed hosts, or failed blocks of a torus, need."""
    r = e.reliability
    # the larger the pool, the fewer spares per chip: small jobs share the usual one, a larger job is one by itself
    pool = jnp.maximum(e.n_pool_chips, r.n_pool_chips)
    spares = n_spare_units(hardware_per_s(o.failures), pool, r.repair_s, e.sparing)
    return provision(spares, n_spare_chips(job, e), pool)


def upkeep(o: Owned, chip: Chip, job: Job, step_s: FloatLike, chip_W: FloatLike, e: Economy) -> Upkeep:
    """Wall time, cost, energy and carbon of a step of `job`: posynomials of the chip, its power and its step time.

        t_wall = t T/T_useful,   x per token = (rate of x) N held t_wall / tokens,  t `step_s`, without failures
    Assumes: spares and waiting chips cost and draw as much as chips at work.
    """
    own = e.ownership
    wall, held = step_s * job_slowdown(o, chip, job, e.reliability), held_over_used(o, job, e)
    mean = server_W(chip_W, e.host, switch_W(chip, e.rack))
    rate = chip_rate(capital_USD(o.cost), o.provisioned_W, mean, own, e.recovery)
    # spread evenly over the life, as the money is; without interest, which carbon has none of
    carbon = embodied_kg(o.embodied) / own.life_s + running_kg_per_s(mean, own.pue, e.carbon)
    chip_seconds = job.n_chips * held * wall / job.tokens
    dollars, n_rack = rate_USD_per_s(rate), e.rack.n_chips
    energy_J = mean * own.pue * chip_seconds
    return Upkeep(
        wall_step_s=wall,
        held=held,
        rate=rate,
        chip_hour_USD=chip_hour_USD(rate),
        cost_per_token_USD=dollars * chip_seconds,
        energy_per_token_J=energy_J,
        carbon_per_token_kg=carbon * chip_seconds,
        rack_W=o.provisioned_W * n_rack,
        rack_USD=capital_USD(o.cost) * n_rack,
        rack_time_per_token_s=chip_seconds / n_rack,
        megawatt_time_per_token_s=energy_J / MEGAWATT_W,  # J over W: how long one megawatt feeds it
        rack_scaleup_Bps=chip.scaleup_bandwidth_per_dir_Bps * n_rack,
        rack_scaleout_Bps=chip.scaleout_bandwidth_per_dir_Bps * n_rack,
    )
