"""A lowered study: coefficients of all discrete choices, and the demands of all kept plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..core.program import meanwhile
from ..core.types import row_of, unnamed
from ..economy.job import Economy, Job, job_of
from ..economy.presets import economy, in_rack, reliability
from ..hardware.chip import Chip
from ..hardware.fabrics import most_scaleup_Bps
from ..hardware.presets import system as preset_system
from ..lowering.headroom import prefetch_frac, usable_frac
from ..lowering.plan import Plan
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape
from ..physics.money import bond_loss
from ..study.convex import Data, all_strict, coordinates, model_of
from ..study.design import choice_technology, template
from ..study.rows import UNCAPPED_Bps
from ..study.study import Study
from ..technology.presets import Technology
from ..workload.requests import given_batch
from .batch import prepare_batch
from .ground import Ground, Structure, ground_of, likeness_of, on_structures, systems_of, valid_plans
from .pricing import classes_of, distinct, kept_plans, prepare_pricing


@dataclasses.dataclass(frozen=True)
class Space:
    """A study with everything that does not depend on free numbers prepared once."""

    study: Study
    ground: Ground
    plans: list[list[Plan]]
    """Plans of each workload worth pricing; see `kept_plans`."""
    classes: list[list[np.ndarray]]
    """For every combination of orders: whether each plan of each workload has that order; see `classes_of`."""
    structures: list[Structure]
    """Distinct PE arrays of the choices in their systems."""
    structure_of_choice: np.ndarray
    demands: tuple[StepDemand, ...]
    """For each workload the demands of the plans on every structure: leading axes (structures, plans)."""
    without_plans: Data
    """Coefficients of every choice but the demands: leading axis over choices."""


def prepare_solver(study: Study) -> None:
    """Make the program of a study's solver."""
    core = study.core()
    prepare_batch(model_of(core), form_of(study), len(coordinates(core)), loose=all_strict(core))


def space_of(study: Study, prepare: Callable[[Study], None] = prepare_solver) -> Space:
    """A study, lowered; what solves it is made meanwhile by `prepare`, where programs are kept."""
    meanwhile(lambda: prepare(study))
    ground = ground_of(study)
    return _space(study, ground, kept_plans(study, ground))


def form_of(study: Study) -> Data:
    """Coefficients of one choice under one plan of each workload: a form that those of all others have."""
    ground, choice = likeness_of(study), study.choices[0]
    chip, tech = template(choice, study.baseline.chip, study.scaleout_Bps), choice_technology(choice, study.package)
    at = Structure(array_shape(chip.core.tensor), choice.system)
    demands = [row_of(d, (0, 0)) for d in demands_on(ground, [at], [[plan] for plan, _ in ground.baselines])]
    data = element(stack([coefficients(study, ground, chip, tech, choice.system)]), 0)
    return dataclasses.replace(data, demands=tuple(demands))


def prepare_prices(space: Space, every: tuple[StepDemand, ...]) -> None:
    """Make the program that prices plans, the demands of all of them given."""
    core, one = space.study.core(), data_of(space, 0, tuple(0 for _ in space.plans))
    prepare_pricing(core, one, every, len(coordinates(core)))


def _space(study: Study, ground: Ground, plans: list[list[Plan]]) -> Space:
    chips = _chips(study)
    of_choices = [Structure(array_shape(x.core.tensor), c.system) for x, c in zip(chips, study.choices, strict=True)]
    structures = list(dict.fromkeys(of_choices))  # operators are lowered per structure, which choices share
    which = np.asarray([structures.index(s) for s in of_choices])
    every = demands_on(ground, structures, plans)
    apart = [distinct(p, d, own) for p, d, (own, _) in zip(plans, every, ground.baselines, strict=True)]
    plans = [[kept[i] for i in places] for kept, places in zip(plans, apart, strict=True)]
    demands = tuple(jax.tree.map(lambda x, i=i: x[:, i], d) for d, i in zip(every, apart, strict=True))
    rows = _choices(study, ground, chips)
    return Space(study, ground, plans, classes_of(study, plans), structures, which, demands, rows)


def demands_on(ground: Ground, structures: list[Structure], plans: list[list[Plan]]) -> tuple[StepDemand, ...]:
    """For each workload the demands of plans: leading axes (structures, plans)."""
    return tuple(stack(on_structures(ground, structures, w, kept)) for w, kept in enumerate(plans))


def relative(space: Space, study: Study) -> Space:
    """The space of `study`, which has this one's baseline and workloads: what only they decide is taken over."""
    ground, own = space.ground, space.study
    if set(study.system_names) != set(own.system_names):
        systems = systems_of(study)
        valid = valid_plans(study, systems, [plans for plans, _ in ground.lowered])
        ground = dataclasses.replace(ground, systems=systems, valid=valid)
        return _space(study, ground, kept_plans(study, ground))
    # plans are kept for what they do on the baseline and on larger chips, whatever the choices
    if study.choices != own.choices:
        return _space(study, ground, space.plans)
    return dataclasses.replace(space, study=study, without_plans=_choices(study, ground, _chips(study)))


def at_limits(space: Space, values: np.ndarray) -> Space:
    """The space of the same study under other values of its limits: nothing is lowered again."""
    each = zip(space.study.limits, values.tolist(), strict=True)
    limits = tuple(dataclasses.replace(x, value=v) for x, v in each)
    rows = np.tile(values, (len(space.study.choices), 1))  # as all of `Data`, a row per choice
    return dataclasses.replace(
        space,
        study=dataclasses.replace(space.study, limits=limits),
        without_plans=dataclasses.replace(space.without_plans, limits=rows),
    )


def with_plans(space: Space, plans: tuple[Plan, ...]) -> Space:
    """The space with one more plan per workload, behind those that it has: positions of those stay."""
    kept = [own if p in own else [*own, p] for own, p in zip(space.plans, plans, strict=True)]
    demands = demands_on(space.ground, space.structures, kept)
    return dataclasses.replace(space, plans=kept, classes=classes_of(space.study, kept), demands=demands)


def valid_in(space: Space, w: int, plans: Sequence[Plan], choice: int) -> np.ndarray:
    """Whether plans of a workload are valid in the system of a choice."""
    there = space.ground.valid[space.study.choices[choice].system][w]
    return np.asarray([p in there for p in plans], dtype=bool)


def own_plans(space: Space) -> tuple[int, ...]:
    """The baseline's best plan of each workload, position in `plans`."""
    return tuple(kept.index(own) for kept, (own, _) in zip(space.plans, space.ground.baselines, strict=True))


def _chips(study: Study) -> list[Chip]:
    """A chip of the structure of every choice."""
    return [template(c, study.baseline.chip, study.scaleout_Bps) for c in study.choices]


def _technologies(study: Study) -> list[Technology]:
    """The technology of every choice, made once for those that it tells apart."""
    asked = [(c.node, c.hbm, c.link, c.spare_cores, c.reticle_mm2, c.stack_capacity_B) for c in study.choices]
    apart = dict(zip(asked, study.choices, strict=True))
    made = {k: choice_technology(c, study.package) for k, c in apart.items()}
    return [made[k] for k in asked]


def _choices(study: Study, ground: Ground, chips: list[Chip]) -> Data:
    each = zip(study.choices, chips, _technologies(study), strict=True)
    return stack([coefficients(study, ground, chip, tech, c.system) for c, chip, tech in each])


def coefficients(study: Study, ground: Ground, chip: Chip, tech: Technology, system: str = "") -> Data:
    """Coefficients of chips of one structure in a technology and a system, without demands."""
    # differences and logarithms are formed here: a minus inside the core would break its convexity
    return Data(
        chip=chip,
        tech=tech,
        calibrations=tuple(ground.calibrations),
        demands=(),
        baseline_s=np.asarray([seconds for _, seconds in ground.baselines]),
        n_chips=np.asarray([float(n) for _, n in study.workloads.values()]),
        n_baseline_tokens=ground.n_tokens,
        traffic_frac=ground.traffic_frac,
        deadline_s=np.asarray(study.deadlines_s, dtype=float),
        limits=np.asarray([x.value for x in study.limits], dtype=float),
        usable_frac=usable_frac(),
        prefetch_frac=prefetch_frac(),
        overdrive_V=float(tech.node.nominal_V - tech.node.threshold_V),
        bond_loss=float(bond_loss(tech)),
        most_scaleup_Bps=min(most_scaleup_Bps(system or study.baseline.name), UNCAPPED_Bps),
        economy=economy_around(study, chip.node, system),
        jobs=jobs_of(study),
    )


def economy_around(study: Study, node: str, system: str = "") -> Economy | None:
    """What surrounds a design with dies of `node` in a system; spares are those of a pod or the largest job."""
    owner, sizes = study.owner, [n for _, n in study.workloads.values()]
    if owner is None:
        return None
    around = economy(study.baseline, node, owner.margin, max(sizes), owner.host)
    return in_rack(around, preset_system(system, inside=study.baseline.chip), owner.host) if system else around


def jobs_of(study: Study) -> tuple[Job, ...]:
    """What each workload asks of a fleet."""
    if study.owner is None:
        return ()
    # a free batch is a placeholder here: `upkeep_of` puts in the tokens of the plan that is chosen
    return tuple(job_of(given_batch(w), n, reliability()) for w, n in study.workloads.values())


def every_plan(space: Space, choices: Sequence[int]) -> tuple[StepDemand, ...]:
    """Demands of all kept plans for some choices: leading axes (choices, plans), one per workload."""
    return tuple(jax.tree.map(lambda x: x[space.structure_of_choice[choices]], d) for d in space.demands)


def leanest(space: Space) -> list[tuple[int, tuple[int, ...]]]:
    """Every choice with the plans that need the least memory of a chip."""
    choices = range(len(space.study.choices))
    each = [np.argmin(np.asarray(d.memory_B), axis=1) for d in every_plan(space, list(choices))]
    return [(i, tuple(int(best[i]) for best in each)) for i in choices]


def batch_of(space: Space, choices: Sequence[int], plan_indices: Sequence[tuple[int, ...]]) -> Data:
    """Coefficients of several choices, each under one plan per workload: leading axis over the pairs."""
    rows = np.asarray(choices)
    which = space.structure_of_choice[rows]
    chosen = tuple(
        jax.tree.map(lambda x, w=w: x[which, [p[w] for p in plan_indices]], d) for w, d in enumerate(space.demands)
    )
    return dataclasses.replace(jax.tree.map(lambda x: x[rows], space.without_plans), demands=chosen)


def data_of(space: Space, choice: int, plan_index: tuple[int, ...]) -> Data:
    """Coefficients of one choice under one plan per workload."""
    return element(batch_of(space, [choice], [plan_index]), 0)


def every_coefficient(space: Space, *more: tuple[StepDemand, ...]) -> Data:
    """Coefficients of all choices and of all their plans, and `more` demands: what a proof of signs must cover.

    Each number has a leading axis of its own: choices for some, plans on every structure for others.
    """
    # structures and plans in one axis: a sign must hold for each, whichever belong together
    flat = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *np.shape(x)[2:]), (space.demands, *more))
    demands = tuple(jax.tree.map(lambda *xs: np.concatenate(xs), *each) for each in zip(*flat, strict=True))
    return dataclasses.replace(space.without_plans, demands=demands)


def stack(items: list[Any]) -> Any:
    """Records of equal structure as one record with a leading axis, without their names."""
    # names differ between records and would make each a structure of its own
    return jax.tree.map(lambda *xs: np.stack(xs), *(unnamed(x) for x in items))


def element(batch: Any, i: int) -> Any:
    """Record `i` of a stacked batch, as host arrays."""
    return jax.tree.map(lambda x: np.asarray(x[i]), batch)
