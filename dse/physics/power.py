"""Energy of a step by block, static power, supply voltage (V-f law), and throttling."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core.frames import AbstractShown
from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..technology.node import PRECISION_BITS, PRECISIONS, Node
from ..technology.presets import Technology
from .area import Area, total_area_mm2
from .pipeline import cycle_ratio, datapath_ratio
from .step import Step


class Energy(AbstractShown, eqx.Module):
    """Dynamic energy of one chip per step by block [J], without power-delivery losses (added in `power_W`)."""

    tensor_J: FloatLike
    sram_J: FloatLike
    """Operands and partial sums between SRAM and the arrays."""
    vector_J: FloatLike
    wire_J: FloatLike
    """On-die transport between HBM and cores, and between cores."""
    hbm_J: FloatLike
    """DRAM, TSV, IO and PHY."""
    link_J: FloatLike


def voltage_limit(
    clock_Hz: FloatLike, supply_V: FloatLike, nominal_clock_Hz: FloatLike, node: Node, overdrive_V: FloatLike
) -> FloatLike:
    """Supply voltage needed for `clock_Hz`, over `supply_V`: at most 1 for a working chip.

        f = k (V - V_th)^a / V   <=>   [(f V / (f_n V_n))^(1/a) (V_n - V_th) + V_th] / V <= 1
    with f the clock, f_n the nominal clock and `overdrive_V` = V_n - V_th: a posynomial, as the convex core needs.
    Source: [sakurai1990] alpha-power law, with k set so that the pipeline runs at f_n at nominal voltage V_n.
    """
    # V stands on the left as well, to the powers 1/a - 1 and -1: one limit in V and f, both free, without solving for V
    speed = clock_Hz * supply_V / (nominal_clock_Hz * node.nominal_V)
    return (speed ** (1.0 / node.alpha) * overdrive_V + node.threshold_V) / supply_V


def supply_V(clock_Hz: FloatLike, nominal_clock_Hz: FloatLike, node: Node) -> FloatLike:
    """Supply voltage at which a pipeline reaches `clock_Hz`, clipped to the node's range [V]; fixed-point iteration."""
    # the law has no closed form for V; its own left side, times V, is the next guess and contracts
    overdrive = node.nominal_V - node.threshold_V

    def better(_: FloatLike, v: FloatLike) -> FloatLike:
        return v * voltage_limit(clock_Hz, v, nominal_clock_Hz, node, overdrive)

    # each round leaves (1/a)(V - V_th)/V, some 0.4, of the error: after 60 rounding alone
    start = jnp.asarray(node.nominal_V, dtype=float)
    settled = jax.lax.fori_loop(0, 60, better, start)
    # below the range a slow clock saves no more; above it `chip_technology` refuses the clock
    return jnp.clip(settled, node.minimum_V, node.maximum_V)


def most_clock_Hz(chip: Chip, node: Node) -> FloatLike:
    """Clock of `chip` at the highest supply voltage of its node [Hz].

        f = f_n V_n / V ((V - V_th) / (V_n - V_th))^a / T
    with V `maximum_V` and T the cycle time at the chip's pipeline depth over that at depth 1.
    Source: [sakurai1990] as in `voltage_limit`, solved for the clock.
    """
    # both sides of the law over those at nominal voltage, so that k drops out
    reach = (node.maximum_V - node.threshold_V) / (node.nominal_V - node.threshold_V)
    speed = reach**node.alpha * node.nominal_V / node.maximum_V
    return chip.nominal_clock_Hz * speed / cycle_ratio(chip.pipeline_depth)


LEAST_RATE = 2.0**-10
"""Floor of MACs per PE and cycle, below any real rate, to avoid division by zero."""


def operand_B(chip: Chip, node: Node) -> FloatLike:
    """SRAM bytes with the same energy as one MAC's operands and fp32 sums, by precision, shape (4,) [B/MAC].

        q = b / (8 cols) + 8 / (rows m)        at the edges of an array
        q = r b / 8 (1 / i + 1 / j)            where registers feed instructions
    with b bits, m MACs per PE and cycle, i x j the result of a matrix instruction and r `register_energy_frac`; 0 where
    the unit lacks a precision. An instruction fetches its operands once, whatever array stands for the units of a core.
    Source: [jouppi2021ten] for the edges of a systolic array; [nvidia2026ptx], [amd2022cdna2isa] for instructions.
    Assumes: sums of an instruction stay beside its adders: from registers each time they would take 2.2 times V100's
    TDP, and four times the products' energy where its maker says a fifth [semiengineering2022programmable].
    """
    t = chip.core.tensor
    rates = t.macs_per_cycle.stack()
    bits = jnp.asarray([float(PRECISION_BITS[p]) for p in PRECISIONS])
    some = jnp.maximum(rates, LEAST_RATE)  # `where` hides the value of a missing precision, but not a gradient of 1/0
    # 8: a partial sum of 4 B is written and read; m products of a PE share it, as do all rows above
    at_edges = bits / (8.0 * t.cols) + 8.0 / (t.rows * some)
    # 0 stands for an array without instructions: 1 keeps the side that `where` drops finite, slopes too
    rows, cols = jnp.maximum(t.instruction_rows, 1.0), jnp.maximum(t.instruction_cols, 1.0)
    from_registers = node.register_energy_frac * bits / 8.0 * (1.0 / rows + 1.0 / cols)
    return jnp.where(rates > 0, jnp.where(t.instruction_rows > 0, from_registers, at_edges), 0.0)


def step_energy(
    d: StepDemand, step: Step, chip: Chip, tech: Technology, supply_V: FloatLike, die_mm2: FloatLike
) -> Energy:
    """Dynamic energy of one chip per step by block [J].

        E = [ sum_p N_p e_p + B_sram e_sram + N_vec e_vec + (B_hbm + B_core) l e_wire ] (V/V_n)^2
            + B_hbm e_hbm + B_link e_link
    with l the mean distance across the die, a fixed fraction of its side (`die_mm2`), B_core bytes between cores, V
    `supply_V` and B_hbm from `step`.
    Source: form of [kandiah2021accelwattch]; per-operation energies of [jouppi2021ten] scaled by node.
    Assumes: no energy for padding; all bytes cross the die once; the same energy per byte for all traffic.
    """
    node = tech.node
    scale = jnp.square(supply_V / node.nominal_V)  # on the die; memory and links have supplies of their own
    deeper = datapath_ratio(chip.pipeline_depth)
    n_vector = d.n_micro * jnp.sum(d.ops.runs * d.ops.vector_elements)  # a bubble burns static power alone
    # `spread_B` is over sqrt(n): a finer grid of memories has more borders
    between_B = d.n_micro * jnp.sum(d.ops.runs * d.ops.spread_B) * jnp.sqrt(chip.n_cores / chip.cores_per_pool)
    # bytes on the wire: `up_B` counts those of a partly used domain several times, as if all links had carried them
    sent = sum((n * (t.sent_B + t.out_B) for n, t in d.traffics.values()), start=jnp.zeros(()))
    # a chip pays for one end of what it sends and one end of what it receives; energies count both ends
    link = sent * tech.link.energy_J_per_B + crossing_B(step.hbm_B, chip) * tech.die_to_die.energy_J_per_B
    return Energy(
        tensor_J=d.n_micro * jnp.sum(d.macs * node.mac_energy_J.stack()) * scale * deeper,
        sram_J=d.n_micro * jnp.sum(d.macs * operand_B(chip, node)) * node.sram_energy_J_per_B * scale,
        vector_J=n_vector * node.vector_op_energy_J * scale * deeper,
        wire_J=(step.hbm_B + between_B) * wire_J_per_B(tech, supply_V, die_mm2),
        hbm_J=step.hbm_B * tech.memory.energy_J_per_B,
        link_J=link,
    )


def wire_J_per_B(tech: Technology, supply_V: FloatLike, die_mm2: FloatLike) -> FloatLike:
    """On-die transport energy over the mean distance, a fixed fraction of the die's side [J/B]."""
    # a share of the side, as places of blocks are unknown; the root of an area is a monomial, a layout is not
    distance = tech.package.noc_reach_frac * jnp.sqrt(die_mm2)
    return distance * tech.node.wire_energy_J_per_B_per_mm * jnp.square(supply_V / tech.node.nominal_V)


def work_W(limit_W: FloatLike, still_W: FloatLike, tech: Technology) -> FloatLike:
    """Dynamic power left by a power limit: P_max / (1 + loss) - P_static [W]; negative if static power exceeds it."""
    # a difference, so not for the convex core, which limits the power of a free time instead
    return limit_W / (1.0 + tech.package.voltage_loss_frac) - still_W


def crossing_B(hbm_B: FloatLike, chip: Chip) -> FloatLike:
    """Bytes (or B/s) that cross between dies when memory is interleaved evenly: (n - 1)/n of the traffic."""
    return hbm_B * foreign_frac(chip.n_dies)


def foreign_frac(n_dies: FloatLike) -> FloatLike:
    """Share of evenly interleaved memory that is attached to another die."""
    # no posynomial, and need not be one: dies are chosen, never free
    return (n_dies - 1.0) / n_dies


def energy_J(energy: Energy) -> FloatLike:
    """Sum of all blocks [J]."""
    return sum(energy.__dict__.values(), start=jnp.zeros(()))


def static_W(chip: Chip, tech: Technology, area: Area, supply_V: FloatLike) -> FloatLike:
    """Static power: leakage, clocks and management, HBM refresh [W].

        P = (A p_logic + C_sram p_sram) exp(k_V (V - V_n)) + P_const + n_stacks P_stack
    with A all blocks, as the fit to whole chips has it, and C_sram the bytes of tile and local memory.
    Source: form and slopes of [kandiah2021accelwattch] and public fits; see the node's receipts.
    Assumes: 85 C; spare cores leak as logic, their memory is off.
    """
    node = tech.node
    # memory of enabled cores, area of all: what is fused off keeps leaking logic
    sram_B = chip.n_cores * (chip.core.scratchpad_B + chip.core.local_sram_B)
    leakage = total_area_mm2(area) * node.logic_leakage_W_per_mm2 + sram_B * node.sram_leakage_W_per_B
    # a quotient, not exp(k (V - V_n)): a difference would hide from the proof of convexity that V itself is in there
    voltage = jnp.exp(node.leakage_per_V * supply_V) / jnp.exp(node.leakage_per_V * node.nominal_V)
    return leakage * voltage + tech.package.constant_W + chip.n_stacks * tech.memory.static_W_per_stack


def power_W(dynamic_J: FloatLike, step_s: FloatLike, still_W: FloatLike, tech: Technology) -> FloatLike:
    """Mean package power of a step that takes `step_s`, delivery losses included [W]."""
    # conversion loses a share of whatever passes, at rest as at work
    return (dynamic_J / step_s + still_W) * (1.0 + tech.package.voltage_loss_frac)


def throttled_s(
    step_s: FloatLike, dynamic_J: FloatLike, still_W: FloatLike, limit_W: FloatLike, tech: Technology
) -> FloatLike:
    """Step time under a power limit: the chip slows down at the same dynamic energy per step [s].

        t = max(T, E / (P_max / (1 + loss) - P_static))
    with T `step_s`, E `dynamic_J`, P_static `still_W` and P_max `limit_W`; infinite where static power exceeds the
    limit. Exact counterpart of the limits `T <= t` and `P(t) <= P_max` of the optimisation.
    """
    room = work_W(limit_W, still_W, tech)
    # both `where` are needed: the gradient of the side that is not taken must be finite too
    return jnp.where(room > 0, jnp.maximum(step_s, dynamic_J / jnp.where(room > 0, room, 1.0)), jnp.inf)
