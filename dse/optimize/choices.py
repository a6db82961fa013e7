"""The discrete side of a study: choices lowered to coefficients, and the best plan for every chip at hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from ..cost.money import bond_loss
from ..hardware.chip import Chip
from ..hardware.system import System
from ..mapping.headroom import usable_frac
from ..mapping.plan import Plan
from ..mapping.tiling import ArrayShape, array_shape
from ..objective.design import Choice, array_of, choice_technology, template
from ..objective.metrics import chip_reference, chip_technology, evaluate_demand, fastest, lowered, plan_steps_s
from ..objective.study import Study
from ..objective.terms import Data
from ..performance.calibration import Calibration
from ..performance.demand import StepDemand, demand, stack_demands

KEPT = 48
"""Plans kept per workload and probe chip."""
UNLIMITED = 1e3
"""Factor that takes a power limit out of play."""
PROBES = ((1.0, 1.0, 1.0, 1.0), (3.0, 4.0, 2.0, 2.0), (8.0, 4.0, 2.0, 4.0), (8.0, 8.0, 4.0, 1.0))
"""Growth of cores, HBM bandwidth, HBM capacity and scale-up links of the chips at which plans are ranked."""


@dataclasses.dataclass
class Space:
    """A study with everything that does not depend on free numbers prepared once."""

    study: Study
    """The study."""
    also: tuple[Plan, ...] = ()
    """Plans that are priced whatever the probes say, one per workload."""

    def relative(self, study: Study) -> Space:
        """The space of `study`, which has this one's baseline and workloads: what only they decide is taken over."""
        other = Space(study)
        for name in ("calibration", "systems", "lowered", "baselines", "plans"):
            other.__dict__[name] = getattr(self, name)
        return other

    @cached_property
    def calibration(self) -> Calibration:
        """Achievable fractions: those of the baseline's family."""
        return self.study.calibrated()

    @cached_property
    def systems(self) -> list[System]:
        """System of each workload: the baseline's fabric at the workload's size."""
        return [self.study.at_size(n) for _, n in self.study.workloads.values()]

    @cached_property
    def lowered(self) -> list[tuple[list[Plan], list[StepDemand]]]:
        """All valid plans of each workload and their demands on the baseline's PE array."""
        pairs = zip(self.study.workloads.values(), self.systems, strict=True)
        return [lowered(system, workload, self.calibration) for (workload, _), system in pairs]

    @cached_property
    def baselines(self) -> list[tuple[Plan, float]]:
        """Best plan and step time of each workload on the baseline chip, under its power limit."""
        chip = self.study.baseline.chip
        tech, found = chip_technology(chip), []
        for every, demands in self.lowered:
            best = fastest(every, demands, chip, tech, self.calibration)
            evaluation = jax.jit(evaluate_demand)(demands[best], chip, tech, self.calibration)
            found.append((every[best], float(evaluation.step_s)))
        return found

    @cached_property
    def plans(self) -> list[list[Plan]]:
        """Plans of each workload worth pricing: the fastest `KEPT` on the baseline and on each grown `PROBES` chip.

        The baseline's own best plan is always among them.
        """
        kept = []
        for w, ((every, demands), (own, _)) in enumerate(zip(self.lowered, self.baselines, strict=True)):
            stacked, tech = stack_demands(demands), chip_technology(self.study.baseline.chip)
            winners = {every.index(own), *(every.index(p) for p in self.also[w : w + 1])}
            for chip in self.probes:
                seconds = np.asarray(plan_steps_s(stacked, chip, tech, self.calibration))
                winners |= {int(i) for i in np.argsort(seconds)[:KEPT] if np.isfinite(seconds[i])}
            kept.append([every[i] for i in sorted(winners)])
        return kept

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

    @cached_property
    def arrays(self) -> list[ArrayShape]:
        """Distinct PE arrays of the choices."""
        shapes = (array_shape(array_of(c, self.study.baseline.chip)) for c in self.study.choices)
        return list(dict.fromkeys(shapes))

    @cached_property
    def array_of_choice(self) -> np.ndarray:
        """Position in `arrays` of every choice's PE array."""
        shapes = [array_shape(array_of(c, self.study.baseline.chip)) for c in self.study.choices]
        return np.asarray([self.arrays.index(shape) for shape in shapes])

    @cached_property
    def demands(self) -> tuple[StepDemand, ...]:
        """For each workload the demands of the kept plans on every array: leading axes (arrays, plans).

        Collective algorithms are chosen at the baseline's achievable link speeds, a discrete choice.
        """
        ref = chip_reference(self.study.baseline.chip, self.calibration)
        return tuple(
            stack([stack_demands([demand(workload, p, system, ref, array) for p in kept]) for array in self.arrays])
            for (workload, _), system, kept in zip(self.study.workloads.values(), self.systems, self.plans, strict=True)
        )

    @cached_property
    def without_plans(self) -> Data:
        """Coefficients of every choice but the demands: leading axis over choices."""
        return stack([self._data(c) for c in self.study.choices])

    @cached_property
    def tokens(self) -> np.ndarray:
        """Tokens per step and chip of each workload."""
        pairs = zip(self.study.workloads.values(), self.lowered, strict=True)
        return np.asarray([float(demands[0].tokens) / n for (_, n), (_, demands) in pairs])

    def _data(self, choice: Choice) -> Data:
        tech = choice_technology(choice, self.study.package)
        return Data(
            chip=template(choice, self.study.baseline.chip, self.study.scaleout_Bps),
            tech=tech,
            calibration=self.calibration,
            demands=(),
            baseline_s=np.asarray([seconds for _, seconds in self.baselines]),
            tokens=self.tokens,
            limits=np.asarray([x.value for x in self.study.limits], dtype=float),
            usable_frac=usable_frac(),
            overdrive_V=float(tech.node.nominal_V - tech.node.threshold_V),
            bond_loss=float(bond_loss(tech)),
        )

    def batch(self, choices: Sequence[int], plan_indices: Sequence[tuple[int, ...]]) -> Data:
        """Coefficients of several choices, each under one plan per workload: leading axis over the pairs."""
        rows = np.asarray(choices)
        which = self.array_of_choice[rows]
        chosen = tuple(
            jax.tree.map(lambda x, w=w: x[which, [p[w] for p in plan_indices]], d) for w, d in enumerate(self.demands)
        )
        return dataclasses.replace(jax.tree.map(lambda x: x[rows], self.without_plans), demands=chosen)

    def data(self, choice: int, plan_index: tuple[int, ...]) -> Data:
        """Coefficients of one choice under one plan per workload."""
        return element(self.batch([choice], [plan_index]), 0)


def stack(items: list[Any]) -> Any:
    """Records of equal structure as one record with a leading axis."""
    return jax.tree.map(lambda *xs: np.stack(xs), *items)


def element(batch: Any, i: int) -> Any:
    """Record `i` of a stacked batch, as host arrays."""
    return jax.tree.map(lambda x: np.asarray(x[i]), batch)
