"""Re-optimisation under other limits with a warm start: first continuous, then whole counts, then with proof."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..core.free import Free
from ..core.text import label, percent, quantity_text
from ..optimize.batch import WIDTH, solve_batch
from ..optimize.counts import fixed_boxes, neighbours
from ..optimize.deadline import Deadline
from ..optimize.descent import run_search
from ..optimize.interior import Optimum
from ..optimize.prices import limit_price
from ..optimize.pricing import Plans, alternate
from ..optimize.relax import relaxations
from ..optimize.search import (
    Candidate,
    Search,
    best_goal,
    data_of_each,
    price_plans,
    search_of,
    solve_points,
    with_design,
)
from ..optimize.solution import Relaxation, Solution
from ..optimize.solve import solve
from ..optimize.space import at_limits, element
from ..study.convex import all_strict, model_of
from ..study.design import FREE, ROUNDING, STEPPED, steps
from .subject import Subject, learn_plans

ROUNDED = 8
"""Best choices whose optima are rounded to whole counts."""
GAP_FRAC, LIMIT_S = 1e-3, 60.0
"""When a proof stops, as `dse optimize` does unless told otherwise."""
Tell = Callable[[dict[str, Any]], None]
"""Hears plain data: `progress` in words, then `found` optima, the last of them `done`."""


def lines_of(tell: Tell) -> Callable[[str], None]:
    """What hears lines of progress, as solvers tell them, for `tell`."""
    return lambda line: tell({"progress": line})


@dataclasses.dataclass
class Reoptimiser:
    """Remembers the plans that won on every choice, from which the next search starts."""

    subject: Subject
    plans: list[Plans] = dataclasses.field(default_factory=list)
    """Plans of the best optimum of every choice so far, in the order of choices."""
    best: Plans | None = None
    """Plans of the last optimum."""

    def quick(self, limits: np.ndarray, tell: Tell) -> None:
        """The optimum with broken counts and its prices, then the best whole design near the best choices' optima."""
        began = time.monotonic()
        space, deadline = at_limits(self.subject.space, limits), Deadline(LIMIT_S)
        search = search_of(space, lines_of(tell), deadline=deadline)
        found = self._candidates(search)
        # found best first, and kept in the order of choices
        self.plans = [c.plan_index for c in sorted(found, key=lambda c: c.choice_index)]
        best = min(found, key=lambda c: c.log_goal)
        if best.log_goal == np.inf:
            tell({"progress": "no design meets these limits; looking for the cheapest way out"})
            tell({"done": True, "infeasible": [_way_out(r) for r in relaxations(search, found)]})
            return
        # of the optimum with broken counts: rounding changes numbers, not plans
        self.best = best.plan_index
        first = self.answer(search, best, best)
        tell({**first, "spent_s": time.monotonic() - began, "whole": False})
        whole = self._whole(search, found)
        shown = first if whole is None else self.answer(search, whole, best)
        tell({**shown, "spent_s": time.monotonic() - began, "whole": whole is not None, "done": True})

    def prove(self, limits: np.ndarray, tell: Tell) -> None:
        """As `dse optimize`: over all choices, plans and whole counts, with a gap that holds for all of them."""
        began = time.monotonic()
        space = at_limits(self.subject.space, limits)
        solution = solve(space.study, lines_of(tell), space, gap_frac=GAP_FRAC, limit_s=LIMIT_S)
        if solution.chip is None or solution.choice is None:
            tell({"done": True, "infeasible": [_way_out(r) for r in solution.relaxations]})
            return
        plans = self.best = learn_plans(self.subject, tuple(w.plan for w in solution.workloads))
        answer = {
            "x": {f.name: float(FREE[f.name](solution.chip)) for f in self.subject.study.free},
            "choice": self.subject.study.choices.index(solution.choice),
            "plans": list(plans),
            "goal": solution.goal,
            # the user's own limits stand first, in the order of the study
            "prices": [x.price for x in solution.limits[: len(limits)]],
            "said": _proof(solution),
        }
        tell({**answer, "spent_s": time.monotonic() - began, "whole": True, "done": True})

    def answer(self, search: Search, shown: Candidate, priced: Candidate) -> dict[str, Any]:
        """A design with the prices of the optimum with broken counts, as plain data."""
        free, n_dies = self.subject.study.free, self.subject.study.choices[shown.choice_index].n_dies
        numbers = np.exp(shown.optimum.z[: len(free)]).tolist()
        # rounding can put an optimum a hair below its own bound
        gap = percent(max(float(np.expm1(priced.optimum.gap)), 0.0))
        return {
            "x": {f.name: _built(f, v, n_dies) for f, v in zip(free, numbers, strict=True)},
            "choice": shown.choice_index,
            "plans": list(shown.plan_index),
            "goal": float(np.exp(shown.log_goal)),
            # a whole design has none: between whole counts nothing has a slope
            "prices": [limit_price(search, k, priced.optimum.multipliers) for k in range(len(search.core.limits))],
            "said": f"with the plans found, no design with broken counts is more than {gap} better than the optimum",
        }

    def _candidates(self, search: Search) -> list[Candidate]:
        """The best of every choice: by a whole search the first time, then from the plans that won before."""
        if not self.plans:
            return run_search(search)
        space = search.space
        masks = [  # plans with the order of operators of the one that won; see `Space.classes`
            [np.asarray([p.order == k[i].order for p in k]) for k, i in zip(space.plans, won, strict=True)]
            for won in self.plans
        ]

        def solve_some(active: list[int], plans: list[Plans], _: dict[int, Candidate]) -> list[Candidate]:
            found = solve_points(search, list(zip(active, plans, strict=True)))
            feasible = sum(c.log_goal < np.inf for c in found)
            search.progress(f"{feasible} of {len(found)} problems feasible, best {best_goal(search):.4f}")
            return found

        price = partial(price_plans, search, among=masks)
        return alternate(self.plans, solve_some, price, lambda c: c.log_goal, search.deadline)

    def _whole(self, search: Search, found: Sequence[Candidate]) -> Candidate | None:
        """The best design with whole counts around the optima of the best choices; None where none is near."""
        near = with_design(found)[:ROUNDED]
        tries = [(c, v) for c in near for v in neighbours(search, c)]
        if not search.integer_places or not tries:
            return None
        data = data_of_each(search, [c for c, _ in tries])
        lower, upper = fixed_boxes(search, [v for _, v in tries])
        solved: Optimum = solve_batch(
            model_of(search.core), data, lower, upper, (lower + upper) / 2, loose=all_strict(search.core), size=WIDTH
        )
        each = [dataclasses.replace(c, optimum=element(solved, i)) for i, (c, _) in enumerate(tries)]
        best = min(each, key=lambda c: c.log_goal)
        return best if best.log_goal < np.inf else None


def _built(f: Free, value: float, n_dies: int) -> float:
    """A free number, freed of rounding where it is one that can be built."""
    if f.name not in STEPPED:
        return value
    near = [s for s in steps(f.name, n_dies, f.lower, f.upper).tolist() if abs(s / value - 1.0) < ROUNDING]
    return near[0] if near else value


def _way_out(r: Relaxation) -> str:
    return f"{label(r.name)}: {quantity_text(r.name, r.limit)} asked, {r.needed_text} needed"


def _proof(s: Solution) -> str:
    overall = None if s.certificate is None else s.certificate.overall
    if overall is None or not np.isfinite(overall.gap):
        return f"{s.status.name.lower()}; of whole designs nothing is proved yet"
    return f"{s.status.name.lower()}: no design at all is more than {percent(max(overall.gap, 0.0))} better"
