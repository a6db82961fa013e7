"""The design space: free numbers of a chip (`FREE`), discrete choices (`Choice`), and chips built from both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import numpy as np

from ..core.errors import SpecError, UnknownNameError
from ..core.provenance import number
from ..core.text import quantity_text
from ..core.types import FloatLike, as_float, where
from ..hardware.chip import ROUNDING, Chip, TensorEngine, shares_pool, sides
from ..hardware.instructions import instruction_of, threads
from ..hardware.own_chip import granule_growth, short_name
from ..physics.power import crossing_B
from ..technology.node import PRECISIONS, ByPrecision
from ..technology.package import harvested
from ..technology.presets import Technology, memory, technology

FREE: dict[str, Callable[[Chip], FloatLike]] = {
    "n_cores": lambda c: c.n_cores,
    "clock_Hz": lambda c: c.clock_Hz,
    "pipeline_depth": lambda c: c.pipeline_depth,
    "scratchpad_B": lambda c: c.core.scratchpad_B,
    "vector_lanes": lambda c: c.core.vector_lanes,
    "dma_bandwidth_Bps": lambda c: c.core.dma_bandwidth_Bps,
    "n_stacks": lambda c: c.n_stacks,
    "hbm_bandwidth_Bps": lambda c: c.hbm_bandwidth_Bps,
    "hbm_capacity_B": lambda c: c.hbm_capacity_B,
    "scaleup_bandwidth_per_dir_Bps": lambda c: c.scaleup_bandwidth_per_dir_Bps,
}
"""Free numbers of a chip, by name. `scratchpad_B`, `vector_lanes` and `dma_bandwidth_Bps` are per core."""
RELATIVE = ("pipeline_depth",)
"""Free numbers relative to the baseline: 1 for every existing chip."""
AUXILIARY = ("supply_V", "die_mm2")
"""Auxiliary variables of the optimisation, set by constraints (V-f law; blocks and shoreline of the die)."""
TOUCH = 1.0 + 1e-6
"""Slack for whole stacks that meet a capacity or bandwidth limit exactly, so that the feasible set has an interior."""
INTEGERS = ("n_cores", "n_stacks")
STEPPED = (*INTEGERS, "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps")
"""Free numbers with discrete values in a real chip; see `steps`."""
LANES = 16.0
"""Step of vector lanes: the smallest vector unit in use (an SM of Volta and Ampere has four, a CU of CDNA too)."""
RINGS_Bps = 16e9
"""Step of a core's DMA bandwidth: 1 GB/s for each of sixteen engines, as on every Trainium [aws2026dma]."""
MACRO_B = 2.0**20
"""Step of a scratchpad: one macro, 8 KiB on each of 128 partitions."""
SLICE_B = 2.0**13
"""Step of a core's share of a cache, if the study allows less than a macro."""
WIDEST_FLOOR = 2
"""Largest aspect ratio of the grid of cores on a die."""
SEATED = ("system", "scaleout_Bps")
"""Fields of a choice that are set only if the study chooses a system."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """One discrete choice of a design: node, HBM and link generation, dies, PE array, formats, system."""

    node: str
    hbm: str
    link: str
    n_dies: int
    pe_array: str
    """Rows and columns of a core's PE array, such as "128x128"."""
    native_fp4: bool
    """Whether FP4 runs at twice the FP8 rate instead of at the FP8 rate."""
    spare_cores: int = 1
    """Spare cores per die, so that dies with defective cores can be sold; 0: only perfect dies are."""
    fp8_rate: float = 0.0
    """MACs of a PE per cycle in FP8 over those in BF16; 0: as the baseline."""
    stack_capacity_B: float = 0.0
    """Capacity of an HBM stack; 0: the largest of its generation."""
    reticle_mm2: float = 0.0
    """Modelled area of an existing die, which is known to fit the reticle; replaces a smaller reticle limit."""
    system: str = ""
    """System of the chip, preset or path of a file; empty: the baseline's, with the study's host."""
    scaleout_Bps: float = 0.0
    """Scale-out bandwidth of a chip, one direction; 0: the study's."""
    matrix_instruction: str = ""
    """Result size of one matrix instruction, such as "16x8"; empty: as the baseline."""

    def written(self) -> dict[str, Any]:
        """Fields and values; those of a system only if one was chosen."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v or k not in SEATED}

    @property
    def words(self) -> dict[str, str]:
        """What names the choice in tables, by field; no word for what is left as the baseline has it."""
        network = f"{quantity_text('scaleout_Bps', self.scaleout_Bps)} to the network" if self.scaleout_Bps else ""
        instruction = f"instruction {self.matrix_instruction}" if self.matrix_instruction else ""
        # dies and their node are one word
        found = {"node": f"{self.n_dies} x {self.node}", "pe_array": self.pe_array, "matrix_instruction": instruction}
        found |= {"hbm": self.hbm, "link": self.link}
        found |= {"fp8_rate": f"FP8 at {self.fp8_rate:g}x BF16" if self.fp8_rate else ""}
        found |= {"native_fp4": "native FP4" if self.native_fp4 else "FP4 at FP8 rate"}
        found |= {"system": short_name(self.system) if self.system else "", "scaleout_Bps": network}
        return {field: word for field, word in found.items() if word}

    def text(self) -> str:
        """One line for tables."""
        return ", ".join(self.words.values())


def as_built(chip: Chip) -> Choice:
    """Discrete choices of an existing chip, with the largest HBM stack of its generation."""
    tensor = chip.core.tensor
    # the largest stack, not the chip's own: what is offered to a design is what is made today
    rate = {p: float(tensor.macs_per_cycle.of(p)) for p in PRECISIONS}
    array = f"{int(tensor.rows)}x{int(tensor.cols)}"
    return Choice(chip.node, chip.hbm, chip.link, int(chip.n_dies), array, rate["fp4"] > rate["fp8"])


def array_of(choice: Choice, baseline: Chip) -> TensorEngine:
    """The baseline's PE array resized: wider than tall is square ones side by side, as in TPUs; GPUs tile as before."""
    rows, cols = sides(choice.pe_array, "pe_array")
    base = baseline.core.tensor
    rates = base.macs_per_cycle
    fp8 = choice.fp8_rate * float(rates.bf16) or float(rates.fp8)
    fp4 = 2.0 * fp8 if choice.native_fp4 else fp8
    is_gpu = baseline.lane_kind == "simt"
    # a granule grows with the rows of a systolic array, which it must fill; a GPU's is its instruction's, however many
    grow, wide = (1.0, 1.0) if is_gpu else granule_growth((rows, cols), (float(base.rows), float(base.cols)))
    wider = {p: float(base.granule_contract.of(p)) * grow for p in PRECISIONS}
    # a PE of twice the rate takes twice as many elements of a contraction in a cycle
    wider["fp8"] *= fp8 / float(rates.fp8) if float(rates.fp8) > 0 else 1.0
    rates = ByPrecision(rates.fp32, rates.bf16, fp8, fp4)
    wider["fp4"] = wider["fp8"] * fp4 / fp8 if fp8 > 0 else wider["fp4"]
    return TensorEngine(
        rows,
        cols,
        rates,
        ByPrecision(**wider),
        float(base.granule_stationary) * wide,
        base.granule_moving,
        base.tile_moving,
        base.tile_contract,
        "float" if choice.fp8_rate or choice.native_fp4 else base.narrow_products,
        *instruction_of(choice.matrix_instruction, base),
    )


def template(choice: Choice, baseline: Chip, scaleout_Bps: float) -> Chip:
    """A chip with the structure of `choice` and the free numbers of the baseline.

    PSUM grows with the columns it serves, registers and L1 of a GPU's core with its MACs (to the power
    `register_growth`). Depth and clock at nominal voltage stay: a node gains energy at equal speed, and speed is bought
    along its V-f curve.
    """
    engine = array_of(choice, baseline)
    base = baseline.core
    wider, taller = float(engine.cols) / float(base.tensor.cols), float(engine.rows) / float(base.tensor.rows)
    served = (wider * taller) ** number(threads(), "register_growth") if baseline.lane_kind == "simt" else wider
    core = dataclasses.replace(base, tensor=engine, local_sram_B=base.local_sram_B * served)
    return dataclasses.replace(
        baseline, name="design", node=choice.node, hbm=choice.hbm, link=choice.link, core=core, n_dies=choice.n_dies,
        spare_frac=choice.spare_cores * choice.n_dies / float(baseline.n_cores),
        cores_per_pool=_pooled(choice, baseline),
        hbm_capacity_B=float(baseline.n_stacks) * stack_B(choice) * TOUCH,
        scaleout_bandwidth_per_dir_Bps=choice.scaleout_Bps or scaleout_Bps, blank_mm2=0.0,
    )  # fmt: skip


def _pooled(choice: Choice, baseline: Chip) -> float:
    """Cores that share a tile memory: those of a die where the baseline has one pool per die, else as there."""
    per_pool, n_cores = float(baseline.cores_per_pool), float(baseline.n_cores)
    per_die = per_pool > 1 and float(baseline.n_dies) > 1 and per_pool * float(baseline.n_dies) == n_cores
    return n_cores / choice.n_dies if per_die else per_pool


def stack_B(choice: Choice) -> float:
    """Capacity of one HBM stack: as chosen, or the largest of its generation [B]."""
    return choice.stack_capacity_B or float(memory(choice.hbm).stack_capacity_B)


def choice_technology(choice: Choice, package: str) -> Technology:
    """Technology of a choice; dies are harvested if it has spare cores."""
    tech = technology(choice.node, choice.hbm, choice.link, package=package)
    package_ = harvested(tech.package, np.float64(choice.spare_cores))
    if choice.reticle_mm2 > float(package_.reticle_mm2):
        package_ = dataclasses.replace(package_, reticle_mm2=choice.reticle_mm2)
    return dataclasses.replace(
        tech, package=package_, memory=dataclasses.replace(tech.memory, stack_capacity_B=stack_B(choice))
    )


def has_floorplan(n_per_die: int) -> bool:
    """Whether the cores of a die fill a grid of aspect ratio at most `WIDEST_FLOOR`."""
    # r is the shorter side, at most the root; n / r <= 2 r is n <= 2 r^2
    rows = range(1, math.isqrt(n_per_die) + 1)
    return any(n_per_die % r == 0 and n_per_die <= WIDEST_FLOOR * r * r for r in rows)


def steps(name: str, n_dies: int, lower: float, upper: float) -> np.ndarray:
    """Allowed values of a stepped free number between two bounds, ascending; may be empty.

    Cores fill a grid on every die, stacks stand beside every die alike; scratchpads come in macros (or slices, below
    one), lanes in units, and DMA in sixteen like engines.
    UnknownNameError: a number that is not stepped. SpecError: bounds further apart than `MOST_STEPS`.
    """
    if name not in STEPPED:
        raise UnknownNameError("stepped free parameter", name, STEPPED)
    memory_B = SLICE_B if lower < MACRO_B * (1 - ROUNDING) else MACRO_B
    unit = {"scratchpad_B": memory_B, "vector_lanes": LANES, "dma_bandwidth_Bps": RINGS_Bps}.get(name, float(n_dies))
    # a bound written as a whole step may miss it by the rounding of its unit
    first, last = math.ceil(lower / unit * (1 - ROUNDING)), math.floor(upper / unit * (1 + ROUNDING))
    if last - first > MOST_STEPS:
        raise SpecError(
            f"free.{name}: bounds {lower:g} and {upper:g} hold over {MOST_STEPS:,} whole steps, and each is looked "
            "at; narrow them"
        )
    # none of a thing is no step: numbers are logs in the solver
    counts = [k for k in range(max(first, 1), last + 1) if name != "n_cores" or has_floorplan(k)]
    return unit * np.asarray(counts, dtype=float)


MOST_STEPS = 200_000
"""Most steps between the bounds of a free number: 1.6 GB of scratchpad in slices."""


def with_free(chip: Chip, values: Mapping[str, FloatLike | float]) -> Chip:
    """`chip` with numbers of `FREE` replaced; spare cores and tile-memory pools are kept; UnknownNameError for others.

    Capacity follows the number of stacks, and die-to-die bandwidth the HBM bandwidth that crosses between dies.
    """
    for name in values:
        if name not in FREE:
            raise UnknownNameError("free parameter", name, FREE)
    names = list(values)
    # spares are a number that was bought: as a share they would grow with the cores
    n_spare, stack = chip.spare_frac * chip.n_cores, chip.hbm_capacity_B / chip.n_stacks
    common = shares_pool(chip.cores_per_pool, chip.n_cores, chip.n_dies)
    pool_frac = chip.cores_per_pool / chip.n_cores
    # all of the above is of the old chip; after this line it would be of the new one
    chip = eqx.tree_at(lambda c: [FREE[n](c) for n in names], chip, [as_float(values[n]) for n in names])
    if "hbm_capacity_B" not in values:
        chip = eqx.tree_at(lambda c: c.hbm_capacity_B, chip, stack * chip.n_stacks)
    # not `if`: in the program of a solver `common` is traced, and has no value yet
    pool = where(common, pool_frac * chip.n_cores, chip.cores_per_pool)
    moved = crossing_B(chip.hbm_bandwidth_Bps, chip), n_spare / chip.n_cores, pool
    return eqx.tree_at(lambda c: (c.die_to_die_bandwidth_Bps, c.spare_frac, c.cores_per_pool), chip, moved)
