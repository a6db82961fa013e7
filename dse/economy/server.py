"""From package to rack: what one chip pays for host, network, cables, power and cooling around it."""

from __future__ import annotations

import equinox as eqx
import numpy as np

from ..core.types import FloatLike, Scalar, as_float
from ..hardware.chip import Chip


class Host(eqx.Module):
    """A server design: prices of what surrounds its chips. Cost to make, without a vendor's markup."""

    name: str = eqx.field(static=True)
    n_chips: Scalar = eqx.field(converter=as_float)
    host_USD: Scalar = eqx.field(converter=as_float)
    """Processors, memory, storage and motherboard of one host."""
    chassis_USD: Scalar = eqx.field(converter=as_float)
    """Case, cabling, assembly and test of one server."""
    board_USD: Scalar = eqx.field(converter=as_float)
    """Module board and regulators of one chip."""
    nic_USD_per_Bps: Scalar = eqx.field(converter=as_float)
    """Network cards per byte per second, one direction."""
    network_USD_per_Bps: Scalar = eqx.field(converter=as_float)
    """Switches, optics and cables of the network beyond the card."""
    scaleup_USD_per_Bps: Scalar = eqx.field(converter=as_float)
    """Cables, backplanes and switches of the scale-up domain."""
    supply_USD_per_W: Scalar = eqx.field(converter=as_float)
    cooling_USD_per_W: Scalar = eqx.field(converter=as_float)
    """Heat sinks and fans, or cold plates and manifolds, per watt of server."""
    rack_USD_per_W: Scalar = eqx.field(converter=as_float)
    overhead_power_frac: Scalar = eqx.field(converter=as_float)
    """Power of host, fans, cards and conversion over the chip's."""


class ServerCost(eqx.Module):
    """What one chip costs in its rack, by part [USD]."""

    chip_USD: FloatLike
    board_USD: FloatLike
    host_USD: FloatLike
    """Its share of host and chassis."""
    scaleup_USD: FloatLike
    network_USD: FloatLike
    supply_USD: FloatLike
    cooling_USD: FloatLike


NO_SWITCH_W = np.float64(0.0)
"""Power of scale-up switches where the host's overhead holds it."""


class Rack(eqx.Module):
    """What the chips of a rack share beside their hosts."""

    n_chips: Scalar = eqx.field(converter=as_float)
    switch_W_per_Bps: Scalar = eqx.field(converter=as_float)
    """Power of scale-up switches per byte per second that a chip can send; 0 where the host's overhead holds it."""


def server_W(chip_W: FloatLike, host: Host, switch_W: FloatLike = NO_SWITCH_W) -> FloatLike:
    """Server power per chip [W]: the chip's, what host, fans and conversion add in proportion, its switches'."""
    return chip_W * (1.0 + host.overhead_power_frac) + switch_W


def switch_W(chip: Chip, rack: Rack) -> FloatLike:
    """Power of the scale-up switches that one chip needs, busy or not [W]."""
    return chip.scaleup_bandwidth_per_dir_Bps * rack.switch_W_per_Bps


def server_cost(
    chip: Chip, chip_USD: FloatLike, chip_W: FloatLike, host: Host, switches_W: FloatLike = NO_SWITCH_W
) -> ServerCost:
    """Cost of a chip in its rack by part [USD].

        C = c_chip + c_board + (c_host + c_chassis)/n + b_up p_up + b_out (p_nic + p_net) + W (p_psu + p_rack + p_cool)
    with b bandwidths per direction and W the server's power per chip, scale-up switches included: a posynomial.
    Source: lines of [semianalysis2023dgx]; network as a share of capital in [cottier2024].
    """
    watts = server_W(chip_W, host, switches_W)
    network = host.nic_USD_per_Bps + host.network_USD_per_Bps
    return ServerCost(
        chip_USD=chip_USD,
        board_USD=host.board_USD,
        host_USD=(host.host_USD + host.chassis_USD) / host.n_chips,
        scaleup_USD=chip.scaleup_bandwidth_per_dir_Bps * host.scaleup_USD_per_Bps,
        network_USD=chip.scaleout_bandwidth_per_dir_Bps * network,
        supply_USD=watts * (host.supply_USD_per_W + host.rack_USD_per_W),
        cooling_USD=watts * host.cooling_USD_per_W,
    )


def capital_USD(cost: ServerCost) -> FloatLike:
    """All parts together [USD]."""
    return sum(cost.__dict__.values(), start=0.0 * cost.chip_USD)
