"""Silicon area by block, die area and die edge (shoreline): within 25 % on A100, H100 and TPU v4."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..core.frames import AbstractShown
from ..core.types import FloatLike
from ..hardware.chip import Chip, TensorEngine
from ..technology.node import Node
from ..technology.package import Package
from ..technology.presets import Technology
from .pipeline import datapath_ratio


class Area(AbstractShown, eqx.Module):
    """Placed silicon area of a package by block, all compute dies together [mm2]."""

    tensor_mm2: FloatLike
    vector_mm2: FloatLike
    control_mm2: FloatLike
    sram_mm2: FloatLike
    local_sram_mm2: FloatLike
    """Register files, L1, PSUM."""
    hbm_mm2: FloatLike
    """HBM PHYs and controllers."""
    link_mm2: FloatLike
    die_to_die_mm2: FloatLike
    network_mm2: FloatLike
    misc_mm2: FloatLike


def block_areas(chip: Chip, tech: Technology) -> Area:
    """Placed area of every block of `chip`, all compute dies of the package together [mm2].

        A_tensor = n rows cols A_pe / u,   A_sram = n C a_sram,   A_hbm = n_stacks a_phy, ...
    with n physical cores and u the placement density; datapaths grow with pipeline depth.
    Source: [llmcompass2024] section 4.2 for the structural sum. Assumes: PHYs do not scale with the node.
    Valid for: errors of about 25 % on chips that it was not fitted to.
    """
    node, core = tech.node, chip.core
    n = chip.n_cores * (1.0 + chip.spare_frac)  # spares take area whether they work or not
    lane = node.simt_lane_area_mm2 if chip.lane_kind == "simt" else node.simd_lane_area_mm2
    sram = node.cache_area_mm2_per_B if chip.sram_kind == "cache" else node.scratchpad_area_mm2_per_B
    pe = pe_area_mm2(core.tensor, node)
    deeper = datapath_ratio(chip.pipeline_depth) / node.placement_frac  # SRAM and PHYs are measured as placed
    tensor = n * core.tensor.rows * core.tensor.cols * pe * deeper
    vector = n * core.vector_lanes * lane * deeper
    # once per core whatever its size, so that a chip of many small cores pays for their ports
    control = n * (node.core_port_area_mm2 + core.dma_bandwidth_Bps * node.dma_area_mm2_per_Bps) / node.placement_frac
    tile_memory = n * core.scratchpad_B * sram
    # vector memory that holds tiles as well is scratchpad once, and has the ports of near-datapath memory besides
    local = n * (core.local_sram_B + core.near_sram_B * node.near_extra_frac) * node.local_sram_area_mm2_per_B
    hbm = chip.n_stacks * tech.memory.phy_area_mm2
    link = chip.scaleup_bandwidth_per_dir_Bps * tech.link.area_mm2_per_Bps
    # both ends of a die-to-die link stand on this package, each carries one direction of the bisection
    d2d = chip.die_to_die_bandwidth_Bps * tech.die_to_die.area_mm2_per_Bps
    blocks = tensor + vector + control + tile_memory + local + hbm + link + d2d  # the network reaches all of them
    return Area(
        tensor, vector, control, tile_memory, local, hbm, link, d2d,
        network_mm2=blocks * tech.package.noc_area_frac, misc_mm2=blocks * tech.package.misc_area_frac,
    )  # fmt: skip


def pe_area_mm2(engine: TensorEngine, node: Node) -> FloatLike:
    """Area of a PE, one datapath for all its precisions, before placement.

        A = max_p(A_p) (1 + g (k - 1)),   A_p = m_p a_p or, where m_p > 1 products end in one sum, a_p (1 + (m_p - 1) s)
    with m_p MACs per cycle and a_p the area of one in precision p, s `product_area_frac`, k precisions and g the cost
    of one more. Products of narrow floats share the alignment and wide accumulator of their contraction; those of 8-bit
    integers need multipliers as wide as BF16's, and share nothing.
    Source: [jouppi2021ten] for systolic PEs as one datapath; [horowitz2014] for multipliers beside adders.
    Assumes: the multiplier of BF16 (8 bits) splits into four of FP8 (4 bits).
    """
    rates, one = engine.macs_per_cycle.stack(), node.pe_area_mm2.stack()
    summed = np.array([False, False, engine.narrow_products == "float", True])
    # the first product of a cycle brings its own sum; below one a cycle a PE has that part of a MAC
    shared = one * (jnp.minimum(rates, 1.0) + jnp.maximum(rates - 1.0, 0.0) * node.product_area_frac)
    # one datapath does all precisions, so that the largest decides and others add the fraction below
    widest = jnp.max(jnp.where(summed, shared, rates * one))
    return widest * extra_precisions(rates, node.extra_precision_area_frac)


def extra_precisions(rates: FloatLike, growth: FloatLike) -> FloatLike:
    """1 + g (k - 1): area of a PE that supports k precisions over one that supports the widest alone."""
    n_extra = jnp.maximum(jnp.sum(jnp.where(rates > 0, 1.0, 0.0)) - 1.0, 0.0)
    return 1.0 + growth * n_extra


def total_area_mm2(area: Area) -> FloatLike:
    """All blocks together [mm2]."""
    return sum(area.__dict__.values(), start=jnp.zeros(()))


def die_area_mm2(chip: Chip, tech: Technology) -> FloatLike:
    """Area of one compute die: blocks plus blank silicon, or more if its edge limits its interfaces [mm2]."""
    blocks = total_area_mm2(block_areas(chip, tech)) / chip.n_dies + chip.blank_mm2
    needed = shoreline_mm(chip, tech) / die_edge_mm(jnp.ones(()), tech.package)  # edge grows as the root of the area
    return jnp.maximum(blocks, needed**2)


def shoreline_mm(chip: Chip, tech: Technology) -> FloatLike:
    """Edge of one die that HBM, scale-up links and die-to-die interfaces occupy [mm]."""
    # by bandwidth: lanes are whole, and a free bandwidth is not
    links = chip.scaleup_bandwidth_per_dir_Bps * tech.link.shoreline_mm_per_Bps
    d2d = chip.die_to_die_bandwidth_Bps * tech.die_to_die.shoreline_mm_per_Bps
    return (chip.n_stacks * tech.memory.shoreline_mm + links + d2d) / chip.n_dies


def die_edge_mm(die_mm2: FloatLike, package: Package) -> FloatLike:
    """Edge length of a die that can carry interfaces [mm].

        L = u 2 (sqrt(r) + 1/sqrt(r)) sqrt(A)
    with A the area, r the aspect and u the usable fraction: a monomial in A.
    """
    # sides are sqrt(A r) and sqrt(A / r); the longer a die, the more edge for its area
    aspect = jnp.sqrt(package.die_aspect)
    return package.shoreline_usable_frac * 2.0 * (aspect + 1.0 / aspect) * jnp.sqrt(die_mm2)


def interposer_mm2(chip: Chip, die_mm2: FloatLike, tech: Technology) -> FloatLike:
    """Interposer area under all dies and HBM stacks, with margin [mm2]."""
    return tech.package.interposer_margin * (chip.n_dies * die_mm2 + chip.n_stacks * tech.memory.footprint_mm2)
