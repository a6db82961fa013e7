"""Total cost of ownership per chip-second: capital recovery, energy with PUE, facility, maintenance; break-even."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from ..core.types import FloatLike, Scalar, as_float
from ..core.units import UNITS

YEAR_s = UNITS["y"][1]
"""A year of 8760 hours, as cost models count."""
HOUR_s = UNITS["h"][1]


class Ownership(eqx.Module):
    """What money, buildings and energy cost an owner."""

    name: str = eqx.field(static=True)
    life_s: Scalar = eqx.field(converter=as_float)
    """Time over which a server is written off."""
    interest_frac: Scalar = eqx.field(converter=as_float)
    """Cost of capital per year."""
    facility_USD_per_W: Scalar = eqx.field(converter=as_float)
    """Building and its power and cooling plant, per watt of servers."""
    facility_life_s: Scalar = eqx.field(converter=as_float)
    """Time over which the building is written off."""
    maintenance_frac: Scalar = eqx.field(converter=as_float)
    """Parts and people per year, over what the server cost."""
    price_USD_per_J: Scalar = eqx.field(converter=as_float)
    pue: Scalar = eqx.field(converter=as_float)
    """Energy of the facility over that of its servers."""
    average_power_frac: Scalar = eqx.field(converter=as_float)
    """Mean chip power over its limit, where no workload says."""


class Recovery(eqx.Module):
    """What a second costs per dollar of capital, computed once: no function of the chip."""

    server_per_s: Scalar = eqx.field(converter=as_float)
    """Server: recovery and maintenance."""
    facility_per_s: Scalar = eqx.field(converter=as_float)


class ChipRate(eqx.Module):
    """What one chip costs per second, by part."""

    capital_USD_per_s: FloatLike
    """Recovery of the server with interest."""
    maintenance_USD_per_s: FloatLike
    facility_USD_per_s: FloatLike
    energy_USD_per_s: FloatLike


def recovery_per_y(interest_frac: FloatLike, life_y: FloatLike) -> FloatLike:
    """Capital recovery factor: the yearly payment that pays back one dollar in n years at interest i.

        CRF = i / (1 - (1 + i)^-n);  1/n without interest, i for an infinite life
    Source: the annuity of [peng2023chipletcloud]'s cost of ownership (Barroso and Hoelzle's form).
    """
    i, n = jnp.asarray(interest_frac, dtype=float), jnp.asarray(life_y, dtype=float)
    safe = jnp.where(i > 0, i, 1.0)
    return jnp.where(i > 0, safe / -jnp.expm1(-n * jnp.log1p(safe)), 1.0 / n)


def recovery(own: Ownership) -> Recovery:
    """What a second costs per dollar of server and of building [1/s]."""
    server = recovery_per_y(own.interest_frac, own.life_s / YEAR_s) / YEAR_s
    facility = recovery_per_y(own.interest_frac, own.facility_life_s / YEAR_s) / YEAR_s
    return Recovery(server, facility)


def chip_rate(
    capital_USD: FloatLike, provisioned_W: FloatLike, mean_W: FloatLike, own: Ownership, back: Recovery
) -> ChipRate:
    """What one chip in its rack costs by part [USD/s].

        r = C (CRF + m) / year + W_prov p_dc CRF_dc / year + W_mean PUE p_kWh
    with C `capital_USD`, W_prov the server power that the building is sized for: a posynomial in capital and power.
    Source: [peng2023chipletcloud] (Barroso and Hoelzle's form).
    """
    return ChipRate(
        capital_USD_per_s=capital_USD * back.server_per_s,
        maintenance_USD_per_s=capital_USD * own.maintenance_frac / YEAR_s,
        facility_USD_per_s=provisioned_W * own.facility_USD_per_W * back.facility_per_s,
        energy_USD_per_s=mean_W * own.pue * own.price_USD_per_J,
    )


def rate_USD_per_s(rate: ChipRate) -> FloatLike:
    """All parts together [USD/s]."""
    return sum(rate.__dict__.values(), start=0.0 * rate.energy_USD_per_s)


def chip_hour_USD(rate: ChipRate) -> FloatLike:
    """One chip for an hour [USD]."""
    return rate_USD_per_s(rate) * HOUR_s


def owning_USD(capital_USD: FloatLike, rate: ChipRate, used_s: FloatLike) -> FloatLike:
    """What owning a chip has cost after `used_s`, bought on the first day and worth nothing after [USD]."""
    running = rate_USD_per_s(rate) - rate.capital_USD_per_s
    return capital_USD + running * used_s


def break_even_s(capital_USD: FloatLike, rate: ChipRate, rent_USD_per_s: FloatLike) -> FloatLike:
    """Time of use after which buying has cost less than renting: C / (rent - running cost), or infinite.

    Source: equality of `owning_USD` and the rent; no interest, no resale value.
    """
    room = rent_USD_per_s - (rate_USD_per_s(rate) - rate.capital_USD_per_s)
    return jnp.where(room > 0, capital_USD / jnp.where(room > 0, room, 1.0), jnp.inf)
