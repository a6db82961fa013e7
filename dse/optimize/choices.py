"""The discrete side of a study: choices lowered to coefficients, and the best plan for every chip at hand."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import jax
import numpy as np

from ..core.errors import SpecError
from ..cost.money import bond_loss
from ..hardware.presets import system as preset_system
from ..hardware.system import System
from ..mapping.headroom import usable_frac
from ..mapping.plan import Plan, plans
from ..mapping.tiling import ArrayShape, array_shape
from ..objective.design import Choice, array_of, choice_technology, template
from ..objective.metrics import evaluate
from ..objective.study import Study
from ..objective.terms import Data
from ..performance.calibration import Calibration, default_calibration, reference_speeds
from ..performance.demand import StepDemand, demand, stack_demands


@dataclasses.dataclass
class Space:
    """A study with everything that does not depend on free numbers prepared once."""

    study: Study
    """The study."""

    @cached_property
    def calibration(self) -> Calibration:
        """Achievable fractions: those of the baseline's family."""
        return default_calibration(self.study.baseline.chip.name)

    @cached_property
    def systems(self) -> list[System]:
        """System of each workload: the baseline's fabric at the workload's size."""
        return [preset_system(self.study.baseline.name, n) for _, n in self.study.workloads.values()]

    @cached_property
    def baselines(self) -> list[tuple[Plan, float]]:
        """Best plan and step time of each workload on the baseline chip, under its power limit."""
        pairs = zip(self.study.workloads.values(), self.systems, strict=True)
        found = [evaluate(system, workload) for (workload, _), system in pairs]
        return [(plan, float(e.step_s)) for plan, e in found]

    @cached_property
    def plans(self) -> list[list[Plan]]:
        """All valid plans of each workload."""
        pairs = zip(self.study.workloads.values(), self.systems, strict=True)
        found = [plans(workload, system) for (workload, _), system in pairs]
        for name, none in zip(self.study.workloads, found, strict=True):
            if not none:
                raise SpecError(f"workloads.{name}: no plan divides the model over its chips and batch")
        return found

    @cached_property
    def arrays(self) -> list[ArrayShape]:
        """Distinct PE arrays of the choices."""
        shapes = (array_shape(array_of(c, self.study.baseline.chip)) for c in self.study.choices)
        return list(dict.fromkeys(shapes))

    def array_index(self, choice: Choice) -> int:
        """Which of `arrays` a choice has."""
        return self.arrays.index(array_shape(array_of(choice, self.study.baseline.chip)))

    @cached_property
    def demands(self) -> list[list[StepDemand]]:
        """For each workload and array, the stacked demands of all plans.

        Collective algorithms are chosen at the baseline's achievable link speeds, a discrete choice.
        """
        base = self.study.baseline.chip
        ref = reference_speeds(self.calibration, float(base.scaleup_bandwidth_per_dir_Bps), self.study.scaleout_Bps)
        return [
            [stack_demands([demand(workload, p, system, ref, array) for p in candidates]) for array in self.arrays]
            for (workload, _), system, candidates in zip(
                self.study.workloads.values(), self.systems, self.plans, strict=True
            )
        ]

    def data(self, choice: Choice, plan_index: tuple[int, ...]) -> Data:
        """Coefficients of one choice under one plan per workload."""
        tech = choice_technology(choice, self.study.package)
        which = self.array_index(choice)
        chosen = tuple(
            jax.tree.map(lambda x, i=i: x[i], self.demands[w][which]) for w, i in enumerate(plan_index)
        )
        return Data(
            chip=template(choice, self.study.baseline.chip, self.study.scaleout_Bps),
            tech=tech,
            calibration=self.calibration,
            demands=chosen,
            baseline_s=np.asarray([seconds for _, seconds in self.baselines]),
            limits=np.asarray([x.value for x in self.study.limits], dtype=float),
            usable_frac=usable_frac(),
            overdrive_V=float(tech.node.nominal_V - tech.node.threshold_V),
            bond_loss=float(bond_loss(tech)),
        )
