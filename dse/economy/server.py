"""Cost and embodied carbon of a chip's share of its server and rack: host, network, cables, power, cooling."""

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
    """Cost of one chip in its rack, by part [USD]."""

    chip_USD: FloatLike
    board_USD: FloatLike
    host_USD: FloatLike
    """Its share of host and chassis."""
    scaleup_USD: FloatLike
    network_USD: FloatLike
    supply_USD: FloatLike
    cooling_USD: FloatLike


# an array and not a Python float, whose weak type would make another compiled program
NO_SWITCH_W = np.float64(0.0)
"""Power of scale-up switches where the host's overhead holds it."""


class Rack(eqx.Module):
    """Properties of a rack besides its hosts."""

    n_chips: Scalar = eqx.field(converter=as_float)
    switch_W_per_Bps: Scalar = eqx.field(converter=as_float)
    """Power of scale-up switches per byte per second that a chip can send; 0 where the host's overhead holds it."""


def server_W(chip_W: FloatLike, host: Host, switch_W: FloatLike = NO_SWITCH_W) -> FloatLike:
    """Server power per chip [W]: the chip's, what host, fans and conversion add in proportion, its switches'."""
    # switches draw as much at rest, and so stand outside of what grows with the chip
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
        # processors and chassis are the host's, whatever chips are in it: few chips a host pay more each
        host_USD=(host.host_USD + host.chassis_USD) / host.n_chips,
        scaleup_USD=chip.scaleup_bandwidth_per_dir_Bps * host.scaleup_USD_per_Bps,
        network_USD=chip.scaleout_bandwidth_per_dir_Bps * network,
        supply_USD=watts * (host.supply_USD_per_W + host.rack_USD_per_W),
        cooling_USD=watts * host.cooling_USD_per_W,
    )


def capital_USD(cost: ServerCost) -> FloatLike:
    """All parts together [USD]."""
    return sum(cost.__dict__.values(), start=0.0 * cost.chip_USD)


class Carbon(eqx.Module):
    """Carbon per thing made and per unit of energy."""

    name: str = eqx.field(static=True)
    fab_J_per_mm2: Scalar = eqx.field(converter=as_float)
    gas_kg_per_mm2: Scalar = eqx.field(converter=as_float)
    """Process gases that escape, per wafer area."""
    material_kg_per_mm2: Scalar = eqx.field(converter=as_float)
    fab_grid_kg_per_J: Scalar = eqx.field(converter=as_float)
    hbm_kg_per_B: Scalar = eqx.field(converter=as_float)
    package_kg: Scalar = eqx.field(converter=as_float)
    thermal_kg_per_W: Scalar = eqx.field(converter=as_float)
    """Heat sinks and cold plates per watt of chip."""
    board_kg: Scalar = eqx.field(converter=as_float)
    """Making the board that carries one chip."""
    host_kg_per_USD: Scalar = eqx.field(converter=as_float)
    """Host server, over what it costs to make."""
    facility_kg_per_W: Scalar = eqx.field(converter=as_float)
    """Building and plant per provisioned watt of server."""
    grid_kg_per_J: Scalar = eqx.field(converter=as_float)
    """Electricity of the grid that feeds the data centre."""


class Embodied(eqx.Module):
    """Embodied carbon of one chip, by part [kg CO2e]."""

    dies_kg: FloatLike
    hbm_kg: FloatLike
    package_kg: FloatLike
    module_kg: FloatLike
    """Board and heat sink of the module."""
    host_kg: FloatLike
    """This chip's share of its server."""
    facility_kg: FloatLike
    """This chip's share of the data centre's building and plant."""


def fab_kg_per_mm2(c: Carbon) -> FloatLike:
    """Carbon of processed wafer per area: CPA = CI_fab EPA + GPA + MPA. Source: [gupta2022act] eq. 5, before yield."""
    return c.fab_grid_kg_per_J * c.fab_J_per_mm2 + c.gas_kg_per_mm2 + c.material_kg_per_mm2


def embodied(
    chip: Chip, started_mm2: FloatLike, chip_W: FloatLike, server_W: FloatLike, host: Host, c: Carbon
) -> Embodied:
    """Carbon of one chip in its rack by part [kg CO2e].

        C = A_started CPA + B_hbm k + c_pkg + (c_board + W p_th) + c_host p_host / n + W_server p_dc
    with A_started the silicon started per good package, n_dies A / Y, W `chip_W` and W_server `server_W` per chip.
    Source: [gupta2022act] eq. 4 to 6; module and memory from [nvidia2025pcfh100]; building from [schneider2025].
    """
    return Embodied(
        # dies that failed were processed like the others
        dies_kg=started_mm2 * fab_kg_per_mm2(c),
        hbm_kg=chip.hbm_capacity_B * c.hbm_kg_per_B,
        package_kg=c.package_kg,
        module_kg=c.board_kg + chip_W * c.thermal_kg_per_W,
        # by price, since nobody prints the carbon of a motherboard
        host_kg=host.host_USD * c.host_kg_per_USD / host.n_chips,
        facility_kg=server_W * c.facility_kg_per_W,
    )


def embodied_kg(parts: Embodied) -> FloatLike:
    """All parts together [kg]."""
    return sum(parts.__dict__.values(), start=0.0 * parts.dies_kg)


def running_kg_per_s(server_W: FloatLike, pue: FloatLike, c: Carbon) -> FloatLike:
    """Carbon of running a chip [kg/s]: W PUE CI_grid. Source: [gupta2022act] eq. 2; [schneider2025]."""
    return server_W * pue * c.grid_kg_per_J
