"""Coefficients, bounds and baseline times of a study under many draws of its unknowns, batched over draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core.apart import Done
from ..core.program import compiled
from ..core.provenance import Sourced
from ..core.types import FloatLike, row_of, stack_records, unnamed
from ..hardware.chip import Chip
from ..hardware.presets import chip_receipts
from ..lowering.headroom import headroom_receipts
from ..lowering.software import framework_receipts
from ..lowering.step_demand import StepDemand
from ..optimize.batch import in_batches, solve_batch
from ..optimize.deadline import Deadline
from ..optimize.interior import Optimum, Settings
from ..optimize.newton import Model
from ..optimize.search import Search
from ..optimize.space import data_of
from ..physics.calibration import Calibration, calibration_receipts
from ..physics.evaluate import chip_technology, evaluate_demand
from ..physics.residency import ahead_frac
from ..study.convex import Data, coordinates
from ..study.design import Choice, choice_technology, stack_B, template
from ..technology.presets import DIE_TO_DIE, Technology, memory, receipts
from ..technology.presets import link as link_generation
from ..technology.presets import node as process_node
from ..technology.presets import package as package_kind
from .unknowns import STARTED, Draw, decided, measures_host, scope_of

PARTS = {"node": process_node, "memory": memory, "link": link_generation, "package": package_kind}
"""Kind of technology to the function that makes its record."""
MOST_DRAWS = 1_000_000
"""Draws of the longest study of risk: a day or more."""
OF_CHOICE = ("spare_frac", "scaleout_bandwidth_per_dir_Bps", "n_dies", "hbm_capacity_B")
"""Facts of the baseline chip that a design sets itself."""
CHUNK = 256
"""Problems solved side by side: one compiled shape."""


def fact_name(path: tuple[Any, ...]) -> str:
    """Fact that fills the leaf of a record at `path`; an entry by precision puts the precision before the unit."""
    names = [p.name for p in path]
    if len(names) == 1 or names[0] == "core":
        return names[-1]
    stem, _, unit = names[0].rpartition("_")
    return f"{stem}_{names[1]}_{unit}"


def spread(record: Any, facts: dict[str, Sourced], scope: str, drawn: Draw) -> Any:
    """`record` with a leading axis over draws: drawn facts vary (by ratio where a leaf differs), the rest repeats."""

    def leaf(path: tuple[Any, ...], x: Any) -> np.ndarray:
        fact = facts.get(fact_name(path))
        values = None if fact is None else drawn.values(scope, fact)
        if fact is None or values is None:
            return np.broadcast_to(np.asarray(x, dtype=float), (drawn.n, *np.shape(x)))
        # a leaf that is a multiple of its fact (the registers of a larger array) stays that multiple
        nominal = float(fact.value)
        # of a fact of 0 there is no multiple
        return values * (float(x) / nominal) if nominal else values

    return jax.tree_util.tree_map_with_path(leaf, record)


def by_name(facts: list[Sourced]) -> dict[str, Sourced]:
    """Facts with a number, by name."""
    return {f.name: f for f in facts if not isinstance(f.value, str)}


@dataclasses.dataclass
class Samples:
    """The study's world, `draw.n` times; the PE array's shape, what lowers operators, and the study's limits stay."""

    search: Search
    draw: Draw

    def part(self, kind: str, name: str) -> Any:
        """Record of a node, memory, link or package under every draw."""
        return spread(PARTS[kind](name), by_name(receipts(kind, name)), scope_of(kind, name), self.draw)

    def technology(self, node: str, hbm: str, link: str, package: str) -> Technology:
        """Technology under every draw."""
        d2d = self.part("link", DIE_TO_DIE)
        named = (("node", node), ("memory", hbm), ("link", link))
        return batched(Technology, *(self.part(k, n) for k, n in named), d2d, self.part("package", package))

    @cached_property
    def calibrations(self) -> tuple[Calibration, ...]:
        """Calibration of each workload under every draw, its exponents arguments of the compiled program."""
        return tuple(drawn_calibration(c, self.draw) for c in self.search.space.ground.calibrations)

    def headroom(self, name: str) -> np.ndarray:
        """A share of memory, per draw."""
        fact = by_name(headroom_receipts())[name]
        values = self.draw.values("headroom", fact)
        return np.full(self.draw.n, float(fact.value)) if values is None else values

    @cached_property
    def baseline(self) -> Chip:
        """The baseline chip under every draw."""
        return self.chip(self.search.space.study.baseline.chip)

    def chip(self, like: Chip) -> Chip:
        """A chip with the baseline's facts drawn; its tensor engine stays, since operators are lowered with it."""
        name = self.search.space.study.baseline.chip.name
        facts = {n: f for n, f in by_name(chip_receipts(name)).items() if f.low < f.high}
        return spread(like, facts, f"chip {name}", self.draw)

    @cached_property
    def baseline_s(self) -> np.ndarray:
        """Step time of each workload on the baseline under its best kept plan, per draw, shape (n, workloads)."""
        base = self.search.space.study.baseline.chip
        tech = chip_technology(base)
        package = tech.package.name
        world = self.technology(base.node, base.hbm, base.link, package)
        best = []
        for w, (every, demands) in enumerate(self.search.space.ground.lowered):
            # the baseline changes its plan with the draw, as a design does: a fixed plan would flatter the design
            places = [every.index(p) for p in self.search.space.plans[w] if p in every]
            stacked = row_of(stack_records(demands), places)
            rooms = self.headroom("usable_frac"), self.headroom("prefetch_frac")
            args = (self.baseline, world, self.calibrations[w], *rooms)
            best.append(in_batches(partial(_baseline_seconds, stacked), unnamed(args), CHUNK))
        return np.stack(best, axis=1) if best else np.zeros((self.draw.n, 0))

    def data(self, choice_index: int, plan_index: tuple[int, ...]) -> Data:
        """Coefficients of one choice under one plan per workload, under every draw."""
        study = self.search.space.study
        choice = study.choices[choice_index]
        nominal = data_of(self.search.space, choice_index, plan_index)
        tech = _technology(self, choice)
        repeat = lambda x: np.broadcast_to(x, (self.draw.n, *np.shape(x)))  # noqa: E731
        fixed = jax.tree.map(repeat, nominal)
        drawn = {
            "chip": self._template(choice, tech), "tech": tech, "calibrations": self.calibrations,
            "baseline_s": self.baseline_s, "usable_frac": self.headroom("usable_frac"),
            "prefetch_frac": self.headroom("prefetch_frac"),
            "overdrive_V": tech.node.nominal_V - tech.node.threshold_V,
            "bond_loss": -np.log(tech.package.bond_yield_frac),
        }  # fmt: skip
        return unnamed(batched(Data, *(drawn.get(f.name, getattr(fixed, f.name)) for f in dataclasses.fields(Data))))

    def _template(self, choice: Choice, tech: Technology) -> Chip:
        """Structure of a choice with the baseline's pipeline under every draw; its own dies, network and stacks."""
        study = self.search.space.study
        like = template(choice, study.baseline.chip, study.scaleout_Bps)
        # these are the design's own, so that the ranges of the baseline's facts do not concern them
        own = {n: np.broadcast_to(getattr(like, n), (self.draw.n,)) for n in OF_CHOICE}
        own["hbm_capacity_B"] = own["hbm_capacity_B"] * (tech.memory.stack_capacity_B / stack_B(choice))
        return jax.tree_util.tree_map_with_path(lambda path, x: own.get(fact_name(path), x), self.chip(like))

    def box(self, choice_index: int) -> tuple[np.ndarray, np.ndarray]:
        """Log bounds of the coordinates under every draw: the study's box with the drawn limits of the supply."""
        names = coordinates(self.search.core)
        lower, upper = (np.tile(b, (self.draw.n, 1)) for b in self.search.box)
        drawn = self.part("node", self.search.space.study.choices[choice_index].node)
        # of other coordinates no bound is a fact that is drawn
        place = names.index("supply_V")
        lower[:, place], upper[:, place] = np.log(drawn.minimum_V), np.log(drawn.maximum_V)
        return lower, upper


def _technology(s: Samples, choice: Choice) -> Technology:
    """As `choice_technology`, under every draw: what the choice itself decides stays."""
    package = s.search.space.study.package
    own, drawn = choice_technology(choice, package), s.technology(choice.node, choice.hbm, choice.link, package)

    def leaf(path: tuple[Any, ...], x: np.ndarray, nominal: Any) -> np.ndarray:
        return np.broadcast_to(nominal, x.shape) if path[-1].name in decided(choice, own) else x

    return jax.tree_util.tree_map_with_path(leaf, drawn, own)


def drawn_calibration(own: Calibration, draw: Draw) -> Calibration:
    """A calibration under every draw; the host's time grows with the kernels started, so nothing is lowered again."""
    facts, scope = by_name(calibration_receipts(own.name)), f"calibration {own.name}"
    exponents = draw.values(scope, facts["overlap_p"])
    # powers of two, as the fit has them: a p-norm of such an exponent is a chain of squares and roots
    exponents = np.full(draw.n, own.overlap_p) if exponents is None else 2.0 ** np.round(np.log2(exponents))
    drawn = spread(own, facts, scope, draw)
    drawn = eqx.tree_at(lambda c: c.drawn_p, drawn, exponents, is_leaf=lambda x: x is None)
    fact = by_name(framework_receipts())[STARTED]
    kernels = draw.values("framework", fact)
    if kernels is None or measures_host(own.name):
        return drawn
    # time per operator = kernels each starts x time per kernel
    return eqx.tree_at(lambda c: c.host_s, drawn, drawn.host_s * (kernels / float(fact.value)))


def batched(cls: type, *fields: Any) -> Any:
    """A record whose fields already have the leading axis; no converter, no check of scalars."""
    made = object.__new__(cls)
    for field, value in zip(dataclasses.fields(cls), fields, strict=True):
        object.__setattr__(made, field.name, value)
    return made


@compiled
def _baseline_seconds(
    demands: StepDemand, chip: Chip, tech: Technology, calibration: Calibration, usable: FloatLike, ahead: FloatLike
) -> FloatLike:
    """Least throttled step time of a chip over the demands (leading axis) that fit, for every draw."""

    def one(chip_: Chip, tech_: Technology, c: Calibration, share: FloatLike, held: FloatLike) -> FloatLike:
        def under(d: StepDemand) -> FloatLike:
            seconds = evaluate_demand(d, chip_, tech_, c).step_s
            fits = (d.memory_B <= share * chip_.hbm_capacity_B) & (ahead_frac(d, chip_, held) <= 1.0)
            return jnp.where(fits, seconds, jnp.inf)

        return jnp.min(jax.vmap(under)(demands))

    return jax.vmap(one)(chip, tech, calibration, usable, ahead)


SETTINGS = Settings(max_iterations=40)
"""Of the solves: designs are found within 30 steps or not at all."""
Drawn: TypeAlias = tuple[np.ndarray, Any, np.ndarray, np.ndarray]
"""Problems of one compiled shape: the draw of each, in ascending order, coefficients and log bounds."""


def solve_in_turn(
    model: Model, problems: Drawn, n: int, deadline: Deadline, tell: Callable[[str], None] = lambda _: None
) -> tuple[Optimum, int]:
    """Optima of the first problems, at least a batch, and of how many draws all problems are solved."""
    draws, found = problems[0], []
    for first in range(0, len(draws), CHUNK):
        # all draws before this one are done; the one that the last batch cut through may not be
        ready = int(draws[first])
        if found and deadline.over(f"{n - ready} of {n} draws"):
            return _joined(found), ready
        data, lower, upper = jax.tree.map(lambda x, a=first: x[a : a + CHUNK], problems[1:])
        found.append(solve_batch(model, data, lower, upper, (lower + upper) / 2, settings=SETTINGS, size=CHUNK))
        tell(Done(ready, n, "draws"))
    return _joined(found), n


def _joined(parts: list[Optimum]) -> Optimum:
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
