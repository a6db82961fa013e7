"""`sensitivity`: elasticities of a study's optimal goal and design by every fact, calibration number and limit.

Goal: derivative of the Lagrangian (envelope theorem). Design: one linear system from the optimality conditions
(implicit function theorem). Read more: [nocedal2006] section 12.9 for prices; [fiacco1983] for designs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import SpecError
from ..core.frames import page, table_of
from ..core.program import meanwhile
from ..core.provenance import Sourced
from ..core.takes import takes
from ..core.text import percent, quantity_text, scoped_label, scoped_name
from ..optimize.descent import run_search
from ..optimize.search import Candidate, Search, leaders, search_of
from ..optimize.space import space_of
from ..study.convex import coordinates
from ..study.study import Study
from .unknowns import decided
from .world import Given, flat_world, labels, prepare_slopes, slopes_at

if TYPE_CHECKING:
    import pandas as pd

RANK = 1e-6
"""Singular values below this share of the largest count as zero."""
LOOSE = 1e-3
"""Share of a coordinate in a null direction above which it counts as undetermined."""
STRIDE = 2e-3
"""Step of the differences of slopes that second derivatives are [log units]: both errors are about 1e-12."""
SHARES = np.asarray([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
"""Finite-difference points, in units of `STRIDE`."""
WEIGHTS = np.asarray([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0]) / 60.0
"""Finite-difference weights at those points, exact for slopes that are polynomials of degree six."""
ACTIVE = 1e-6
"""Multiplier above which a limit or bound counts as binding."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One given number (fact or limit) and its effect on the optimum."""

    name: str
    """Scope and fact, such as "node N2: sram_mm2_per_B", or a limit."""
    place: int
    """Index in the flat vector of given numbers."""
    value: float
    """Present value, canonical unit."""
    fact: Sourced | None
    """Its receipt; None for a limit."""
    elasticity: float
    """d log goal / d log value."""
    design: np.ndarray
    """d log coordinate / d log value, shape (variables,)."""

    @property
    def swing(self) -> float:
        """First-order change of the log goal over the range of the receipt; 0 for a limit."""
        f = self.fact
        return 0.0 if f is None or f.low <= 0 else abs(self.elasticity) * float(np.log(f.high / f.low))

    def moved_frac(self, value: float) -> float:
        """Relative change of the goal if the number were `value`, to first order in logs."""
        return float(np.expm1(self.elasticity * np.log(value / self.value)))


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Derivatives of a study's continuous optimum at fixed discrete choice and plans."""

    study: Study
    candidate: Candidate
    variables: tuple[str, ...]
    """Coordinates of `Parameter.design`."""
    parameters: tuple[Parameter, ...]
    """All given numbers with an effect, largest `swing` first, then largest elasticity."""
    unfinished: tuple[str, ...]
    """Parts of the search that were skipped for lack of time, in words."""
    undetermined: tuple[str, ...]
    """Coordinates without a derivative, since the optimality conditions leave them free (a capacity at no cost)."""

    def frame(self) -> pd.DataFrame:
        """One row per given number in canonical units: value, elasticity of the goal, swing over its range, kind."""
        rows = [
            (p.name, p.value, p.elasticity, p.swing, "asked" if p.fact is None else p.fact.kind)
            for p in self.parameters
        ]
        return table_of(rows, ["number", "value", "elasticity", "swing", "kind"], "number")

    def _repr_html_(self) -> str:
        said = [
            (scoped_label(p.name), quantity_text(scoped_name(p.name), p.value), percent(p.elasticity / 100), k)
            for p, k in zip(self.parameters, self.frame()["kind"], strict=True)
        ]
        columns = ["number", "value", "goal for 1 % more", "kind"]
        return page(self.study.name, table_of(said, columns, "number"))

    def of(self, name: str) -> Parameter:
        """The parameter of that name; KeyError if it has no effect."""
        return {p.name: p for p in self.parameters}[name]


@takes(study=Study)
def sensitivity(study: Study, search: Search | None = None) -> Sensitivity:
    """Elasticities of a study's optimal goal and design (continuous counts) by every fact and limit.

    Elasticities of calibration numbers include their effect on the baseline. SpecError: no design meets the limits.
    """
    search = search or search_of(space_of(study))
    meanwhile(lambda: prepare_slopes(search))
    best = (run_search(search) if not search.seen else sorted(leaders(search), key=lambda c: c.log_goal))[0]
    if not np.isfinite(best.log_goal):
        raise SpecError(f"study {study.name}: no design meets its limits; `dse optimize` says what to loosen")
    given = Given.of(search.space, best)
    values, named = flat_world(given.world)[0], labels(search.space, best, given.world)
    chosen = decided(study.choices[best.choice_index], given.data.tech)
    edges = supply_edges(search, best, [name for name, _ in named])
    by_goal, by_design, free = derivatives(search, given, best, edges)
    undetermined = tuple(n for n, x in zip(coordinates(search.core), free, strict=True) if x)
    parameters = []
    for i, (name, fact) in enumerate(named):
        # such as the capacity of a stack that the study names: its generation's fact moves nothing
        if name.rpartition(": ")[2] in chosen:
            continue
        # a number may move the design and not the goal: at an optimum that is flat along it
        if abs(by_goal[i]) > ACTIVE or np.abs(by_design[:, i]).max() > ACTIVE:
            parameters.append(Parameter(name, i, float(values[i]), fact, float(by_goal[i]), by_design[:, i]))
    parameters.sort(key=lambda p: (-p.swing, -abs(p.elasticity)))
    left = tuple(search.deadline.undone)
    return Sensitivity(study, best, coordinates(search.core), tuple(parameters), left, undetermined)


@dataclasses.dataclass(frozen=True)
class Edge:
    """A bound of a coordinate that is itself a given number."""

    coordinate: int
    """Index among the coordinates."""
    place: int
    """Index in the flat vector of given numbers."""
    price: float
    """d log goal / d log bound."""


def supply_edges(search: Search, c: Candidate, names: list[str]) -> list[Edge]:
    """Binding limits of the node's supply voltage, which bound a coordinate instead of being a constraint row."""
    o, supply = c.optimum, coordinates(search.core).index("supply_V")
    node = search.space.study.choices[c.choice_index].node
    ends = (("minimum_V", float(o.lower_multipliers[supply])), ("maximum_V", -float(o.upper_multipliers[supply])))
    return [Edge(supply, names.index(f"node {node}: {name}"), price) for name, price in ends if abs(price) > ACTIVE]


def derivatives(
    search: Search, given: Given, c: Candidate, edges: Sequence[Edge]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elasticities of the goal, shape (k,), and of the coordinates, shape (n, k); which coordinates have none.

    With A the binding limits and F the coordinates off their bounds (a bound that moves takes its coordinate along),
        [H_FF  J_AF'] [dz_F  ]     [d2L / dz_F dp]
        [J_AF  0    ] [dlam_A] = - [d g_A / dp   ]
    Source: [fiacco1983] theorem 3.2.2; [nocedal2006] section 12.9 for the goal.
    Assumes: binding limits have positive multipliers and independent gradients; else the least-norm answer is given.
    """
    (values, form), o = flat_world(given.world), c.optimum
    weights, n = np.append(1.0, o.multipliers), np.size(o.z)

    def slopes(z: np.ndarray) -> np.ndarray:
        return slopes_at(search.core, form, given, values, z)[1]

    here = slopes(np.asarray(o.z))
    curved = by_differences(lambda z: weights @ slopes(z), np.asarray(o.z))
    # envelope theorem: at the optimum, moves of the design change the Lagrangian only to second order
    # the mean with the transpose, since by differences a Hessian is symmetric only to rounding
    by_goal, hess, cross = (weights @ here)[n:], 0.5 * (curved[:, :n] + curved[:, :n].T), curved[:, n:]
    jac, by_limit = here[1:, :n], here[1:, n:]
    binds = np.asarray(o.multipliers) > ACTIVE
    # a coordinate at its bound stays there under small changes, and is no unknown
    held = (np.asarray(o.lower_multipliers) > ACTIVE) | (np.asarray(o.upper_multipliers) > ACTIVE)
    moves = ~(held | (search.box[0] == search.box[1]))
    n_moves, m = int(moves.sum()), int(binds.sum())
    rows = jac[binds][:, moves]
    # symmetric but indefinite, and singular where a capacity costs nothing: least squares instead of a factor
    kkt = np.block([[hess[np.ix_(moves, moves)], rows.T], [rows, np.zeros((m, m))]])
    answer = np.linalg.lstsq(kkt, -np.vstack([cross[moves], by_limit[binds]]), rcond=RANK)[0]
    _, sizes, ways = np.linalg.svd(kkt)
    loose = ways[sizes < RANK * sizes[0], :n_moves]  # ways to move that the conditions do not see
    by_design = np.zeros((n, values.size))
    by_design[moves] = answer[:n_moves]
    for e in edges:
        # a bound that moves takes its coordinate along, and the others answer as to any given number
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
