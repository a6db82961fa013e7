"""Power of single operators, the highest of them, and the operator times that a cooling limit allows."""

from __future__ import annotations

import jax.numpy as jnp

from ..core.smooth import SMALLEST
from ..core.types import FloatLike
from ..hardware.chip import Chip, pool_B
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import OpDemand
from ..technology.presets import Technology
from .calibration import Calibration
from .pipeline import datapath_ratio
from .power import foreign_frac, operand_B, wire_J_per_B, work_W
from .step import Cooled, Step, op_traffic_B, stream_traffic_B


def mac_energy_J(chip: Chip, tech: Technology) -> FloatLike:
    """Energy of a MAC at nominal voltage with its operands and sums, by precision, shape (4,) [J].

        e = e_mac + q e_sram
    with q from `operand_B`; 0 for a precision that the matrix unit lacks.
    """
    node, rates = tech.node, chip.core.tensor.macs_per_cycle.stack()
    operands = operand_B(chip, node) * node.sram_energy_J_per_B
    each = node.mac_energy_J.stack() * datapath_ratio(chip.pipeline_depth) + operands
    # its MACs are 0 as well, and 0 times anything finite stays out of the sum
    return jnp.where(rates > 0, each, 0.0)


def op_energy_J(
    ops: OpDemand, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike, die_mm2: FloatLike
) -> FloatLike:
    """Energy of one run of each operator, as in `step_energy` without links and streams, shape (n_ops,) [J]."""
    node = tech.node
    scale = jnp.square(supply_V / node.nominal_V)
    hbm_B = op_traffic_B(ops, pool_B(chip) * c.tile_memory_frac)
    vector_J = node.vector_op_energy_J * datapath_ratio(chip.pipeline_depth)
    # `wire_J_per_B` below has its own V^2
    on_die = ops.macs @ mac_energy_J(chip, tech) + ops.vector_elements * vector_J
    # from memory to memory across the die, the same mean way as from HBM
    between = ops.spread_B * jnp.sqrt(chip.n_cores / chip.cores_per_pool) * wire_J_per_B(tech, supply_V, die_mm2)
    return on_die * scale + between + hbm_B * read_energy_J_per_B(chip, tech, supply_V, die_mm2)


def read_energy_J_per_B(chip: Chip, tech: Technology, supply_V: FloatLike, die_mm2: FloatLike) -> FloatLike:
    """Energy to move a byte from HBM to a core: DRAM, on-die transport, and die-to-die link for its share [J/B]."""
    # pages are spread evenly over the stacks of all dies
    foreign = foreign_frac(chip.n_dies) * tech.die_to_die.energy_J_per_B
    return tech.memory.energy_J_per_B + foreign + wire_J_per_B(tech, supply_V, die_mm2)


def sustained_J(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike, die_mm2: FloatLike
) -> tuple[FloatLike, FloatLike]:
    """Energy of one run of each operator, shape (n_ops,), and of a micro batch of streamed blocks, which overlap [J].

    The latter includes their HBM traffic, but no links, and is 0 without streaming.
    """
    # operators of a stream share its time, so that only their sum has a power
    one = op_energy_J(d.ops, chip, tech, c, supply_V, die_mm2)
    read = stream_traffic_B(d.stream, chip, c) * read_energy_J_per_B(chip, tech, supply_V, die_mm2)
    return one, d.stream.share * jnp.sum(d.ops.runs * one) + read


def hottest_W(
    d: StepDemand, step: Step, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike, die_mm2: FloatLike,
    still_W: FloatLike,
) -> FloatLike:  # fmt: skip
    """Highest package power during an operator or a streamed block, with delivery losses [W].

    This is the load of regulators and cooling: operators of large models last longer than either averages over.
    """
    # energies at full speed, times as they came out: an operator that waits draws less
    one, block = sustained_J(d, chip, tech, c, supply_V, die_mm2)
    # launches are taken off: nothing works meanwhile. What a stream leaves nothing to do but launch takes no time
    alone = jnp.max(one / jnp.maximum(step.ops.total_s - d.ops.n_launches * c.launch_s, SMALLEST))
    waits = step.host_exposed_s - d.n_calls * c.call_s - d.n_requests * c.request_s
    # over messages and host waits too, behind which a stream goes on reading
    together = block * d.n_micro / (step.compute_s + step.tensor_exposed_s + waits)
    return (jnp.maximum(alone, together) + still_W) * (1.0 + tech.package.voltage_loss_frac)


def cooled_to(
    limit_W: FloatLike, d: StepDemand, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike,
    die_mm2: FloatLike, still_W: FloatLike,
) -> Cooled:  # fmt: skip
    """Shortest times at which no operator exceeds `limit_W`, with delivery losses and static power `still_W`."""
    return cooled(sustained_J(d, chip, tech, c, supply_V, die_mm2), work_W(limit_W, still_W, tech))


def cooled(energies: tuple[FloatLike, FloatLike], work_W: FloatLike) -> Cooled:
    """Shortest times for energies from `sustained_J` at dynamic power `work_W` (see `work_W`)."""
    # an infinite limit gives times of 0, which a norm does not feel: one program with and without cooling
    one, block = energies
    return Cooled(one / work_W, block / work_W)
