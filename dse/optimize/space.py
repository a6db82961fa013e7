"""The discrete side of a study: choices lowered to coefficients, and the best plan for every chip at hand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from ..core.types import stack_records, unnamed
from ..economy.job import Economy, Job, job_of
from ..economy.presets import economy, reliability
from ..economy.racks import in_rack
from ..evaluation.assembly import chip_reference, evaluated, fastest, lowered, plan_steps_s
from ..hardware.chip import Chip
from ..hardware.fabrics import build_fabric, most_scaleup_Bps, system_facts
from ..hardware.presets import system as preset_system
from ..hardware.system import Fabric, System
from ..lowering.headroom import prefetch_frac, usable_frac
from ..lowering.plan import ORDERS, Plan
from ..lowering.served import asked_demand, asked_plans
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import ArrayShape, array_shape
from ..physics.calibration import Calibration
from ..physics.evaluate import chip_technology
from ..physics.money import bond_loss
from ..study.convex import Data, UNCAPPED_Bps
from ..study.design import Choice, array_of, choice_technology, template
from ..study.study import Study, replaced
from ..technology.presets import Technology
from ..workload.requests import given_batch
from ..workload.transformer import Workload

KEPT = 48
"""Plans kept per workload and probe chip."""
UNLIMITED = 1e3
"""Factor that takes a power limit out of play."""
PROBES = ((1.0, 1.0, 1.0, 1.0), (3.0, 4.0, 2.0, 2.0), (8.0, 4.0, 2.0, 4.0), (8.0, 8.0, 4.0, 1.0))
"""Growth of cores, HBM bandwidth, HBM capacity and scale-up links of the chips at which plans are ranked."""


NOWHERE_B = 1e18
"""Memory of a plan in a system that it is not valid in: more than any chip has."""


@dataclasses.dataclass(frozen=True)
class Structure:
    """All of a discrete choice that demands depend on."""

    array: ArrayShape
    """PE array."""
    system: str = ""
    """System that the chip sits in; empty: the baseline's."""


@dataclasses.dataclass
class Space:
    """A study with everything that does not depend on free numbers prepared once."""

    study: Study
    """The study."""

    known: dict[tuple[int, Plan, Structure], StepDemand] = dataclasses.field(default_factory=dict)
    """Demands lowered so far, by workload, plan and structure."""

    def relative(self, study: Study) -> Space:
        """The space of `study`, which has this one's baseline and workloads: what only they decide is taken over."""
        same = ("structures", "structure_of_choice", "demands") if study.choices == self.study.choices else ()
        plans = ("enumerated", "plans") if set(study.system_names) == set(self.study.system_names) else ()
        return self._sharing(Space(study, known=self.known), *plans, *same)

    def at_limits(self, values: np.ndarray) -> Space:
        """The space of the same study under other values of its limits: nothing is lowered again."""
        each = zip(self.study.limits, values.tolist(), strict=True)
        limits = tuple(dataclasses.replace(x, value=v) for x, v in each)
        other = self.relative(replaced(self.study, limits=limits))
        rows = np.tile(values, (len(self.study.choices), 1))
        other.__dict__["without_plans"] = dataclasses.replace(self.without_plans, limits=rows)
        return self._sharing(other, "n_baseline_tokens", "traffic_frac")

    def with_plans(self, plans: tuple[Plan, ...]) -> Space:
        """The space with one more plan per workload, behind those that it has: positions of those stay."""
        other = self._sharing(Space(self.study, known=self.known), "enumerated", "without_plans")
        each = zip(self.plans, plans, strict=True)
        other.__dict__["plans"] = [kept if p in kept else [*kept, p] for kept, p in each]
        return other

    def _sharing(self, other: Space, *names: str) -> Space:
        """`other` with what only baseline and workloads decide, and some more, taken over from here."""
        for name in ("calibrations", "lowered", "baselines", *names):
            other.__dict__[name] = getattr(self, name)
        return other

    @cached_property
    def calibrations(self) -> list[Calibration]:
        """Achievable fractions of each workload."""
        return list(self.study.calibrations.values())

    @property
    def systems(self) -> list[System]:
        """System of each workload: the baseline's fabric at the workload's size."""
        return self.seats[""]

    @cached_property
    def seats(self) -> dict[str, list[System]]:
        """System of each workload at its size, by name of the systems a design may sit in; "" is the baseline's."""
        sizes = [n for _, n in self.study.workloads.values()]
        return {name: [self.study.at_size(n, name) for n in sizes] for name in ("", *self.study.system_names)}

    @cached_property
    def lowered(self) -> list[tuple[list[Plan], list[StepDemand]]]:
        """All valid plans of each workload and their demands on the baseline's PE array."""
        each = zip(self.study.workloads.values(), self.systems, self.calibrations, strict=True)
        found = [lowered(system, workload, c, self.study.streams) for (workload, _), system, c in each]
        own = Structure(self.own_array)
        self.known.update({(w, p, own): d for w, pairs in enumerate(found) for p, d in zip(*pairs, strict=True)})
        return found

    @cached_property
    def baselines(self) -> list[tuple[Plan, float]]:
        """Best plan and step time of each workload on the baseline chip, under its power limit."""
        chip = self.study.baseline.chip
        tech, found = chip_technology(chip), []
        each = zip(self.lowered, self.calibrations, self.study.deadlines_s, strict=True)
        for (every, demands), c, deadline_s in each:
            best = fastest(every, demands, chip, tech, c, deadline_s)
            evaluation = evaluated(demands[best], chip, tech, c)
            found.append((every[best], float(evaluation.step_s)))
        return found

    @cached_property
    def enumerated(self) -> dict[str, list[dict[Plan, None]]]:
        """All valid plans of each workload in every system that a design may sit in, by its name."""
        study, found = self.study, {}
        for name in study.system_names:
            if not name or self.fabric_of(name) == study.baseline.fabric:
                found[name] = [dict.fromkeys(every) for every, _ in self.lowered]
            else:
                each = zip(study.workloads.values(), self.seats[name], strict=True)
                found[name] = [dict.fromkeys(asked_plans(w, system, study.streams)) for (w, _), system in each]
        return found

    def fabric_of(self, name: str) -> Fabric:
        """The scale-up domain of a system that a design may sit in."""
        return build_fabric(name, system_facts(name))

    @cached_property
    def candidates(self) -> list[list[Plan]]:
        """Plans of each workload that are valid in some system that a design may sit in."""
        each = zip(*self.enumerated.values(), strict=True)
        return [list(dict.fromkeys(p for valid in found for p in valid)) for found in each]

    def valid(self, w: int, plans: Sequence[Plan], choice: int) -> np.ndarray:
        """Whether plans of a workload are valid in the system of a choice."""
        there = self.enumerated[self.study.choices[choice].system][w]
        return np.asarray([p in there for p in plans], dtype=bool)

    @property
    def own_plans(self) -> tuple[int, ...]:
        """The baseline's best plan of each workload, position in `plans`."""
        return tuple(kept.index(own) for kept, (own, _) in zip(self.plans, self.baselines, strict=True))

    @cached_property
    def n_baseline_tokens(self) -> np.ndarray:
        """Tokens of a step of each workload's best plan on the baseline chip."""
        pairs = zip(self.lowered, self.baselines, strict=True)
        return np.asarray([float(demands[every.index(plan)].tokens) for (every, demands), (plan, _) in pairs])

    @cached_property
    def plans(self) -> list[list[Plan]]:
        """Plans of each workload worth pricing: the fastest `KEPT` on the baseline and on each grown `PROBES` chip.

        The baseline's own best plan is always among them. Every plan of a model in service or of a free batch is kept:
        the fastest have the smallest batches.
        """
        kept = []
        for w, (own, _) in enumerate(self.baselines):
            every = self.candidates[w] if own in self.candidates[w] else [own, *self.candidates[w]]
            if not isinstance(list(self.study.workloads.values())[w][0], Workload):
                kept.append(every)
                continue
            winners = {own, *(p for name in self.study.system_names for p in self._winners(w, name))}
            names = {dataclasses.replace(p, order=o) for p in winners for o in self.orders}
            kept.append([p for p in every if p in winners or p in names])
        return kept

    def _winners(self, w: int, name: str) -> list[Plan]:
        """The fastest plans of a workload in one system, on the baseline chip and on larger ones."""
        every, demands = self.lowered[w]
        if name and self.fabric_of(name) != self.study.baseline.fabric:
            every = list(self.enumerated[name][w])
            demands = [self.demand_of(w, p, Structure(self.own_array, name)) for p in every]
        tech, found = chip_technology(self.study.baseline.chip), []
        stacked = stack_records(demands)
        for chip in self.probes:
            seconds = np.asarray(plan_steps_s(stacked, chip, tech, self.calibrations[w]))
            found += [every[int(i)] for i in np.argsort(seconds)[:KEPT] if np.isfinite(seconds[i])]
        return found

    @property
    def orders(self) -> tuple[str, ...]:
        """Orders of a block's operators that are tried."""
        return ORDERS if self.study.streams else ORDERS[:1]

    @cached_property
    def classes(self) -> list[list[np.ndarray]]:
        """For every combination of orders, one per workload: whether each kept plan of each workload has that order.

        A streamed plan works only where SRAM has room, so that pricing at a chip without it never finds one: each
        combination is searched by itself.
        """
        combined = itertools.product(self.orders, repeat=len(self.plans))
        return [
            [np.asarray([p.order == o for p in kept]) for kept, o in zip(self.plans, c, strict=True)] for c in combined
        ]

    @property
    def probes(self) -> list[Chip]:
        """Chips at which plans are ranked: the baseline, and larger ones without a power limit."""
        base = self.study.baseline.chip
        return [
            dataclasses.replace(
                base,
                n_cores=base.n_cores * cores,
                hbm_bandwidth_Bps=base.hbm_bandwidth_Bps * hbm,
                hbm_capacity_B=base.hbm_capacity_B * capacity,
                scaleup_bandwidth_per_dir_Bps=base.scaleup_bandwidth_per_dir_Bps * links,
                power_limit_W=base.power_limit_W * UNLIMITED,
            )
            for cores, hbm, capacity, links in PROBES
        ]

    @property
    def own_array(self) -> ArrayShape:
        """The baseline's PE array."""
        return array_shape(self.study.baseline.chip.core.tensor)

    @cached_property
    def structures(self) -> list[Structure]:
        """Distinct PE arrays of the choices in their systems."""
        return list(dict.fromkeys(self.structure(c) for c in self.study.choices))

    def structure(self, choice: Choice) -> Structure:
        """All of a choice that demands depend on."""
        return Structure(array_shape(array_of(choice, self.study.baseline.chip)), choice.system)

    @cached_property
    def structure_of_choice(self) -> np.ndarray:
        """Position in `structures` of every choice's."""
        return np.asarray([self.structures.index(self.structure(c)) for c in self.study.choices])

    @cached_property
    def demands(self) -> tuple[StepDemand, ...]:
        """For each workload the demands of the kept plans on every structure: leading axes (structures, plans).

        Collective algorithms are chosen at the baseline's achievable link speeds, a discrete choice.
        """
        return tuple(stack(self.on_structures(w, kept)) for w, kept in enumerate(self.plans))

    def on_structures(self, w: int, plans: Sequence[Plan]) -> list[StepDemand]:
        """Stacked demands of some plans of one workload on every structure.

        All structures of a plan come one after the other, because they share what it moves (`lowering.demand`).
        """
        each = [[self.demand_of(w, p, s) for s in self.structures] for p in plans]
        return [stack_records(list(column)) for column in zip(*each, strict=True)]

    def demand_of(self, w: int, plan: Plan, at: Structure) -> StepDemand:
        """The demand of a plan of one workload on a structure.

        Of a plan that is not valid in that system: what it is in one where it is, except that it fits no memory.
        """
        if (w, plan, at) not in self.known:
            valid = plan in self.enumerated[at.system][w]
            where = at.system if valid else next((n for n, each in self.enumerated.items() if plan in each[w]), "")
            workload, _ = list(self.study.workloads.values())[w]
            ref = chip_reference(self.study.baseline.chip, self.calibrations[w])
            d = asked_demand(workload, plan, self.seats[where][w], ref, at.array)
            self.known[w, plan, at] = d if valid else dataclasses.replace(d, memory_B=d.memory_B + NOWHERE_B)
        return self.known[w, plan, at]

    @cached_property
    def traffic_frac(self) -> np.ndarray:
        """Share of the baseline's chips that each model in service takes: requests times chip-seconds of each."""
        s = self.study
        served = [s.services.get(name) for name in s.workloads]
        tokens = np.asarray([x.traffic_frac * x.requests.n_output if x else 0.0 for x in served])
        chips = np.asarray([float(x.n_chips) for x in self.systems])
        taken = tokens * chips * np.asarray([t for _, t in self.baselines]) / self.n_baseline_tokens
        return taken / max(float(np.sum(taken)), np.finfo(float).tiny)

    @cached_property
    def without_plans(self) -> Data:
        """Coefficients of every choice but the demands: leading axis over choices."""
        return stack([self._data(c) for c in self.study.choices])

    def _data(self, choice: Choice) -> Data:
        chip = template(choice, self.study.baseline.chip, self.study.scaleout_Bps)
        return self.coefficients(chip, choice_technology(choice, self.study.package), choice.system)

    def coefficients(self, chip: Chip, tech: Technology, system: str = "") -> Data:
        """Coefficients of chips of one structure in a technology and a system, without demands."""
        return Data(
            chip=chip,
            tech=tech,
            calibrations=tuple(self.calibrations),
            demands=(),
            baseline_s=np.asarray([seconds for _, seconds in self.baselines]),
            n_chips=np.asarray([float(n) for _, n in self.study.workloads.values()]),
            n_baseline_tokens=self.n_baseline_tokens,
            traffic_frac=self.traffic_frac,
            deadline_s=np.asarray(self.study.deadlines_s, dtype=float),
            limits=np.asarray([x.value for x in self.study.limits], dtype=float),
            usable_frac=usable_frac(),
            prefetch_frac=prefetch_frac(),
            overdrive_V=float(tech.node.nominal_V - tech.node.threshold_V),
            bond_loss=float(bond_loss(tech)),
            most_scaleup_Bps=min(most_scaleup_Bps(system or self.study.baseline.name), UNCAPPED_Bps),
            economy=self.economy(chip.node, system),
            jobs=self.jobs,
        )

    def economy(self, node: str, system: str = "") -> Economy | None:
        """What surrounds a design with dies of `node` in a system; spares are those of a pod or the largest job."""
        study, owner, sizes = self.study, self.study.owner, [n for _, n in self.study.workloads.values()]
        if owner is None:
            return None
        around = economy(study.baseline, node, owner.margin, max(sizes), owner.host)
        return in_rack(around, preset_system(system, inside=study.baseline.chip), owner.host) if system else around

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What each workload asks of a fleet."""
        if self.study.owner is None:
            return ()
        return tuple(job_of(given_batch(w), n, reliability()) for w, n in self.study.workloads.values())

    def every_plan(self, choices: Sequence[int]) -> tuple[StepDemand, ...]:
        """Demands of all kept plans for some choices: leading axes (choices, plans), one per workload."""
        return tuple(jax.tree.map(lambda x: x[self.structure_of_choice[choices]], d) for d in self.demands)

    def batch(self, choices: Sequence[int], plan_indices: Sequence[tuple[int, ...]]) -> Data:
        """Coefficients of several choices, each under one plan per workload: leading axis over the pairs."""
        rows = np.asarray(choices)
        which = self.structure_of_choice[rows]
        chosen = tuple(
            jax.tree.map(lambda x, w=w: x[which, [p[w] for p in plan_indices]], d) for w, d in enumerate(self.demands)
        )
        return dataclasses.replace(jax.tree.map(lambda x: x[rows], self.without_plans), demands=chosen)

    def data(self, choice: int, plan_index: tuple[int, ...]) -> Data:
        """Coefficients of one choice under one plan per workload."""
        return element(self.batch([choice], [plan_index]), 0)


def stack(items: list[Any]) -> Any:
    """Records of equal structure as one record with a leading axis, without their names."""
    return jax.tree.map(lambda *xs: np.stack(xs), *(unnamed(x) for x in items))


def element(batch: Any, i: int) -> Any:
    """Record `i` of a stacked batch, as host arrays."""
    return jax.tree.map(lambda x: np.asarray(x[i]), batch)
