"""Carbon of making a chip with its share of server and building, and of running it."""

from __future__ import annotations

import equinox as eqx

from ..core.types import FloatLike, Scalar, as_float
from ..hardware.chip import Chip
from .server import Host


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
    """Carbon of one chip before it is switched on, by part [kg CO2e]."""

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
        dies_kg=started_mm2 * fab_kg_per_mm2(c),
        hbm_kg=chip.hbm_capacity_B * c.hbm_kg_per_B,
        package_kg=c.package_kg,
        module_kg=c.board_kg + chip_W * c.thermal_kg_per_W,
        host_kg=host.host_USD * c.host_kg_per_USD / host.n_chips,
        facility_kg=server_W * c.facility_kg_per_W,
    )


def embodied_kg(parts: Embodied) -> FloatLike:
    """All parts together [kg]."""
    return sum(parts.__dict__.values(), start=0.0 * parts.dies_kg)


def running_kg_per_s(server_W: FloatLike, pue: FloatLike, c: Carbon) -> FloatLike:
    """Carbon of running a chip [kg/s]: W PUE CI_grid. Source: [gupta2022act] eq. 2; [schneider2025]."""
    return server_W * pue * c.grid_kg_per_J
