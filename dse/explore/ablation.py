"""Ablation of the corrections of the physics: each alone, none, and all, on a study and on the back-tests.

A correction is undone in the coefficients, never in formulas; variants of a study share one compiled program.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import numpy as np

from ..core.types import stack_records
from ..evaluation.assembly import fastest
from ..evaluation.host import plan_steps_s
from ..hardware.chip import Chip, TensorEngine
from ..lowering.plan import Plan
from ..lowering.step_demand import StepDemand
from ..optimize.deadline import Deadline
from ..optimize.ground import rebased
from ..optimize.search import search_of
from ..optimize.space import Space, relative, space_of
from ..physics.evaluate import chip_technology
from ..study.convex import Data
from ..study.design import Choice
from ..study.metrics import METRICS, chip_state
from ..study.study import Study
from ..technology.node import PRECISION_BITS, PRECISIONS
from .reading_limits import check_speeds, limits_of, opened
from .readings import Problem, solve_problems

OLD_SPEED = {"N7": 1.0, "N5": 1.15, "N3P": 1.425, "N2": 1.527}
"""Clock at equal power over N7, which was once spent beside the energy at equal speed."""
OLD_CRITICAL_FRAC = 0.2
"""Critical area that was once credited to dies without spare cores."""
OLD_MEMORIES = ("HBM4", "HBM4E")
"""Memories of the study before speed grades were told apart."""
OLD_LINK_J_PER_B = 8 * 5e-12
"""A guess for 224 Gb/s lanes before a circuit was read."""


@dataclasses.dataclass(frozen=True)
class Correction:
    """One change of the physics or of the question, and how a study looks without it."""

    name: str
    what: str
    data: Callable[[Data, tuple[Choice, ...], Study], Data] = lambda d, *_: d
    demand: Callable[[StepDemand], StepDemand] = lambda d: d
    orders: bool = False
    """Whether it lets blocks stream."""
    reading: bool = False
    """Whether it is the reading of the power limit."""
    offers: Callable[[Choice, TensorEngine], bool] = lambda _, inherited: True
    """Choices that exist without it, beside the matrix unit of the older chip."""


def _operands_alone(d: StepDemand) -> StepDemand:
    """Reuse as if SRAM held operands only: w^1.5 instead of w sqrt(4)."""
    # 4: bytes of the fp32 sums that fill a tile; of operands alone more would fit, and traffic goes with the root
    widths = np.asarray([PRECISION_BITS[p] / 8 for p in PRECISIONS])
    share = np.asarray(d.ops.macs) / np.maximum(np.sum(np.asarray(d.ops.macs), axis=-1, keepdims=True), 1.0)
    factor = np.where(share.sum(axis=-1) > 0, share @ np.sqrt(widths / 4.0), 1.0)
    return dataclasses.replace(d, ops=dataclasses.replace(d.ops, reuse_half=np.asarray(d.ops.reuse_half) * factor))


def _gain_twice(data: Data, choices: tuple[Choice, ...], study: Study) -> Data:
    base = OLD_SPEED.get(study.baseline.chip.node, 1.0)
    speed = np.asarray([OLD_SPEED.get(c.node, base) / base for c in choices])
    if study.baseline.chip.node == "N3P":
        speed = speed * OLD_SPEED["N3P"] / OLD_SPEED["N5"]
    clock = data.chip.nominal_clock_Hz * speed
    return dataclasses.replace(data, chip=dataclasses.replace(data.chip, nominal_clock_Hz=clock))


def _free_harvest(data: Data, choices: tuple[Choice, ...], study: Study) -> Data:
    del choices, study
    area, spare = data.tech.package.critical_area_frac, data.chip.spare_frac
    # both at once: forgiving defects without the spare cores that buy it was the mistake
    without = np.full_like(area, OLD_CRITICAL_FRAC), np.zeros_like(spare)
    return eqx.tree_at(lambda d: (d.tech.package.critical_area_frac, d.chip.spare_frac), data, without)


def _cores_as_one(data: Data, choices: tuple[Choice, ...], study: Study) -> Data:
    del choices, study
    # zero bytes of start-up: a transfer of any size runs at full rate
    return eqx.tree_at(lambda d: d.chip.core.transfer_start_B, data, replace_fn=np.zeros_like)


def _no_spread(d: StepDemand) -> StepDemand:
    return eqx.tree_at(lambda x: x.ops.spread_B, d, replace_fn=np.zeros_like)


def _old_links(data: Data, choices: tuple[Choice, ...], study: Study) -> Data:
    del choices, study
    energy = np.full_like(data.tech.link.energy_J_per_B, OLD_LINK_J_PER_B)
    return eqx.tree_at(lambda d: d.tech.link.energy_J_per_B, data, energy)


def _inherited(choice: Choice, base: TensorEngine) -> bool:
    """Whether a choice multiplies FP8 at the rate of the older chip, in a square array of up to 256."""
    rate = float(base.macs_per_cycle.fp8) / float(base.macs_per_cycle.bf16)
    return choice.fp8_rate in (0.0, rate) and choice.pe_array in OLD_ARRAYS


OLD_ARRAYS = ("128x128", "256x256")
"""Arrays that studies offered before others could be asked for."""


CORRECTIONS = (
    Correction("1 power", "the TDP binds full load, not the mean of a step", reading=True),
    Correction("2 reuse", "a block of fp32 sums stays in SRAM", demand=_operands_alone),
    Correction("3 streams", "blocks read ahead where SRAM has room", orders=True),
    Correction("4 node", "a node's gain taken once", data=_gain_twice),
    Correction("5 harvest", "spare cores are bought", data=_free_harvest),
    Correction("6 cores", "short transfers and bytes between cores", data=_cores_as_one, demand=_no_spread),
    Correction("7 memory", "memories and links as sold", data=_old_links, offers=lambda c, _: c.hbm in OLD_MEMORIES),
    Correction("8 rates", "FP8 rate and arrays beyond squares up to 256 as choices", offers=_inherited),
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """A study with some of the corrections."""

    label: str
    speedup: float | None
    """Delivered; None where no design meets all limits."""
    choice: str
    quantities: dict[str, float]
    sram_ratio: float | None = None
    """SRAM of the design over that of the built chip, in a back-test."""
    regret_frac: float | None = None
    """What holding cores, SRAM and array at the built chip's costs, in a back-test."""


def variants() -> list[tuple[str, tuple[Correction, ...]]]:
    """None, each alone, all."""
    return [("none", ()), *((c.name, (c,)) for c in CORRECTIONS), ("all", CORRECTIONS)]


def ablation(
    study: Study, tdp_W: float, built: Chip | None = None, progress: Callable[[str], None] = lambda _: None,
    deadline: Deadline | None = None,
) -> list[Variant]:  # fmt: skip
    """Every variant of a study: TDP as mean or full load, blocks in turn or streaming; no limits on power."""
    check_speeds(study)
    space = space_of(dataclasses.replace(opened(study, tdp_W), streams=True))
    found = []
    for label, on in variants():
        if found and deadline is not None and deadline.over(f"{study.name}: {len(variants()) - len(found)} variants"):
            break
        progress(f"{study.name}: {label}")
        found.append(_variant(space, label, on, tdp_W, built))
    return found


def _offered(study: Study, off: Sequence[Correction]) -> list[int]:
    """Choices of a study that exist without some corrections."""
    # what a correction brought, such as another rate of FP8, is not on offer without it
    inherited, offered = study.baseline.chip.core.tensor, list(range(len(study.choices)))
    for o in off:
        # a study that offers nothing of old is asked about what it has
        offered = [i for i in offered if o.offers(study.choices[i], inherited)] or offered
    return offered


def _variant(space: Space, label: str, on: Sequence[Correction], tdp_W: float, built: Chip | None) -> Variant:
    study, off = space.study, [c for c in CORRECTIONS if c not in on]
    world = _undone(space, off)
    offered = _offered(study, off)
    # a back-test has its budget from a full load, which no other reading of it would respect
    reading = "power_W" if any(o.reading for o in off) and built is None else "full_load_fp8_W"
    # class 0 is every workload in turn, without streams
    orders = [0] if any(o.orders for o in off) else list(range(len(space.classes)))
    limits = tuple(limits_of(study, reading, tdp_W))
    problems = [Problem(limits, i, k) for i, k in itertools.product(offered, orders)]
    search = search_of(world)
    best = min(solve_problems(search, problems), key=lambda a: a.candidate.log_goal)
    # the goal is delivered time over the baseline's, so that a speed-up is exp(-goal)
    goal = best.candidate.log_goal
    if goal == np.inf:
        return Variant(label, None, "", {})
    text = study.choices[best.candidate.choice_index].text()
    if built is None:
        return Variant(label, math.exp(-goal), text, best.quantities)
    held = {"n_cores": float(built.n_cores), "scratchpad_B": float(built.core.scratchpad_B)}
    array = f"{int(built.core.tensor.rows)}x{int(built.core.tensor.cols)}"
    # node, memory and link stay free: the regret is that of the array, cores and SRAM alone
    alike = [i for i in offered if study.choices[i].pe_array == array]
    again = solve_problems(search, [Problem(limits, i, k, held) for i, k in itertools.product(alike, orders)])
    regret = math.expm1(min(a.candidate.log_goal for a in again) - goal)
    mine = float(np.asarray(METRICS["sram_B"](chip_state(built))))
    return Variant(label, math.exp(-goal), text, best.quantities, best.quantities["sram_B"] / mine, regret)


def _undone(space: Space, off: Sequence[Correction]) -> Space:
    """`space` without some corrections: other coefficients, other demands, and the baseline's times under them."""
    study, ground = space.study, space.ground
    demands = space.demands
    own: list[tuple[list[Plan], Sequence[StepDemand]]] = list(ground.lowered)
    for correction in off:
        # baseline and designs lose the same correction, or the ratio of their times would gain what the physics lost
        demands = tuple(correction.demand(d) for d in demands)
        own = [(every, list(map(correction.demand, ds))) for every, ds in own]
    in_turn = any(o.orders for o in off)
    # a correction moves both chips: the baseline is timed anew, or the ratio would mix two kinds of physics
    best = [_baseline(space, w, pairs, in_turn) for w, pairs in enumerate(own)]
    world = relative(dataclasses.replace(space, ground=rebased(study, ground, own, best), demands=demands), study)
    data = world.without_plans
    for correction in off:
        data = correction.data(data, study.choices, study)
    return dataclasses.replace(world, without_plans=jax.tree.map(np.asarray, data))


def _baseline(
    space: Space, w: int, lowered: tuple[list[Plan], Sequence[StepDemand]], in_turn: bool
) -> tuple[Plan, float]:  # fmt: skip
    """Best plan, of those that compete, and step time of one workload on the baseline chip."""
    every, demands = lowered
    kept = set(space.plans[w])
    chip, c = space.study.baseline.chip, space.ground.calibrations[w]
    tech = chip_technology(chip)
    some = [i for i, p in enumerate(every) if p in kept and (p.order == "turn" or not in_turn)]
    plans, mine = [every[i] for i in some], [demands[i] for i in some]
    best = fastest(plans, mine, chip, tech, c)
    return plans[best], float(np.asarray(plan_steps_s(stack_records([mine[best]]), chip, tech, c))[0])
