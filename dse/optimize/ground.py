"""Baseline of a study: its workloads lowered and timed on the baseline chip, in every system that designs may use."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Sequence

import jax
import numpy as np

from ..core.kept import keep, kept
from ..core.types import row_of, stack_records
from ..evaluation.assembly import chip_reference, fastest, lowered
from ..evaluation.host import evaluated
from ..hardware.chip import Chip
from ..hardware.fabrics import build_fabric, system_facts
from ..hardware.system import System
from ..lowering.collective import Reference
from ..lowering.plan import Plan
from ..lowering.served import asked_demand, asked_plans
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import ArrayShape, array_shape
from ..physics.calibration import Calibration
from ..physics.evaluate import chip_technology
from ..study.study import Study
from ..workload.requests import Asked

NOWHERE_B = 1e18
"""Memory of a plan in a system that it is not valid in: more than any chip has."""


@dataclasses.dataclass(frozen=True)
class Structure:
    """All of a discrete choice that demands depend on."""

    array: ArrayShape
    system: str = ""


@dataclasses.dataclass(frozen=True)
class Ground:
    """Workloads of a study on its baseline, which do not depend on goal, limits, free numbers or choices."""

    chip: Chip
    workloads: list[Asked]
    calibrations: list[Calibration]
    """Achievable fractions of each workload."""
    systems: dict[str, list[System]]
    """System of each workload at its size, by name of the systems a design may sit in; "" is the baseline's."""
    lowered: list[tuple[list[Plan], Sequence[StepDemand]]]
    """All valid plans of each workload and their demands on the baseline's PE array."""
    baselines: list[tuple[Plan, float]]
    """Best plan and step time of each workload on the baseline chip, under its power limit."""
    n_tokens: np.ndarray
    """Tokens of such a step."""
    traffic_frac: np.ndarray
    """Share of the baseline's chips that each model in service takes: requests times chip-seconds of each."""
    valid: dict[str, list[dict[Plan, None]]]
    """All valid plans of each workload in every system that a design may sit in, by its name."""
    known: dict[tuple[int, Structure], tuple[dict[Plan, int], StepDemand]]
    """Demands lowered so far, by workload and structure: positions of plans, and demands with them as leading axis."""

    @property
    def own(self) -> tuple[StepDemand, ...]:
        """Demand of each workload on the baseline, under its best plan there."""
        pairs = zip(self.lowered, self.baselines, strict=True)
        return tuple(demands[every.index(plan)] for (every, demands), (plan, _) in pairs)


def ground_of(study: Study) -> Ground:
    """Every plan of every workload of a study, lowered on its baseline."""
    workloads, calibrations = [w for w, _ in study.workloads.values()], list(study.calibrations.values())
    chip, systems = study.baseline.chip, systems_of(study)
    each = zip(workloads, systems[""], calibrations, strict=True)
    found = [lowered(system, w, c, study.streams) for w, system, c in each]
    own = Structure(array_shape(chip.core.tensor))
    known = {(w, own): ({p: i for i, p in enumerate(every)}, stack_records(d)) for w, (every, d) in enumerate(found)}
    # the chip as sold, under its own TDP and none of the study's limits: a speed-up is over what can be bought
    tech, best = chip_technology(chip), []
    for (plans, demands), c, deadline_s in zip(found, calibrations, study.deadlines_s, strict=True):
        # of a batch that is chosen the fastest per token may break the promise, which holds for the baseline too
        i = fastest(plans, demands, chip, tech, c, deadline_s)
        best.append((plans[i], float(evaluated(demands[i], chip, tech, c).step_s)))
    valid = valid_plans(study, systems, [plans for plans, _ in found])
    rates = rates_of(study, systems[""], found, best)
    return Ground(chip, workloads, calibrations, systems, found, best, *rates, valid, known)


def likeness_of(study: Study) -> Ground:
    """A `Ground` with the record structure of a study's, one plan per workload and placeholder numbers."""
    workloads, calibrations = [w for w, _ in study.workloads.values()], list(study.calibrations.values())
    chip, systems, ones = study.baseline.chip, systems_of(study), np.ones(len(workloads))
    plans = [asked_plans(w, s, study.streams)[0] for w, s in zip(workloads, systems[""], strict=True)]
    valid = {name: [{p: None} for p in plans] for name in study.system_names}
    baselines = [(p, 1.0) for p in plans]
    return Ground(chip, workloads, calibrations, systems, [], baselines, ones, ones, valid, {})


def rates_of(
    study: Study, systems: list[System], lowered: list[tuple[list[Plan], Sequence[StepDemand]]],
    baselines: list[tuple[Plan, float]],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """`n_tokens` and `traffic_frac` of baselines."""
    pairs = zip(lowered, baselines, strict=True)
    n_tokens = np.asarray([float(demands[every.index(plan)].tokens) for (every, demands), (plan, _) in pairs])
    served = [study.services.get(name) for name in study.workloads]
    tokens = np.asarray([x.traffic_frac * x.requests.n_output if x else 0.0 for x in served])
    chips = np.asarray([float(x.n_chips) for x in systems])
    # chip-seconds of a request: a model that takes longer per token holds more of the fleet
    taken = tokens * chips * np.asarray([t for _, t in baselines]) / n_tokens
    # without models in service nobody reads the shares: 0 then, since a NaN would spread through the traced state
    return n_tokens, taken / max(float(np.sum(taken)), np.finfo(float).tiny)


def rebased(
    study: Study,
    ground: Ground,
    lowered: list[tuple[list[Plan], Sequence[StepDemand]]],
    baselines: list[tuple[Plan, float]],
) -> Ground:
    """`ground` with other demands on the baseline, and the best of them."""
    n_tokens, traffic_frac = rates_of(study, ground.systems[""], lowered, baselines)
    return dataclasses.replace(
        ground, lowered=lowered, baselines=baselines, n_tokens=n_tokens, traffic_frac=traffic_frac
    )


def systems_of(study: Study) -> dict[str, list[System]]:
    """System of each workload at its size, by name of the systems a design may sit in; "" is the baseline's."""
    sizes = [n for _, n in study.workloads.values()]
    return {name: [study.at_size(n, name) for n in sizes] for name in ("", *study.system_names)}


def valid_plans(
    study: Study, systems: dict[str, list[System]], own: list[list[Plan]]
) -> dict[str, list[dict[Plan, None]]]:
    """All valid plans of each workload in every system that a design may sit in; `own` are those in the baseline's."""
    found = {}
    for name in study.system_names:
        # one fabric admits the same plans under any name
        if is_own(study, name):
            found[name] = [dict.fromkeys(every) for every in own]
        else:
            each = zip(study.workloads.values(), systems[name], strict=True)
            found[name] = [dict.fromkeys(asked_plans(w, system, study.streams)) for (w, _), system in each]
    return found


def is_own(study: Study, name: str) -> bool:
    """Whether a system that a design may sit in has the fabric of the baseline's."""
    return not name or build_fabric(name, system_facts(name)) == study.baseline.fabric


def candidates(ground: Ground) -> list[list[Plan]]:
    """Plans of each workload that are valid in some system that a design may sit in."""
    each = zip(*ground.valid.values(), strict=True)
    return [list(dict.fromkeys(p for valid in found for p in valid)) for found in each]


def on_structures(
    ground: Ground, structures: Sequence[Structure], w: int, plans: Sequence[Plan], *, keeps: bool = True
) -> list[StepDemand]:
    """Stacked demands of plans on every structure, without room where not valid there; `keeps` them for later runs."""
    missing = {}
    for at in structures:
        places, _ = ground.known.get((w, at), ({}, None))
        if new := tuple(p for p in plans if p not in places):
            missing[at] = new
    for at, found in _lowered_on(ground, w, missing, WORTH_KEEPING if keeps else math.inf).items():
        places, before = ground.known.get((w, at), ({}, None))
        places = places | {p: len(places) + i for i, p in enumerate(missing[at])}
        joined = found if before is None else jax.tree.map(lambda *x: np.concatenate(x), before, found)
        ground.known[w, at] = places, joined
    return [_rows(*ground.known[w, at], plans) for at in structures]


def _rows(places: dict[Plan, int], demands: StepDemand, plans: Sequence[Plan]) -> StepDemand:
    return row_of(demands, np.asarray([places[p] for p in plans], dtype=int))


WORTH_KEEPING = 64
"""Plans from which on reading their demands takes less time than lowering them."""


def _lowered_on(
    ground: Ground, w: int, wanted: dict[Structure, tuple[Plan, ...]], worth_keeping: float
) -> dict[Structure, StepDemand]:
    """Stacked demands of plans on each structure, kept from earlier runs; a plan's structures share what it moves."""
    texts = {at: text_of(ground, w, at, plans) for at, plans in wanted.items() if len(plans) >= worth_keeping}
    # written by this package under a digest of its own code, so that unpickling runs nobody else's
    found = {at: pickle.loads(body) for at, text in texts.items() if (body := kept("optimize", text)) is not None}
    rest: dict[Structure, dict[Plan, StepDemand]] = {at: {} for at in wanted if at not in found}
    asked = {at: set(wanted[at]) for at in rest}
    ref = chip_reference(ground.chip, ground.calibrations[w])
    for plan in dict.fromkeys(p for at in rest for p in wanted[at]):
        for at, made in rest.items():
            if plan in asked[at]:
                made[plan] = _lowered_at(ground, w, plan, at, ref)
    for at, made in rest.items():
        found[at] = stack_records([made[p] for p in wanted[at]])
        if at in texts:
            keep("optimize", texts[at], pickle.dumps(found[at], pickle.HIGHEST_PROTOCOL))
    return found


def _lowered_at(ground: Ground, w: int, plan: Plan, at: Structure, ref: Reference) -> StepDemand:
    # every table has all plans, so that a plan has one position for all systems: where it is not valid, none has room
    where = _where(ground, w, plan, at)
    d = asked_demand(ground.workloads[w], plan, ground.systems[where][w], ref, at.array)
    return d if where == at.system else dataclasses.replace(d, memory_B=d.memory_B + NOWHERE_B)


def _where(ground: Ground, w: int, plan: Plan, at: Structure) -> str:
    """The system that a plan is lowered in: that of the structure, or else one where it is valid."""
    if plan in ground.valid[at.system][w]:
        return at.system
    return next((n for n, each in ground.valid.items() if plan in each[w]), "")


def text_of(ground: Ground, w: int, at: Structure, plans: Sequence[Plan]) -> str:
    """All that the demands of some plans on a structure depend on."""
    places = [_where(ground, w, p, at) for p in plans]
    each = {n: ground.systems[n][w] for n in sorted({at.system, *places})}
    # of the chip, lowering reads its calibrated rates (`ref`), the array (`at`) and how its lanes work, and no more
    systems = [(n, s.name, s.fabric, s.n_chips, s.chip.lane_kind) for n, s in each.items()]
    ref = chip_reference(ground.chip, ground.calibrations[w])
    return repr(("demands", ground.workloads[w], ref, at, systems, places, tuple(plans)))
