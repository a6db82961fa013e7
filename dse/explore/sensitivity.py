"""How an optimum moves: elasticities of the best goal and of the best design by every coefficient and limit.

The goal's is that of the Lagrangian (envelope theorem), the design's one linear system from the optimality conditions
(implicit function theorem). Read more: [nocedal2006] section 12.9 for prices; [fiacco1983] for designs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.errors import SpecError
from ..core.frames import page, table_of
from ..core.program import compiled, is_traced, meanwhile
from ..core.provenance import Sourced
from ..core.text import percent, quantity_text, scoped_label, scoped_name
from ..evaluation.host import evaluated
from ..hardware.chip import Chip
from ..lowering.demand import StepDemand
from ..optimize.search import Candidate, Search, leaders, run_search, search_of
from ..optimize.space import Space, data_of, space_of
from ..physics.calibration import Calibration, calibration_receipts
from ..physics.evaluate import chip_technology
from ..physics.money import bond_loss
from ..study.convex import ConvexCore, Data, coordinates, core_logs
from ..study.study import Study
from ..technology.presets import DIE_TO_DIE, Technology, receipts
from .samples import by_name, fact_name
from .unknowns import decided

if TYPE_CHECKING:
    import pandas as pd

RANK = 1e-6
"""Singular values below this share of the largest are none."""
LOOSE = 1e-3
"""Share of a coordinate in such a direction above which it counts as free."""
STRIDE = 2e-3
"""Step of the differences of slopes that second derivatives are [log units]: both errors are about 1e-12."""
SHARES = np.asarray([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
"""Where the slopes are taken, in strides."""
WEIGHTS = np.asarray([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0]) / 60.0
"""Of those slopes in their derivative, exact for slopes that are polynomials of degree six."""
ACTIVE = 1e-6
"""Multiplier above which a limit or bound counts as binding."""


class World(eqx.Module):
    """What a study takes as given, apart from structure: the numbers that sensitivities are by."""

    tech: Technology
    calibrations: dict[str, Calibration]
    """Of design and baseline, by name: workloads that share one move together."""
    limits: Float[Array | np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Form:
    """The form of a world whose numbers stand in one vector. Hashable, so that what uses it compiles once."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]

    def world(self, values: Array | np.ndarray) -> World:
        """The world of a vector."""
        ends = np.cumsum([int(np.prod(s)) for s in self.shapes])
        parts = (jnp if is_traced(values) else np).split(values, ends[:-1])
        return jax.tree.unflatten(self.tree, [p.reshape(s) for p, s in zip(parts, self.shapes, strict=True)])


def flat_world(world: World) -> tuple[np.ndarray, Form]:
    """All numbers of a world in one vector, and its form."""
    leaves, tree = jax.tree.flatten(world)
    return np.concatenate([np.ravel(x) for x in leaves]), Form(tree, tuple(np.shape(x) for x in leaves))


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One number of the world, and what it does to the optimum."""

    name: str
    """Scope and fact, such as "node N2: sram_mm2_per_B", or a limit."""
    place: int
    """Position in the flat world."""
    value: float
    """Canonical unit."""
    fact: Sourced | None
    """Its receipt; None for a limit."""
    elasticity: float
    """d log goal / d log value."""
    design: np.ndarray
    """d log coordinate / d log value, shape (variables,)."""

    @property
    def quantity(self) -> str:
        """Canonical name of the fact or of the limit's metric, whose ending says the unit."""
        return scoped_name(self.name)

    @property
    def swing(self) -> float:
        """Change of the log goal from the low to the high end of the receipt's range, to first order; 0 for a limit."""
        f = self.fact
        return 0.0 if f is None or f.low <= 0 else abs(self.elasticity) * float(np.log(f.high / f.low))

    def moved_frac(self, value: float) -> float:
        """Change of the goal, as a fraction, were the number `value` instead, to first order in logs."""
        return float(np.expm1(self.elasticity * np.log(value / self.value)))


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Derivatives of a study's continuous optimum, its discrete choice and plans held."""

    study: Study
    candidate: Candidate
    variables: tuple[str, ...]
    """Coordinates of `Parameter.design`."""
    parameters: tuple[Parameter, ...]
    """Every number of the world that matters, widest swing first, then largest elasticity."""
    unfinished: tuple[str, ...]
    """What the search for the optimum left out because time was up, in words."""
    undetermined: tuple[str, ...]
    """Coordinates that the optimality conditions leave free, such as a capacity that costs nothing: no derivative."""

    def frame(self) -> pd.DataFrame:
        """One row per number of the world, canonical units: elasticity of the goal, swing over its range, its kind."""
        rows = [
            (p.name, p.value, p.elasticity, p.swing, "asked" if p.fact is None else p.fact.kind)
            for p in self.parameters
        ]
        return table_of(rows, ["number", "value", "elasticity", "swing", "kind"], "number")

    def _repr_html_(self) -> str:
        said = [
            (scoped_label(p.name), quantity_text(p.quantity, p.value), percent(p.elasticity / 100), k)
            for p, k in zip(self.parameters, self.frame()["kind"], strict=True)
        ]
        columns = ["number", "value", "goal for 1 % more", "kind"]
        return page(self.study.name, table_of(said, columns, "number"))

    def of(self, name: str) -> Parameter:
        """The parameter of that name; KeyError if it does not matter."""
        return {p.name: p for p in self.parameters}[name]


def sensitivity(study: Study, search: Search | None = None) -> Sensitivity:
    """Elasticities of a study's best continuous goal and design by every coefficient and limit; or SpecError.

    Those of a calibration count its effect on the baseline too.
    """
    search = search or search_of(space_of(study))
    meanwhile(lambda: _prepare_slopes(search))
    best = (run_search(search) if not search.seen else sorted(leaders(search), key=lambda c: c.log_goal))[0]
    if not np.isfinite(best.log_goal):
        raise SpecError(f"study {study.name}: no design meets its limits; `dse optimize` says what to loosen")
    given = Given.of(search.space, best)
    values, form = flat_world(given.world)
    named = labels(search.space, best, given.world)
    chosen = decided(study.choices[best.choice_index], given.data.tech)
    edges = supply_edges(search, best, [name for name, _ in named])
    by_goal, by_design, free = derivatives(search.core, given, form, values, best, search.box, edges)
    undetermined = tuple(n for n, x in zip(coordinates(search.core), free, strict=True) if x)
    parameters = []
    for i, (name, fact) in enumerate(named):
        if name.rpartition(": ")[2] in chosen:
            continue
        if abs(by_goal[i]) > ACTIVE or np.abs(by_design[:, i]).max() > ACTIVE:
            parameters.append(Parameter(name, i, float(values[i]), fact, float(by_goal[i]), by_design[:, i]))
    parameters.sort(key=lambda p: (-p.swing, -abs(p.elasticity)))
    left = tuple(search.deadline.undone)
    return Sensitivity(study, best, coordinates(search.core), tuple(parameters), left, undetermined)


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
        found = [evaluated(d, self.base, self.base_tech, c) for d, c in zip(self.own, each, strict=True)]
        node, xp = world.tech.node, jnp if is_traced(world) else np
        larger = world.tech.memory.stack_capacity_B / self.data.tech.memory.stack_capacity_B
        chip = dataclasses.replace(self.data.chip, hbm_capacity_B=self.data.chip.hbm_capacity_B * larger)
        return dataclasses.replace(
            self.data, chip=chip, tech=world.tech, calibrations=each, limits=world.limits,
            baseline_s=xp.stack([e.step_s for e in found]) if found else self.data.baseline_s,
            overdrive_V=node.nominal_V - node.threshold_V, bond_loss=bond_loss(world.tech),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Edge:
    """A bound of a coordinate that is a number of the world."""

    coordinate: int
    """Position among the coordinates."""
    place: int
    """Position in the flat world."""
    price: float
    """d log goal / d log bound."""


def supply_edges(search: Search, c: Candidate, names: list[str]) -> list[Edge]:
    """The limits of the node's supply that hold the optimum; they bound a coordinate and stand in no row."""
    o, supply = c.optimum, coordinates(search.core).index("supply_V")
    node = search.space.study.choices[c.choice_index].node
    ends = (("minimum_V", float(o.lower_multipliers[supply])), ("maximum_V", -float(o.upper_multipliers[supply])))
    return [Edge(supply, names.index(f"node {node}: {name}"), price) for name, price in ends if abs(price) > ACTIVE]


def derivatives(
    core: ConvexCore,
    given: Given,
    form: Form,
    values: np.ndarray,
    c: Candidate,
    box: tuple[np.ndarray, np.ndarray],
    edges: Sequence[Edge] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elasticities of the goal, shape (k,), and of the coordinates, shape (n, k); which coordinates have none.

    With A the binding limits and F the coordinates off their bounds (a bound that moves takes its coordinate along),
        [H_FF  J_AF'] [dz_F  ]     [d2L / dz_F dp]
        [J_AF  0    ] [dlam_A] = - [d g_A / dp   ]
    Source: [fiacco1983] theorem 3.2.2; [nocedal2006] section 12.9 for the goal.
    Assumes: binding limits have positive multipliers and independent gradients; else the least-norm answer is given.
    """
    o = c.optimum
    weights = np.append(1.0, o.multipliers)
    n, k = np.size(o.z), values.size

    def slopes(z: np.ndarray) -> np.ndarray:
        return slopes_at(core, form, given, values, z)[1]

    here = slopes(np.asarray(o.z))
    curved = by_differences(lambda z: weights @ slopes(z), np.asarray(o.z))
    by_goal, hess, cross = (weights @ here)[n:], 0.5 * (curved[:, :n] + curved[:, :n].T), curved[:, n:]
    jac, by_limit = here[1:, :n], here[1:, n:]
    binds = np.asarray(o.multipliers) > ACTIVE
    held = (np.asarray(o.lower_multipliers) > ACTIVE) | (np.asarray(o.upper_multipliers) > ACTIVE)
    moves = ~(held | (box[0] == box[1]))
    n_moves, m = int(moves.sum()), int(binds.sum())
    rows = jac[binds][:, moves]
    kkt = np.block([[hess[np.ix_(moves, moves)], rows.T], [rows, np.zeros((m, m))]])
    answer = np.linalg.lstsq(kkt, -np.vstack([cross[moves], by_limit[binds]]), rcond=RANK)[0]
    _, sizes, ways = np.linalg.svd(kkt)
    loose = ways[sizes < RANK * sizes[0], :n_moves]  # ways to move that the conditions do not see
    by_design = np.zeros((n, k))
    by_design[moves] = answer[:n_moves]
    for e in edges:
        along = np.concatenate([hess[moves, e.coordinate], jac[binds, e.coordinate]])
        by_goal[e.place] += e.price
        by_design[moves, e.place] += np.linalg.lstsq(kkt, -along, rcond=RANK)[0][:n_moves]
        by_design[e.coordinate, e.place] += 1.0
    free = np.zeros(n, dtype=bool)
    free[moves] = np.any(np.abs(loose) > LOOSE, axis=0)
    return by_goal, by_design, free


def by_differences(fun: Callable[[np.ndarray], np.ndarray], z: np.ndarray) -> np.ndarray:
    """Derivative of a smooth function of log coordinates, shape (coordinates, values), to about 1e-12 of its size."""
    around = [[fun(z + share * STRIDE * way) for way in np.eye(z.size)] for share in SHARES]
    return np.tensordot(WEIGHTS, np.asarray(around), axes=1) / STRIDE


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
        f, g = core_logs(core, z_, given.under(form.world(values * jnp.exp(p))))
        return jnp.append(f, g)

    found, pull = jax.vjp(logs, z, jnp.zeros(values.shape))
    return found, jax.lax.map(pull, jnp.eye(found.size))


def _prepare_slopes(search: Search) -> None:
    given = Given.at(search.space, 0, tuple(0 for _ in search.space.plans))
    values, form = flat_world(given.world)
    _slopes.prepare(search.core, form, given, values, np.zeros(len(coordinates(search.core))))


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
