"""Designs: which numbers of a chip are free, and which structure is chosen outside the gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import equinox as eqx

from ..core.errors import SpecError, UnknownNameError
from ..core.types import FloatLike
from ..hardware.chip import Chip, TensorEngine
from ..physics.power import crossing_B
from ..technology.node import PRECISIONS, ByPrecision
from ..technology.presets import Technology, node, technology

FREE: dict[str, Callable[[Chip], FloatLike]] = {
    "n_cores": lambda c: c.n_cores,
    "clock_Hz": lambda c: c.clock_Hz,
    "scratchpad_B": lambda c: c.core.scratchpad_B,
    "vector_lanes": lambda c: c.core.vector_lanes,
    "dma_bandwidth_Bps": lambda c: c.core.dma_bandwidth_Bps,
    "n_stacks": lambda c: c.n_stacks,
    "hbm_bandwidth_Bps": lambda c: c.hbm_bandwidth_Bps,
    "hbm_capacity_B": lambda c: c.hbm_capacity_B,
    "scaleup_bandwidth_per_dir_Bps": lambda c: c.scaleup_bandwidth_per_dir_Bps,
}
"""Free numbers of a chip: name to place. `scratchpad_B`, `vector_lanes` and `dma_bandwidth_Bps` are per core."""

AUXILIARY = ("supply_V", "die_mm2")
"""Free numbers beside the chip: bought by limits (the V-f law, the blocks and the shoreline)."""

INTEGERS = ("n_cores", "n_stacks")
"""Free numbers that a real chip rounds, to multiples of its dies."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """One point of the discrete space."""

    node: str
    """Process node."""
    hbm: str
    """Memory generation."""
    link: str
    """Scale-up link generation."""
    n_dies: int
    """Compute dies per package."""
    pe_array: str
    """Rows and columns, such as "128x128"."""
    native_fp4: bool
    """Whether FP4 runs at twice the FP8 rate instead of at the FP8 rate."""

    def text(self) -> str:
        """One line for tables."""
        fp4 = "native FP4" if self.native_fp4 else "FP4 at FP8 rate"
        return f"{self.n_dies} x {self.node}, {self.pe_array}, {self.hbm}, {self.link}, {fp4}"


def pe_dims(pe_array: str) -> tuple[int, int]:
    """Rows and columns of "128x128"; SpecError for anything else."""
    parts = pe_array.split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise SpecError(f"pe_array '{pe_array}' is not of the form '128x128'")
    return int(parts[0]), int(parts[1])


def array_of(choice: Choice, baseline: Chip) -> TensorEngine:
    """The baseline's PE array resized, with or without a native FP4 rate; an array as wide as tall stays so."""
    rows, cols = pe_dims(choice.pe_array)
    base = baseline.core.tensor
    rates = base.macs_per_cycle
    fp4 = 2.0 * float(rates.fp8) if choice.native_fp4 else float(rates.fp8)
    rates = ByPrecision(rates.fp32, rates.bf16, rates.fp8, fp4)
    grow = rows / float(base.rows)
    wider = {p: float(base.granule_contract.of(p)) * grow for p in PRECISIONS}
    wider["fp4"] = wider["fp8"] * fp4 / float(rates.fp8)
    return TensorEngine(
        rows,
        cols,
        rates,
        ByPrecision(**wider),
        float(base.granule_stationary) * cols / float(base.cols),
        base.granule_moving,
        base.tile_moving,
        base.tile_contract,
    )


def template(choice: Choice, baseline: Chip, scaleout_Bps: float) -> Chip:
    """A chip with the structure of `choice`; its free numbers are still the baseline's.

    Near-datapath memory (PSUM) grows with the columns it serves; the pipeline keeps its depth, so its nominal
    clock follows the node's speed.
    """
    engine = array_of(choice, baseline)
    base = baseline.core
    core = dataclasses.replace(
        base, tensor=engine, local_sram_B=base.local_sram_B * float(engine.cols) / float(base.tensor.cols)
    )
    speed = float(node(choice.node).relative_speed) / float(node(baseline.node).relative_speed)
    return dataclasses.replace(
        baseline, name="design", node=choice.node, hbm=choice.hbm, link=choice.link, core=core, n_dies=choice.n_dies,
        nominal_clock_Hz=baseline.nominal_clock_Hz * speed, scaleout_bandwidth_per_dir_Bps=scaleout_Bps,
    )  # fmt: skip


def choice_technology(choice: Choice, package: str) -> Technology:
    """Technology of a choice."""
    return technology(choice.node, choice.hbm, choice.link, package=package)


def with_free(chip: Chip, values: Mapping[str, FloatLike | float]) -> Chip:
    """`chip` with free numbers replaced; memory of another die is reached over the die-to-die links.

    Raises:
        UnknownNameError: a name that is not in `FREE`.
    """
    for name in values:
        if name not in FREE:
            raise UnknownNameError("free parameter", name, FREE)
    names = list(values)
    chip = eqx.tree_at(lambda c: [FREE[n](c) for n in names], chip, [values[n] for n in names])
    crossing_Bps = crossing_B(chip.hbm_bandwidth_Bps, chip)
    return eqx.tree_at(lambda c: c.die_to_die_bandwidth_Bps, chip, crossing_Bps)
