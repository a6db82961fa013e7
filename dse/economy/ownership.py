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
    """Owner's cost of capital, facility, energy and maintenance."""

    name: str = eqx.field(static=True)
    life_s: Scalar = eqx.field(converter=as_float)
    """Depreciation time of a server."""
    interest_frac: Scalar = eqx.field(converter=as_float)
    """Cost of capital per year."""
    facility_USD_per_W: Scalar = eqx.field(converter=as_float)
    """Building and its power and cooling plant, per watt of servers."""
    facility_life_s: Scalar = eqx.field(converter=as_float)
    """Depreciation time of the building."""
    maintenance_frac: Scalar = eqx.field(converter=as_float)
    """Maintenance cost per year over the server's price."""
    price_USD_per_J: Scalar = eqx.field(converter=as_float)
    pue: Scalar = eqx.field(converter=as_float)
    """Power usage effectiveness (PUE): energy of the facility over that of its servers."""
    average_power_frac: Scalar = eqx.field(converter=as_float)
    """Mean chip power over its limit, without a workload."""


class Recovery(eqx.Module):
    """Cost per second and dollar of capital; independent of the chip."""

    server_per_s: Scalar = eqx.field(converter=as_float)
    """Server: capital recovery; maintenance is apart, a share of its price per year."""
    facility_per_s: Scalar = eqx.field(converter=as_float)


class ChipRate(eqx.Module):
    """Cost of one chip per second, by part."""

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
    safe = jnp.where(i > 0, i, 1.0)  # the branch not taken must be finite too, or its slope is NaN
    # 1 - (1 + i)^-n would lose its digits at small rates
    return jnp.where(i > 0, safe / -jnp.expm1(-n * jnp.log1p(safe)), 1.0 / n)


def recovery(own: Ownership) -> Recovery:
    """Cost per second and dollar of server and of building [1/s]."""
    server = recovery_per_y(own.interest_frac, own.life_s / YEAR_s) / YEAR_s
    facility = recovery_per_y(own.interest_frac, own.facility_life_s / YEAR_s) / YEAR_s
    return Recovery(server, facility)


def chip_rate(
    capital_USD: FloatLike, provisioned_W: FloatLike, mean_W: FloatLike, own: Ownership, back: Recovery
) -> ChipRate:
    """Cost of one chip in its rack by part [USD/s].

        r = C (CRF + m) / year + W_prov p_dc CRF_dc / year + W_mean PUE p_kWh
    with C `capital_USD`, W_prov the server power that the building is sized for: a posynomial in capital and power.
    Source: [peng2023chipletcloud] (Barroso and Hoelzle's form).
    """
    return ChipRate(
        capital_USD_per_s=capital_USD * back.server_per_s,
        # of the price and not of what is still owed: it costs as much in the last year
        maintenance_USD_per_s=capital_USD * own.maintenance_frac / YEAR_s,
        facility_USD_per_s=provisioned_W * own.facility_USD_per_W * back.facility_per_s,
        # the building is sized for what may be drawn, the meter counts what is
        energy_USD_per_s=mean_W * own.pue * own.price_USD_per_J,
    )


def rate_USD_per_s(rate: ChipRate) -> FloatLike:
    """All parts together [USD/s]."""
    # a zero of the parts' own shape and kind: traced, batched or plain
    return sum(rate.__dict__.values(), start=0.0 * rate.energy_USD_per_s)


def chip_hour_USD(rate: ChipRate) -> FloatLike:
    """Cost of one chip-hour [USD]."""
    return rate_USD_per_s(rate) * HOUR_s


def owning_USD(capital_USD: FloatLike, rate: ChipRate, used_s: FloatLike) -> FloatLike:
    """Total cost of owning a chip for `used_s`, without resale value [USD]."""
    # the capital is paid at once here, so that its recovery by the second is taken out
    running = rate_USD_per_s(rate) - rate.capital_USD_per_s
    return capital_USD + running * used_s


def break_even_s(capital_USD: FloatLike, rate: ChipRate, rent_USD_per_s: FloatLike) -> FloatLike:
    """Time of use after which buying is cheaper than renting: C / (rent - running cost), or infinite [s].

    Source: equality of `owning_USD` and the rent; no interest, no resale value.
    """
    # a difference, and so outside the convex core: two `where`, as the slope of the side not taken must be finite
    room = rent_USD_per_s - (rate_USD_per_s(rate) - rate.capital_USD_per_s)
    return jnp.where(room > 0, capital_USD / jnp.where(room > 0, room, 1.0), jnp.inf)
