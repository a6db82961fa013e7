"""What a study stands on: its workloads lowered on the baseline chip, and in every system that a design may sit in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..core.types import stack_records
from ..evaluation.assembly import chip_reference, evaluated, fastest, lowered
from ..hardware.chip import Chip
from ..hardware.fabrics import build_fabric, system_facts
from ..hardware.system import System
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
    """PE array."""
    system: str = ""
    """System that the chip sits in; empty: the baseline's."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """Workloads of a study on its baseline, which do not depend on goal, limits, free numbers or choices."""

    chip: Chip
    """The baseline chip."""
    workloads: list[Asked]
    """What is asked."""
    calibrations: list[Calibration]
    """Achievable fractions of each workload."""
    systems: dict[str, list[System]]
    """System of each workload at its size, by name of the systems a design may sit in; "" is the baseline's."""
    lowered: list[tuple[list[Plan], list[StepDemand]]]
    """All valid plans of each workload and their demands on the baseline's PE array."""
    baselines: list[tuple[Plan, float]]
    """Best plan and step time of each workload on the baseline chip, under its power limit."""
    n_tokens: np.ndarray
    """Tokens of such a step."""
    traffic_frac: np.ndarray
    """Share of the baseline's chips that each model in service takes: requests times chip-seconds of each."""
    valid: dict[str, list[dict[Plan, None]]]
    """All valid plans of each workload in every system that a design may sit in, by its name."""
    known: dict[tuple[int, Plan, Structure], StepDemand]
    """Demands lowered so far, by workload, plan and structure."""


def ground_of(study: Study) -> Ground:
    """Every plan of every workload of a study, lowered on its baseline."""
    workloads, calibrations = [w for w, _ in study.workloads.values()], list(study.calibrations.values())
    chip, systems = study.baseline.chip, systems_of(study)
    each = zip(workloads, systems[""], calibrations, strict=True)
    found = [lowered(system, w, c, study.streams) for w, system, c in each]
    own = Structure(array_shape(chip.core.tensor))
    known = {(w, p, own): d for w, pairs in enumerate(found) for p, d in zip(*pairs, strict=True)}
    tech, best = chip_technology(chip), []
    for (plans, demands), c, deadline_s in zip(found, calibrations, study.deadlines_s, strict=True):
        i = fastest(plans, demands, chip, tech, c, deadline_s)
        best.append((plans[i], float(evaluated(demands[i], chip, tech, c).step_s)))
    valid = valid_plans(study, systems, [plans for plans, _ in found])
    rates = rates_of(study, systems[""], found, best)
    return Ground(chip, workloads, calibrations, systems, found, best, *rates, valid, known)


def rates_of(
    study: Study, systems: list[System], lowered: list[tuple[list[Plan], list[StepDemand]]],
    baselines: list[tuple[Plan, float]],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """`n_tokens` and `traffic_frac` of baselines."""
    pairs = zip(lowered, baselines, strict=True)
    n_tokens = np.asarray([float(demands[every.index(plan)].tokens) for (every, demands), (plan, _) in pairs])
    served = [study.services.get(name) for name in study.workloads]
    tokens = np.asarray([x.traffic_frac * x.requests.n_output if x else 0.0 for x in served])
    chips = np.asarray([float(x.n_chips) for x in systems])
    taken = tokens * chips * np.asarray([t for _, t in baselines]) / n_tokens
    return n_tokens, taken / max(float(np.sum(taken)), np.finfo(float).tiny)


def rebased(
    study: Study,
    ground: Ground,
    lowered: list[tuple[list[Plan], list[StepDemand]]],
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


def demand_of(ground: Ground, w: int, plan: Plan, at: Structure) -> StepDemand:
    """The demand of a plan of one workload on a structure.

    Of a plan that is not valid in that system: what it is in one where it is, except that it fits no memory.
    """
    if (w, plan, at) not in ground.known:
        valid = plan in ground.valid[at.system][w]
        where = at.system if valid else next((n for n, each in ground.valid.items() if plan in each[w]), "")
        ref = chip_reference(ground.chip, ground.calibrations[w])
        d = asked_demand(ground.workloads[w], plan, ground.systems[where][w], ref, at.array)
        ground.known[w, plan, at] = d if valid else dataclasses.replace(d, memory_B=d.memory_B + NOWHERE_B)
    return ground.known[w, plan, at]


def on_structures(ground: Ground, structures: Sequence[Structure], w: int, plans: Sequence[Plan]) -> list[StepDemand]:
    """Stacked demands of some plans of one workload on every structure.

    All structures of a plan come one after the other, because they share what it moves (`lowering.demand`).
    """
    each = [[demand_of(ground, w, p, s) for s in structures] for p in plans]
    return [stack_records(list(column)) for column in zip(*each, strict=True)]
