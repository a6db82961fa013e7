"""Back-tests: given an older chip and the budgets of its successor, what would the explorer have proposed?

A study names the older chip as baseline and the built one in `[built]`; limits may be those of the built chip
(`at_most = "built"`), so that both have the same budgets. Any two chips can be used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import equinox as eqx
import numpy as np

from ..core.errors import SpecError
from ..core.free import Free
from ..core.types import as_float
from ..evaluation.assembly import fastest, lowered
from ..evaluation.host import evaluated
from ..hardware.chip import Chip
from ..hardware.presets import chip as preset_chip
from ..hardware.presets import chip_receipts
from ..optimize.around import near
from ..optimize.deadline import Deadline
from ..optimize.search import Search, search_of
from ..optimize.solution import Near, Solution
from ..optimize.solve import solve
from ..optimize.space import Space, space_of
from ..physics.evaluate import chip_technology
from ..study.design import FREE, STEPPED, steps
from ..study.limits import full_name, least_cap_W
from ..study.metrics import DELIVERED, FULL_LOAD, METRICS, chip_state, mean_speedup
from ..study.study import Study
from ..technology.presets import link, memory, node
from .against_built import SHARE_FRAC, Backtest, Row

OWN = {
    "tensor_pes": lambda c: c.n_cores * c.core.tensor.rows * c.core.tensor.cols,
    "pes_per_core": lambda c: c.core.tensor.rows * c.core.tensor.cols,
    "n_dies": lambda c: c.n_dies,
}  # fmt: skip
"""Quantities that are no metrics: processing elements of all cores and of one, and dies."""
QUANTITIES = (
    "n_cores", "pes_per_core", "tensor_pes", "clock_Hz", "peak_bf16_FLOPps", "peak_fp8_FLOPps", "scratchpad_B",
    "sram_B", "vector_lanes", "dma_bandwidth_Bps", "n_stacks", "hbm_capacity_B", "hbm_bandwidth_Bps",
    "scaleup_bandwidth_per_dir_Bps", "n_dies", "silicon_mm2", "package_cost_USD", "full_load_bf16_W", "full_load_fp8_W",
)  # fmt: skip
"""Compared quantities, in order."""
OF_FP8 = ("peak_fp8_FLOPps", "full_load_fp8_W")
"""Quantities that a chip without an 8-bit rate does not have."""


def quantities(chip: Chip, package: str) -> dict[str, float]:
    """`QUANTITIES` of a chip that it has, by this package's models where they need one."""
    state = chip_state(chip, chip_technology(chip, package))
    # without the rate a peak is nothing, and a full load one without arrays: a ratio to either says nothing
    lacking = () if float(chip.core.tensor.macs_per_cycle.fp8) > 0 else OF_FP8
    found = {n: OWN[n](chip) if n in OWN else METRICS[n](state) for n in QUANTITIES if n not in lacking}
    # a chip without stacks or links has none of what they bring, and nothing can be a multiple of that
    return {n: x for n, v in found.items() if (x := float(np.asarray(v))) > 0}


def backtest(
    study: Study, progress: Callable[[str], None] = lambda _: None,
    answer: Callable[[Study, Callable[[str], None], Search], Solution] = solve, *, ranges: bool = True,
    deadline: Deadline | None = None,
) -> Backtest | Solution:  # fmt: skip
    """Solve a study of the past and set its design beside the chip that was built; the bare solution if there is none.

    `answer`: solver (`solve_continuous` is faster, with continuous counts); `ranges`: also the range of each number
    over designs within `SHARE_FRAC` of the optimum, until `deadline`. SpecError as `check_study`.
    """
    check_study(study)
    space, built = space_of(study), preset_chip(study.built)
    # before there is a design, since the solver is still being compiled
    speedups = built_speedups(space, built)
    solution = answer(study, progress, search := search_of(space))
    if solution.chip is None or solution.choice is None:
        return solution
    flat = near(study, solution.goal, SHARE_FRAC, search, progress, deadline) if ranges else ()
    named = (
        ("node", solution.choice.node, built.node),
        ("HBM", solution.choice.hbm, built.hbm),
        ("link", solution.choice.link, built.link),
        ("PE array", solution.choice.pe_array, f"{int(built.core.tensor.rows)}x{int(built.core.tensor.cols)}"),
    )
    # the same mean as the solver's goal, or the regret would compare two kinds of average
    goal = 1.0 / mean_speedup(study.goal, list(speedups.values()), [], study.shares)
    rows, left = rows_of(study, solution.chip, built, flat), () if deadline is None else tuple(deadline.undone)
    return Backtest(solution, built.name, rows, named, speedups, goal, left)


def check_study(study: Study) -> None:
    """Refuse a study that is no back-test: SpecError where no chip was built, or the goal is not delivered time."""
    if not study.built:
        raise SpecError(f"study '{study.name}': no chip that was built; add a table [built] with a chip")
    if study.goal != DELIVERED:
        raise SpecError(f"study '{study.name}': minimises {study.goal}; a back-test minimises {DELIVERED}")


def held(study: Study, names: Sequence[str]) -> Study:
    """`study` with some free numbers fixed at the built chip's values, to find the cause of a miss.

    UnknownNameError for no free number; SpecError for a count that no design can have, or a relative number.
    """
    check_study(study)
    of = quantities(preset_chip(study.built), study.package)
    fixed = {full_name(n, tuple(f.name for f in study.free), "free parameter") for n in names}
    if fixed - set(of):
        raise SpecError(f"{min(fixed - set(of))} says how a design differs from the older chip; hold clock instead")
    free = tuple(Free(f.name, of[f.name], of[f.name]) if f.name in fixed else f for f in study.free)
    for f in free:
        if f.name in fixed & set(STEPPED) and not any(
            len(steps(f.name, c.n_dies, f.lower, f.upper)) for c in study.choices
        ):
            raise SpecError(f"{f.name} cannot be held at {f.lower:g}: no design of '{study.name}' has so much")
    return dataclasses.replace(study, free=free)


def rows_of(study: Study, design: Chip, built: Chip, flat: tuple[Near, ...] = ()) -> tuple[Row, ...]:
    """Rows by quantity: proposed, built, naive forecast, and the near-optimal range."""
    of = partial(quantities, package=study.package)
    mine, theirs, naive = of(design), of(built), of(naive_chip(study))
    set_by = given_by(study)
    found = {n.name: (n.lower, n.upper) for n in flat}
    return tuple(
        # what the naive chip lacks, such as an FP8 rate, counts as foreseen: in its favour, not in ours
        Row(n, mine[n], theirs[n], naive.get(n, theirs[n]), n in set_by, found.get(n))
        for n in QUANTITIES
        if n in mine and n in theirs
    )


def given_by(study: Study) -> set[str]:
    """Quantities that the study's limits, its only choice, the baseline or a guess of ours about the built chip set.

    Capacity comes with the stacks. Where no rate of FP8 is offered, its peak is BF16's times the baseline's rate.
    """
    proposed = {f.name for f in study.free} | {"hbm_capacity_B"}
    given = {x.metric for x in study.limits} | {n for n in QUANTITIES if n in FREE and n not in proposed}
    given |= {f.name for f in study.free if f.lower == f.upper}
    # a hit on our own guess would be applause for ourselves
    given |= {f.name for f in chip_receipts(study.built) if f.kind == "guess"} & proposed
    for name, values in (
        ("n_dies", {c.n_dies for c in study.choices}),
        ("pes_per_core", {c.pe_array for c in study.choices}),
        ("peak_fp8_FLOPps", {c.fp8_rate for c in study.choices}),
    ):
        # with one value on offer nothing was chosen
        given |= {name} if len(values) == 1 else set()
    loads = {"full_load_bf16_W", "full_load_fp8_W"}
    # one reading of the TDP as limit moves all: they differ by the arrays' precision alone
    return given | (loads if given & {FULL_LOAD, *loads} else set())


def built_speedups(space: Space, built: Chip) -> dict[str, float]:
    """Speed-up of the built chip by workload, by its best plan in the study's world and power limit."""
    study = space.study
    limits = as_float(study.scaleout_Bps), as_float(least_cap_W(study.limits))
    # it competes in the study's world: with the network and the power that designs have, not those it was sold with
    inside = eqx.tree_at(lambda c: (c.scaleout_bandwidth_per_dir_Bps, c.power_limit_W), built, limits)
    tech, found = chip_technology(inside, study.package), {}
    g = space.ground
    owed = zip(g.baselines, g.n_tokens, study.deadlines_s, strict=True)
    each = zip(study.workloads.items(), g.systems[""], g.calibrations, owed, strict=True)
    for (name, (workload, _)), system, c, ((_, before_s), tokens, deadline_s) in each:
        plans, demands = lowered(dataclasses.replace(system, chip=inside), workload, c, study.streams)
        # of a batch that is chosen, the fastest per token may keep each user waiting longer than was promised
        best = demands[fastest(plans, demands, inside, tech, c, deadline_s)]
        step_s = float(evaluated(best, inside, tech, c).step_s)
        found[name] = before_s / float(tokens) * float(best.tokens) / step_s
    return found


def naive_chip(study: Study) -> Chip:
    """The baseline in the newest technology of the study's choices, its cores grown by area and by logic density.

        n' = n (A' / A) (a / a'),   B' = B b'/b,   C' = C c'/c,   L' = L l'/l
    with A' the study's limit on silicon (A where it has none), a the area of a core's port on a node, b and c bandwidth
    and capacity of a stack, l rate of a lane. Clock, array, stacks, dies, and SRAM and lanes per core stay.
    """
    old = study.baseline.chip
    tech = chip_technology(old, study.package)
    nodes = [node(n) for n in dict.fromkeys(c.node for c in study.choices)]
    stacks = [memory(n) for n in dict.fromkeys(c.hbm for c in study.choices)]
    lanes = [link(n) for n in dict.fromkeys(c.link for c in study.choices)]
    new = min(nodes, key=lambda n: float(n.core_port_area_mm2))
    stack = max(stacks, key=lambda m: float(m.stack_bandwidth_Bps))
    lane = max(lanes, key=lambda x: float(x.lane_bandwidth_per_dir_Bps))
    n_cores = float(old.n_cores) * _growth(study) * float(tech.node.core_port_area_mm2 / new.core_port_area_mm2)
    faster = float(stack.stack_bandwidth_Bps / tech.memory.stack_bandwidth_Bps)
    larger = float(stack.stack_capacity_B / tech.memory.stack_capacity_B)
    wider = float(lane.lane_bandwidth_per_dir_Bps / tech.link.lane_bandwidth_per_dir_Bps)
    n_cores = max(1.0, float(np.round(n_cores)))
    values = (
        n_cores, float(old.hbm_bandwidth_Bps) * faster, float(old.hbm_capacity_B) * larger,
        float(old.scaleup_bandwidth_per_dir_Bps) * wider,
    )  # fmt: skip
    grown = eqx.tree_at(
        lambda c: (c.n_cores, c.hbm_bandwidth_Bps, c.hbm_capacity_B, c.scaleup_bandwidth_per_dir_Bps),
        old,
        tuple(as_float(v) for v in values),
    )
    return dataclasses.replace(grown, name="naive", node=new.name, hbm=stack.name, link=lane.name)


def _growth(study: Study) -> float:
    allowed = [x.value for x in study.limits if (x.metric, x.sense) == ("silicon_mm2", "at_most")]
    if not allowed:
        return 1.0
    old = study.baseline.chip
    area = METRICS["silicon_mm2"](chip_state(old, chip_technology(old, study.package)))
    assert not isinstance(area, list)
    return min(allowed) / float(area)
