"""Subject of a session: a study, or one chip under one model, lowered and compiled once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.free import Free
from ..evaluation.breakdown import rank_ops
from ..hardware.chip import Chip
from ..hardware.own_chip import short_name
from ..hardware.system import System
from ..lowering.plan import Plan, plan_text
from ..lowering.served import phase_under
from ..lowering.tiling import array_shape
from ..optimize.blank import study_blank_mm2
from ..optimize.ground import Structure, ground_of
from ..optimize.pricing import Plans as Plans
from ..optimize.pricing import classes_of
from ..optimize.space import Space, coefficients, data_of, demands_on, element, own_plans, stack, with_plans
from ..physics.evaluate import chip_technology
from ..report.results import design_toml
from ..study.convex import ConvexCore, Data
from ..study.design import FREE, RELATIVE, as_built, choice_technology, template, with_free
from ..study.limits import rated_W
from ..study.metrics import DELIVERED, POWER, Limit
from ..study.study import Study, recorded
from ..workload.requests import Requests
from ..workload.transformer import Workload
from .packing import Place, layout, nested, packed
from .reading import fastest_reading, named_metrics, reading

REACH = 4.0
"""How far the numbers of a chip that exists may move, either way."""
KEPT_DATA = 256
"""Combinations of choice and plans whose coefficients stay on the device."""


@dataclasses.dataclass(frozen=True)
class AtHand:
    """One chip under one set of limits."""

    x: np.ndarray
    choice: int
    limits: np.ndarray
    blank_mm2: float


@dataclasses.dataclass
class Subject:
    """A study with its choices, or a chip that exists as the only choice of one."""

    space: Space
    asked: str
    """What was asked for, as it was written: the path of a study, or a chip and a model."""
    is_chip: bool
    """Whether it is a chip that exists: it can be changed, but there is nothing to optimise it for."""
    study: Study
    core: ConvexCore
    names: tuple[str, ...]
    """Metrics that are read."""
    limits: np.ndarray
    places: list[Place]
    reads: Callable[..., Any]
    """Reading of free numbers under coefficients, packed."""
    reads_fastest: Callable[..., Any]
    """The fastest plans of free numbers, then the reading under them, packed."""
    demands: list[Any]
    """Demands of all plans of each workload on every structure, on the device."""
    kept: dict[tuple[int, Plans | None], Data] = dataclasses.field(default_factory=dict)
    """Coefficients on the device, by choice and plans."""
    known: dict[Plans, dict[str, Any]] = dataclasses.field(default_factory=dict)


def subject_of(space: Space, asked: str, is_chip: bool = False) -> Subject:
    """A study, lowered, made ready to be read."""
    study, core = space.study, space.study.core()
    names = named_metrics(core, study.owner is not None, bool(study.services))
    at = np.ones(len(study.free)), data_of(space, 0, own_plans(space))
    # the form alone, which asks for no program
    places = layout(jax.eval_shape(lambda x, data: reading(core, names, x, data, is_chip), *at))

    def fastest(x: Any, data: Data, demands: Any, present: Any) -> Any:
        plans, read = fastest_reading(core, names, x, data, demands, present, is_chip)
        return jnp.concatenate([plans.astype(float), packed(read)])

    reads = jax.jit(lambda x, data: packed(reading(core, names, x, data, is_chip)))
    limits = np.asarray([x.value for x in study.limits], dtype=float)
    demands = _by_structure(space)
    return Subject(space, asked, is_chip, study, core, names, limits, places, reads, jax.jit(fastest), demands)


def _by_structure(space: Space) -> list[Any]:
    every = range(len(space.structures))
    return [jax.device_put(tuple(jax.tree.map(lambda v, a=a: v[a], d) for d in space.demands)) for a in every]


def data_on_device(subject: Subject, choice: int, plans: Plans | None) -> Data:
    """Coefficients of a choice under plans (None: without demands), on the device: sending takes as long as a call."""
    if (choice, plans) not in subject.kept:
        # all at once, simpler than an order of use: sending one again takes milliseconds
        if len(subject.kept) >= KEPT_DATA:
            subject.kept.clear()
        space = subject.space
        made = element(space.without_plans, choice) if plans is None else data_of(space, choice, plans)
        subject.kept[choice, plans] = jax.device_put(made)
    return subject.kept[choice, plans]


def _asked(subject: Subject, at: AtHand, plans: Plans | None) -> Data:
    data = data_on_device(subject, at.choice, plans)
    chip = dataclasses.replace(data.chip, blank_mm2=np.float64(at.blank_mm2))
    return dataclasses.replace(data, limits=at.limits, chip=chip)


def read_chip(subject: Subject, at: AtHand, plans: Plans) -> Any:
    """Everything shown of a chip under plans, as plain data; see `Reading`."""
    return nested(subject.places, np.asarray(subject.reads(at.x, _asked(subject, at, plans))))


def read_fastest(subject: Subject, at: AtHand, present: Plans) -> tuple[Any, Plans, list[bool]]:
    """As `read_chip`, under the fastest plans, `present` ones where none fits; those plans, and whether each fits."""
    demands = subject.demands[int(subject.space.structure_of_choice[at.choice])]
    numbers = np.asarray(subject.reads_fastest(at.x, _asked(subject, at, None), demands, np.asarray(present)))
    found = numbers[: len(present)].astype(int).tolist()
    plans = tuple(p if i < 0 else i for i, p in zip(found, present, strict=True))
    return nested(subject.places, numbers[len(present) :]), plans, [i >= 0 for i in found]


def learn_plans(subject: Subject, plans: tuple[Plan, ...]) -> Plans:
    """Positions of plans, which join those that are known where a longer search found new ones."""
    known = zip(subject.space.plans, plans, strict=True)
    if any(p not in kept for kept, p in known):
        subject.space = with_plans(subject.space, plans)
        subject.kept.clear()
        subject.demands = _by_structure(subject.space)
    return tuple(kept.index(p) for kept, p in zip(subject.space.plans, plans, strict=True))


def known_plans(subject: Subject, texts: Sequence[str]) -> Plans | None:
    """Positions of plans as commands write them; None where one is not among those that are known."""
    known = [{plan_text(p): i for i, p in enumerate(kept)} for kept in subject.space.plans]
    found = [at.get(text) for at, text in zip(known, texts, strict=True)]
    return None if None in found else tuple(i for i in found if i is not None)


def first_chip(subject: Subject) -> AtHand:
    """Where the page begins: the baseline within bounds, first choice; blank silicon of a chip that exists, or none."""
    chip = subject.study.baseline.chip
    # a study may bound a number away from what its baseline has
    held = [min(max(float(FREE[f.name](chip)), f.lower), f.upper) for f in subject.study.free]
    return AtHand(np.asarray(held), 0, subject.limits, float(chip.blank_mm2) if subject.is_chip else 0.0)


def under(subject: Subject, limits: np.ndarray) -> Study:
    """The study with other values of its limits."""
    each = zip(subject.study.limits, limits, strict=True)
    return dataclasses.replace(subject.study, limits=tuple(Limit(m.metric, m.sense, float(v)) for m, v in each))


def power_limit_W(subject: Subject, limits: np.ndarray, drawn: Sequence[float]) -> float:
    """What a chip at hand may draw: the study's least limit on power, or what the hungriest workload draws [W]."""
    return rated_W(under(subject, limits).limits, drawn, float(subject.study.baseline.chip.power_limit_W))


def chip_at_hand(subject: Subject, at: AtHand, drawn: Sequence[float]) -> Chip:
    """The chip at hand as a record, called after the study; `drawn` is the mean power of every workload [W]."""
    values = {f.name: np.float64(v) for f, v in zip(subject.study.free, at.x, strict=True)}
    base, chosen = subject.study.baseline.chip, subject.study.choices[at.choice]
    made = with_free(base if subject.is_chip else template(chosen, base, subject.study.scaleout_Bps), values)
    least, links = 0.0, base.die_to_die_bandwidth_Bps
    if not subject.is_chip:
        least = study_blank_mm2(under(subject, at.limits), made, choice_technology(chosen, subject.study.package))
        links = made.die_to_die_bandwidth_Bps
    return dataclasses.replace(
        made, name=f"{subject.study.name}-explored", die_to_die_bandwidth_Bps=links,
        power_limit_W=power_limit_W(subject, at.limits, drawn), blank_mm2=max(at.blank_mm2, least),
    )  # fmt: skip


def chip_file(subject: Subject, at: AtHand, plans: Plans) -> str:
    """The chip at hand as a file that every command takes."""
    drawn = [w["power_W"] for w in read_chip(subject, at, plans).get("works", [])]
    made = chip_at_hand(subject, at, drawn)
    return design_toml(subject.study, subject.study.choices[at.choice], made, f"dse explore {subject.asked}")


def described_plans(subject: Subject, plans: Plans) -> dict[str, Any]:
    """What does not move while plans stay: their texts and operators."""
    if plans not in subject.known:
        subject.known[plans] = {"plan_texts": plan_texts(subject, plans), "operators": operators_of(subject, plans)}
    return subject.known[plans]


def plan_texts(subject: Subject, plans: Plans) -> list[str]:
    """Plans as commands take them."""
    return [plan_text(kept[i]) for kept, i in zip(subject.space.plans, plans, strict=True)]


def operators_of(subject: Subject, plans: Plans) -> list[list[dict[str, Any]]]:
    """Name and FLOP of one run of every operator of each workload; none for models in service."""
    found = []
    space = subject.space
    every = zip(subject.study.workloads.values(), space.plans, space.demands, plans, strict=True)
    for (workload, _), kept, demands, i in every:
        ops = [] if isinstance(workload, Requests) else rank_ops(phase_under(workload, kept[i]), kept[i])
        macs = np.asarray(demands.ops.macs)[0, i].sum(axis=-1)  # of any structure: arrays differ, products do not
        found.append([{"name": o.name, "run_FLOP": 2.0 * m} for o, m in zip(ops, macs.tolist(), strict=False)])
    return found


def subject_of_chip(system: System, workload: Workload, phase: str) -> Subject:
    """A chip that exists in its system under one workload, as it is where no number has moved."""
    chip = system.chip
    names = [n for n in FREE if n not in RELATIVE and float(FREE[n](chip)) > 0]
    values = {n: float(FREE[n](chip)) for n in names}
    name = f"{short_name(chip.name)}-{workload.model.name}"
    # `as_built` assumes the largest stack of the generation, with which this chip would seem to have room for more
    built = dataclasses.replace(as_built(chip), stack_capacity_B=float(chip.hbm_capacity_B / chip.n_stacks))
    study = recorded(
        name=name, baseline=system, workloads={phase: (workload, system.n_chips)},
        free=tuple(Free(n, v / REACH, v * REACH) for n, v in values.items()), choices=(built,),
        limits=(Limit(POWER, "at_most", float(chip.power_limit_W)),), goal=DELIVERED, package=chip.package,
        scaleout_Bps=float(chip.scaleout_bandwidth_per_dir_Bps),
    )  # fmt: skip
    ground, here = ground_of(study), [Structure(array_shape(chip.core.tensor))]
    plans = [ground.lowered[0][0]]
    data = stack([coefficients(study, ground, chip, chip_technology(chip))])
    which, demands = np.zeros(1, dtype=int), demands_on(ground, here, plans)
    space = Space(study, ground, plans, classes_of(study, plans), here, which, demands, data)
    return subject_of(space, f"{chip.name} {workload.model.name}", is_chip=True)
