"""Power with everything at full rate, by block, to compare with a TDP."""

from __future__ import annotations

import jax.numpy as jnp

from ..core.types import FloatLike
from ..hardware.chip import Chip, named, serves
from ..technology.node import PRECISIONS, rate_name
from ..technology.presets import Technology
from .area import Area
from .pipeline import datapath_ratio
from .power import crossing_B, operand_B, static_W, wire_J_per_B


def full_load_W(
    chip: Chip, tech: Technology, precision: str, area: Area, die_mm2: FloatLike, supply_V: FloatLike
) -> FloatLike:
    """Package power with all engines, HBM and links at full rate in `precision`, or the next wider that there is [W].

        P = (P_cores + P_wire + P_hbm + P_links + P_static) (1 + loss)
    with P_cores = P_tensor + P_sram + P_vector in an NPU, whose engines run at once, and max(P_tensor + P_sram,
    P_vector) in a multithreaded core, whose engines share registers and issue slots: it runs the one or the other.
    `area` (of the package), `die_mm2` and `supply_V` as from `silicon`.
    """
    engines = _engine_loads_W(chip, tech, precision, supply_V)
    around = _other_loads_W(chip, tech, area, die_mm2, supply_V)
    matrix = engines["tensor"] + engines["sram"]
    # the larger of two posynomials: a limit on it is a limit on each
    cores = jnp.maximum(matrix, engines["vector"]) if chip.lane_kind == "simt" else matrix + engines["vector"]
    return (cores + sum(around.values(), start=jnp.zeros(()))) * (1.0 + tech.package.voltage_loss_frac)


def full_load_power_W(
    chip: Chip, tech: Technology, precision: str, area: Area, die_mm2: FloatLike, supply_V: FloatLike
) -> dict[str, FloatLike]:
    """`full_load_W` by block [W]; of a multithreaded core's lanes what they draw beyond its matrix unit."""
    engines = _engine_loads_W(chip, tech, precision, supply_V)
    around = _other_loads_W(chip, tech, area, die_mm2, supply_V)
    if chip.lane_kind == "simt":
        # a difference for tables only, so that the parts add up to what is limited
        engines["vector"] = jnp.maximum(engines["vector"] - engines["tensor"] - engines["sram"], 0.0)
    parts = {**engines, **around}
    delivered = sum(parts.values(), start=jnp.zeros(()))
    return {**parts, "delivery": delivered * tech.package.voltage_loss_frac}


def _engine_loads_W(chip: Chip, tech: Technology, precision: str, supply_V: FloatLike) -> dict[str, FloatLike]:
    """Power of the arrays, of the SRAM that feeds them and of the vector lanes, each at full rate [W]."""
    node, t = tech.node, chip.core.tensor
    # switching charges a capacitance, C V^2; energies of a node are those at its nominal supply
    scale = jnp.square(supply_V / node.nominal_V)
    deeper = datapath_ratio(chip.pipeline_depth)
    core_rate = chip.n_cores * chip.clock_Hz
    moved_B, tensor, sram = jnp.asarray(operand_B(chip, node)), jnp.zeros(()), jnp.zeros(())
    # what the unit lacks runs in the next wider that it has, so that no chip's load leaves its arrays out: rates may be
    # free, so that the narrowest of those above 0 is found in the program
    for p in (rate_name(x) for x in named(t.narrow_products) if serves(x, precision)):
        rate = t.macs_per_cycle.of(p)
        macs = core_rate * t.rows * t.cols * rate
        tensor = jnp.where(rate > 0, macs * node.mac_energy_J.of(p), tensor)
        sram = jnp.where(rate > 0, macs * moved_B[PRECISIONS.index(p)] * node.sram_energy_J_per_B, sram)
    # lanes may run slower than the arrays, and burn by their own clock
    lanes = core_rate * chip.core.vector_lanes * chip.core.vector_clock_frac
    return {
        "tensor": tensor * scale * deeper,
        "sram": sram * scale,
        "vector": lanes * node.vector_op_energy_J * scale * deeper,
    }


def _other_loads_W(
    chip: Chip, tech: Technology, area: Area, die_mm2: FloatLike, supply_V: FloatLike
) -> dict[str, FloatLike]:
    """Power of HBM and links at full rate, of the wires between HBM and cores, and of a chip at rest [W]."""
    # one direction: energies count both ends of a link, and a chip pays for one of each way
    sent = chip.scaleup_bandwidth_per_dir_Bps + chip.scaleout_bandwidth_per_dir_Bps
    between = crossing_B(chip.hbm_bandwidth_Bps, chip) * tech.die_to_die.energy_J_per_B
    return {
        "wire": chip.hbm_bandwidth_Bps * wire_J_per_B(tech, supply_V, die_mm2),
        "hbm": chip.hbm_bandwidth_Bps * tech.memory.energy_J_per_B,
        "links": sent * tech.link.energy_J_per_B + between,
        "static": static_W(chip, tech, area, supply_V),
    }
