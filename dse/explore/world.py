"""Given numbers of a study (technology, calibrations, limits) as one named vector, and derivatives by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.program import compiled, is_traced
from ..core.provenance import Sourced
from ..evaluation.host import evaluated
from ..hardware.chip import Chip
from ..lowering.demand import StepDemand
from ..optimize.search import Candidate, Search
from ..optimize.space import Space, data_of
from ..physics.calibration import Calibration, calibration_receipts
from ..physics.evaluate import chip_technology
from ..physics.money import bond_loss
from ..study.convex import ConvexCore, Data, coordinates, core_logs
from ..technology.presets import DIE_TO_DIE, Technology, receipts
from .samples import by_name, fact_name


class World(eqx.Module):
    """Given numbers of a study, with respect to which sensitivities are computed."""

    tech: Technology
    calibrations: dict[str, Calibration]
    """Of design and baseline, by name: workloads that share one move together."""
    limits: Float[Array | np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Form:
    """Tree structure of a world stored as one vector. Hashable, so that programs compile once."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]

    def world(self, values: Array | np.ndarray) -> World:
        """The world of a vector."""
        ends = np.cumsum([int(np.prod(s)) for s in self.shapes])
        # of host numbers NumPy: JAX would make a program for splitting alone
        parts = (jnp if is_traced(values) else np).split(values, ends[:-1])
        return jax.tree.unflatten(self.tree, [p.reshape(s) for p, s in zip(parts, self.shapes, strict=True)])


def flat_world(world: World) -> tuple[np.ndarray, Form]:
    """All numbers of a world in one vector, and its form."""
    leaves, tree = jax.tree.flatten(world)
    return np.concatenate([np.ravel(x) for x in leaves]), Form(tree, tuple(np.shape(x) for x in leaves))


class Given(eqx.Module):
    """One optimum's coefficients as a function of the world."""

    data: Data
    own: tuple[StepDemand, ...]
    """Demand of each workload on the baseline, under its best plan."""
    base: Chip
    base_tech: Technology
    calibration_names: tuple[str, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, space: Space, c: Candidate) -> Given:
        """Coefficients of a candidate and the demands that set the baseline's times."""
        return cls.at(space, c.choice_index, c.plan_index)

    @classmethod
    def at(cls, space: Space, choice_index: int, plan_index: tuple[int, ...]) -> Given:
        """Coefficients of a choice under plans, and the demands that set the baseline's times."""
        base = space.study.baseline.chip
        names = tuple(c_.name for c_ in space.ground.calibrations)
        return cls(data_of(space, choice_index, plan_index), space.ground.own, base, chip_technology(base), names)

    @property
    def world(self) -> World:
        """The numbers of this optimum that sensitivities are by."""
        of_each = dict(zip(self.calibration_names, self.data.calibrations, strict=True))
        return World(self.data.tech, of_each, self.data.limits)

    def under(self, world: World) -> Data:
        """Coefficients in another world; memory follows its stacks, the baseline's times follow its calibration."""
        each = tuple(world.calibrations[name] for name in self.calibration_names)
        # timed anew, since a calibration is that of both chips: its elasticity is the ratio's
        found = [evaluated(d, self.base, self.base_tech, c) for d, c in zip(self.own, each, strict=True)]
        node, xp = world.tech.node, jnp if is_traced(world) else np
        # the chip's bytes are those of its stacks, which another world may make larger
        larger = world.tech.memory.stack_capacity_B / self.data.tech.memory.stack_capacity_B
        chip = dataclasses.replace(self.data.chip, hbm_capacity_B=self.data.chip.hbm_capacity_B * larger)
        return dataclasses.replace(
            self.data, chip=chip, tech=world.tech, calibrations=each, limits=world.limits,
            baseline_s=xp.stack([e.step_s for e in found]) if found else self.data.baseline_s,
            overdrive_V=node.nominal_V - node.threshold_V, bond_loss=bond_loss(world.tech),
        )  # fmt: skip

    def slowed_frac(self, place: int, by_frac: float, shares: Sequence[float]) -> float:
        """How much slower the baseline gets with number `place` moved by `by_frac`, mean over workloads [log units]."""
        values, form = flat_world(self.world)
        moved = values * np.exp(by_frac * (np.arange(values.size) == place))
        before, after = (np.asarray(self.under(form.world(v)).baseline_s) for v in (values, moved))
        return float(np.average(np.log(after / before), weights=list(shares) or None))


def labels(space: Space, c: Candidate, world: World) -> list[tuple[str, Sourced | None]]:
    """Name and receipt of every number of a world, in the order of its flat vector."""
    study, choice = space.study, space.study.choices[c.choice_index]
    things = {
        "node": ("node", choice.node), "memory": ("memory", choice.hbm), "link": ("link", choice.link),
        "die_to_die": ("link", DIE_TO_DIE), "package": ("package", study.package),
    }  # fmt: skip
    facts = {k: (f"{kind} {name}", by_name(receipts(kind, name))) for k, (kind, name) in things.items()}
    fits = {c.name: (f"calibration {c.name}", by_name(calibration_receipts(c.name))) for c in space.ground.calibrations}
    found: list[tuple[str, Sourced | None]] = []
    for path, _ in jax.tree_util.tree_flatten_with_path(world)[0]:
        head, *rest = path
        if head.name == "limits":
            found += [(f"limit {x.name}", None) for x in study.limits]
            continue
        part, *rest = rest
        thing, receipts_ = facts[part.name] if head.name == "tech" else fits[part.key]
        name = fact_name(tuple(rest))
        found.append((f"{thing}: {name}", receipts_.get(name)))
    return found


def slopes_at(
    core: ConvexCore, form: Form, given: Given, values: np.ndarray, z: np.ndarray
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r v"]]:
    """Log goal and log ratios of a chip in a world, goal first, and their slopes by `z`, then by logs of `values`."""
    logs, slopes = jax.device_get(_slopes(core, form, given, values, z))
    return logs, np.concatenate(slopes, axis=1)


@compiled
def _slopes(core: ConvexCore, form: Form, given: Given, values: Array, z: Array) -> tuple[Array, tuple[Array, Array]]:
    """Log goal and log ratios, and row after row their slopes: scalars compile in half the time of vectors."""

    def logs(z_: Array, p: Array) -> Array:
        # at p = 0, slopes by p are slopes by the logs of the values; a value of 0 stays 0 and has none
        f, g = core_logs(core, z_, given.under(form.world(values * jnp.exp(p))))
        return jnp.append(f, g)

    # reverse: rows are fewer than given numbers
    found, pull = jax.vjp(logs, z, jnp.zeros(values.shape))
    return found, jax.lax.map(pull, jnp.eye(found.size))


def prepare_slopes(search: Search) -> None:
    """Make the program of `slopes_at`."""
    given = Given.at(search.space, 0, tuple(0 for _ in search.space.plans))
    values, form = flat_world(given.world)
    _slopes.prepare(search.core, form, given, values, np.zeros(len(coordinates(search.core))))


@dataclasses.dataclass(frozen=True)
class Moved:
    """A problem whose world moves with some of its numbers, the levers."""

    core: ConvexCore
    given: Given
    form: Form
    values: np.ndarray
    """The world's numbers, flat."""
    target: float
    """Largest log of the delivered time."""
    places: np.ndarray
    """Position of each lever among the numbers."""
    signs: np.ndarray
    """1 where more is better, -1 where less is."""

    def changed(self, changes: np.ndarray) -> np.ndarray:
        """The world's numbers with levers changed, shape (..., levers) [log units] to (..., numbers)."""
        # what is broadcast is one row seen many times, and must not be written to
        values = np.broadcast_to(self.values, (*changes.shape[:-1], self.values.size)).copy()
        values[..., self.places] *= np.exp(self.signs * changes)
        return values

    def slopes(self, changes: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `slopes_at` with levers changed."""
        return slopes_at(self.core, self.form, self.given, self.changed(changes), z)

    def rows(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log ratios of a chip, behind which the levers stand, the target last, and their slopes by both."""
        n = point.size - self.places.size
        logs, slopes = self.slopes(point[n:], point[:n])
        slopes = np.concatenate([slopes[:, :n], self.signs * slopes[:, n + self.places]], axis=1)
        return np.append(logs[1:], logs[0] - self.target), np.roll(slopes, -1, axis=0)  # the goal is delivered time
